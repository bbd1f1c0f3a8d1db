package template

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/keyferry/keyferry/secret"
)

// The defaults of Options.
const (
	DefaultMaxOutput = 1 << 20
	DefaultTimeout   = time.Second
)

// Options says how templates are written and what a rendering may cost. The zero
// value is safe and is what External Secrets Operator does: {{ and }}.
type Options struct {
	// Left and Right are the delimiters; empty means {{ and }}.
	Left, Right string
	// MaxOutput bounds the output and the text of a template, in bytes; 0 means
	// DefaultMaxOutput. Values inside a template may be four times as large, and
	// all that its functions handle together 64 times.
	MaxOutput int
	// Timeout bounds a rendering; 0 means DefaultTimeout. A template that makes
	// keys or hashes passwords gets ten times as long.
	Timeout time.Duration
}

// Engine renders templates. It is safe for concurrent use. It remembers a bounded
// number of parsed templates and nothing about data.
type Engine struct {
	opts      Options
	functions map[string]function
	cache     cache
}

// New returns an engine. It fails with Invalid when a bound is negative or the
// delimiters are equal.
func New(opts Options) (*Engine, error) {
	if opts.Left == "" {
		opts.Left = "{{"
	}
	if opts.Right == "" {
		opts.Right = "}}"
	}
	if opts.MaxOutput == 0 {
		opts.MaxOutput = DefaultMaxOutput
	}
	if opts.Timeout == 0 {
		opts.Timeout = DefaultTimeout
	}
	switch {
	case opts.Left == opts.Right:
		return nil, configError("the left and the right delimiter must differ")
	case opts.MaxOutput < 0:
		return nil, configError("the output limit must not be negative")
	case opts.Timeout < 0:
		return nil, configError("the time limit must not be negative")
	}
	return &Engine{opts: opts, functions: functions()}, nil
}

// Data returns the data of a template for secret values: each as a string, under
// its key.
func Data(values map[string]secret.Value) map[string]any {
	out := make(map[string]any, len(values))
	for k, v := range values {
		out[k] = string(v.Reveal())
	}
	return out
}

// Render executes the template text on data and returns its output. The name is
// for error messages. The data is not changed, and the rendering does not keep it.
// It fails with Invalid when the template has an error, does not fit the data or
// exceeds a bound, and with Unavailable, wrapping the context's error, when ctx
// ends.
func (e *Engine) Render(ctx context.Context, name, text string, data map[string]any) (secret.Value, error) {
	p, err := e.program(text)
	if err != nil {
		return secret.Value{}, renderError(name, err)
	}
	limit := e.opts.Timeout
	if p.heavy {
		limit *= 10
	}
	timed, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	r := newRun(timed, e.opts.MaxOutput)
	err = p.execute(r, data)
	switch {
	case err == nil:
		return secret.New(r.out), nil
	case ctx.Err() != nil:
		return secret.Value{}, &secret.Error{Kind: secret.Unavailable, Op: opRender(name), Err: ctx.Err()}
	case timed.Err() != nil:
		err = reason(fmt.Sprintf("not done after %s: do less in one template", limit))
	}
	return secret.Value{}, renderError(name, p.describe(err))
}

// KeysAndValues executes the template and reads its output as a YAML or JSON map
// of keys to strings; numbers and booleans become strings, null becomes the empty
// string, an empty output the empty map. It fails as Render does, and with Invalid
// when the output is anything else.
func (e *Engine) KeysAndValues(ctx context.Context, name, text string, data map[string]any) (map[string]secret.Value, error) {
	rendered, err := e.Render(ctx, name, text, data)
	if err != nil {
		return nil, err
	}
	plain, err := stringMap(rendered.Reveal(), 4*e.opts.MaxOutput)
	if err != nil {
		return nil, renderError(name, err)
	}
	out := make(map[string]secret.Value, len(plain))
	for k, v := range plain {
		out[k] = secret.FromString(v)
	}
	return out, nil
}

func opRender(name string) string { return fmt.Sprintf("render %q", name) }

func renderError(name string, err error) error {
	return &secret.Error{Kind: secret.Invalid, Op: opRender(name), Err: err}
}

func configError(text string) error {
	return &secret.Error{Kind: secret.Invalid, Op: "template options", Err: errors.New(text)}
}
