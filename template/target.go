package template

import (
	"fmt"
	"maps"
	"strconv"
	"strings"

	"github.com/keyferry/keyferry/secret"
)

const (
	maxIndex    = 10_000
	maxSegments = 64
)

// step is one move into an object: to a field, or to an element of a list.
type step struct {
	field string
	index int // -1 for a field
}

// SetPath puts value into object at a path of fields and list elements, such as
// spec.rules[0].host. Fields keep their case. What is missing on the way is made;
// a list grows with nulls. A map is merged into the map that is there, field by
// field and one level deep; anything else replaces what is there. Doing it twice
// is doing it once. The object keeps the value, so the caller must not use it
// again.
//
// It fails with Invalid, and changes nothing, when the path is malformed, begins
// with an index, has an index above 10000, or leads through something that is
// neither a map nor a list.
func SetPath(object map[string]any, path string, value any) error {
	steps, err := parsePath(path)
	if err == nil {
		_, err = place(object, steps, value)
	}
	if err != nil {
		return &secret.Error{Kind: secret.Invalid, Op: fmt.Sprintf("set %q", path), Err: err}
	}
	return nil
}

func parsePath(path string) ([]step, error) {
	var steps []step
	for segment := range strings.SplitSeq(path, ".") {
		field, indexes, indexed := strings.Cut(segment, "[")
		if field == "" || strings.Contains(field, "]") {
			return nil, reason("every part of the path must begin with the name of a field, such as spec.rules[0].host")
		}
		steps = append(steps, step{field: field, index: -1})
		if !indexed {
			continue
		}
		inner, closed := strings.CutSuffix(indexes, "]")
		if !closed {
			return nil, reason("an index must be closed with ]")
		}
		for text := range strings.SplitSeq(inner, "][") {
			n, err := strconv.ParseUint(text, 10, 32)
			if err != nil || n > maxIndex {
				return nil, reason("an index must be a number from 0 to " + strconv.Itoa(maxIndex))
			}
			steps = append(steps, step{index: int(n)})
		}
	}
	if len(steps) > maxSegments {
		return nil, reason("the path has more than " + strconv.Itoa(maxSegments) + " parts")
	}
	return steps, nil
}

// place returns current with value at the steps.
func place(current any, steps []step, value any) (any, error) {
	if len(steps) == 0 {
		return join(current, value), nil
	}
	if steps[0].index >= 0 {
		return placeElement(current, steps, value)
	}
	fields, ok := current.(map[string]any)
	if !ok && current != nil {
		return nil, reason("there is something other than a map where field " + steps[0].field + " should be")
	}
	inner, err := place(fields[steps[0].field], steps[1:], value)
	if err != nil {
		return nil, err
	}
	if fields == nil {
		fields = map[string]any{}
	}
	fields[steps[0].field] = inner
	return fields, nil
}

func placeElement(current any, steps []step, value any) (any, error) {
	list, ok := current.([]any)
	if !ok && current != nil {
		return nil, reason("there is something other than a list where index " + strconv.Itoa(steps[0].index) + " should be")
	}
	var element any
	at := steps[0].index
	if at < len(list) {
		element = list[at]
	}
	inner, err := place(element, steps[1:], value)
	if err != nil {
		return nil, err
	}
	if missing := at + 1 - len(list); missing > 0 {
		list = append(list, make([]any, missing)...)
	}
	list[at] = inner
	return list, nil
}

func join(current, value any) any {
	old, isMap := current.(map[string]any)
	fields, mergeable := value.(map[string]any)
	if !isMap || !mergeable {
		return value
	}
	maps.Copy(old, fields)
	return old
}
