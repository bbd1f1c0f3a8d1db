package template

import (
	"context"
	"fmt"
	"reflect"
	"strconv"
	"time"
)

const (
	maxDepth      = 100     // nesting of a value that a function has to walk through
	maxSteps      = 250_000 // loop iterations and template calls of one rendering
	maxCalls      = 200     // templates that call templates
	maxHeavyUnits = 100     // see function.heavy
)

// run is one execution: what it wrote and what it may still spend.
type run struct {
	ctx    context.Context //nolint:containedctx // text/template calls functions without one; a run lives as long as one call of Render
	root   uintptr         // identity of the data, for index
	max    int             // output bytes
	out    []byte
	budget int // bytes that functions may still handle
	steps  int
	calls  int
	heavy  int
}

func newRun(ctx context.Context, maxOutput int) *run {
	return &run{ctx: ctx, max: maxOutput, budget: 64 * maxOutput}
}

// Write takes the output of text/template, up to the limit.
func (r *run) Write(p []byte) (int, error) {
	if len(r.out)+len(p) > r.max {
		return 0, tooLarge("the output", r.max)
	}
	r.out = append(r.out, p...)
	return len(p), nil
}

// tick is called at the start of every loop body.
func (r *run) tick() (string, error) {
	r.steps++
	if r.steps > maxSteps {
		return "", reason("more than " + strconv.Itoa(maxSteps) + " loop iterations")
	}
	if r.ctx.Err() != nil {
		return "", errStopped
	}
	return "", nil
}

// enter is called at the start of every defined template.
func (r *run) enter() (string, error) {
	r.calls++
	if r.calls > maxCalls {
		return "", reason("templates call each other more than " + strconv.Itoa(maxCalls) + " deep")
	}
	return r.tick()
}

// leave is called at the end of every defined template.
func (r *run) leave() string {
	r.calls--
	return ""
}

// print is the last command of every action that prints.
func (r *run) print(v any) (string, error) {
	if v == nil {
		return "", reason("there is no value to print; give it one with default, or test for it with if")
	}
	if s, ok := v.(string); ok {
		return s, nil
	}
	if _, err := r.measure(v); err != nil {
		return "", err
	}
	return fmt.Sprint(v), nil
}

func (r *run) maxValue() int { return 4 * r.max }

// fits fails when a function would make a value of more than the limit.
func (r *run) fits(size float64) error {
	if size > float64(r.maxValue()) {
		return tooLarge("the result", r.maxValue())
	}
	return nil
}

func (r *run) charge(n int) error {
	r.budget -= n
	if r.budget < 0 {
		return reason("its functions handle more data than " + strconv.Itoa(64*r.max) + " bytes in all")
	}
	return nil
}

// measure returns about how many bytes v has when it is written out: what is
// referred to twice counts twice. It fails beyond the size and depth limits, and
// so for a value that holds itself, which nothing may be allowed to walk.
func (r *run) measure(v any) (int, error) { return measure(v, r.maxValue()) }

func measure(v any, limit int) (int, error) {
	m := measurer{left: limit}
	if err := m.add(v, 0); err != nil {
		return 0, err
	}
	if m.left < 0 {
		return 0, tooLarge("a value", limit)
	}
	return limit - m.left, nil
}

type measurer struct{ left int }

func (m *measurer) add(v any, depth int) error {
	m.left -= 8
	if m.left < 0 {
		return nil
	}
	if depth > maxDepth {
		return reason("a value is nested more than " + strconv.Itoa(maxDepth) + " deep or holds itself")
	}
	switch v := v.(type) {
	case string:
		m.left -= len(v)
	case nil, bool, int, int64, float64, time.Time:
	case map[string]any:
		for k, e := range v {
			m.left -= len(k)
			if err := m.add(e, depth+1); err != nil {
				return err
			}
		}
	default:
		return m.reflected(reflect.ValueOf(v), depth)
	}
	return nil
}

func (m *measurer) reflected(v reflect.Value, depth int) error {
	switch v.Kind() {
	case reflect.String:
		m.left -= v.Len()
	case reflect.Slice, reflect.Array:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			m.left -= v.Len()
			return nil
		}
		return m.elements(v, depth)
	case reflect.Map:
		return m.entries(v, depth)
	case reflect.Struct:
		for _, f := range v.Fields() {
			if f.Kind() == reflect.String {
				m.left -= f.Len()
			}
		}
	case reflect.Pointer:
		if !v.IsNil() {
			return m.reflected(v.Elem(), depth)
		}
	}
	return nil
}

func (m *measurer) entries(v reflect.Value, depth int) error {
	for k, e := range v.Seq2() {
		if err := m.add(k.Interface(), depth+1); err != nil {
			return err
		}
		if err := m.add(e.Interface(), depth+1); err != nil {
			return err
		}
		if m.left < 0 {
			return nil
		}
	}
	return nil
}

func (m *measurer) elements(v reflect.Value, depth int) error {
	for i := range v.Len() {
		if err := m.add(v.Index(i).Interface(), depth+1); err != nil {
			return err
		}
		if m.left < 0 {
			return nil
		}
	}
	return nil
}

// shallow returns about how many bytes making v took, not looking inside its
// elements.
func shallow(v any) int {
	switch v := v.(type) {
	case nil, bool, int, int64, float64:
		return 8
	case string:
		return len(v)
	}
	switch rv := reflect.ValueOf(v); rv.Kind() {
	case reflect.Slice:
		return 16 * rv.Len()
	case reflect.Map:
		return 48 * rv.Len()
	}
	return 64
}
