package secret

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"unicode/utf8"
)

var (
	errNoMembers = errors.New("it is not a JSON object and so has no properties: use the whole secret, or another key")
	errNotText   = errors.New("the value is not text, which is all that can be kept there: encode it, in Base64 for example")
)

// Properties names parts of a secret for a change. Flat names are the names of fields
// and nothing else. Others are paths: a name that is there as it stands is that
// name; otherwise dots separate, and "\." is a dot of a name.
type Properties struct{ Flat bool }

// Has reports whether a secret has a property. It fails with Invalid if the secret
// holds no object.
func (p Properties) Has(s Secret, name string) (bool, error) {
	if s.Fields != nil {
		_, ok := s.Fields[name]
		return ok, nil
	}
	object, err := decodeObject(s)
	if err != nil {
		return false, err
	}
	return find(object, p.path(object, name)), nil
}

// Set returns the secret with properties set to text, and everything else in it as
// it was. The zero Secret has no properties yet. It fails with Invalid if the secret
// holds no object, if what is on the way to a property is none, or if a value is not
// text and the secret has no fields for bytes.
func (p Properties) Set(s Secret, values map[string]Value) (Secret, error) {
	if s.Fields != nil {
		fields := maps.Clone(s.Fields)
		maps.Copy(fields, values)
		return Secret{Fields: fields}, nil
	}
	object := map[string]any{}
	if s.Value.Len() > 0 {
		var err error
		if object, err = decodeObject(s); err != nil {
			return Secret{}, err
		}
	}
	for _, name := range Keys(values) {
		value := values[name].Reveal()
		if !utf8.Valid(value) {
			return Secret{}, badProperty(name, errNotText)
		}
		if err := set(object, p.path(object, name), string(value)); err != nil {
			return Secret{}, badProperty(name, err)
		}
	}
	return encodeObject(object), nil
}

// Unset returns the secret without properties. Changed is false if it had none of
// them, and empty is true if nothing else is left in it.
func (p Properties) Unset(s Secret, names []string) (rest Secret, changed, empty bool, err error) {
	if s.Fields != nil {
		fields := maps.Clone(s.Fields)
		for _, name := range names {
			delete(fields, name)
		}
		return Secret{Fields: fields}, len(fields) < len(s.Fields), len(fields) == 0, nil
	}
	object, err := decodeObject(s)
	if err != nil {
		return Secret{}, false, false, err
	}
	for _, name := range names {
		changed = unset(object, p.path(object, name)) || changed
	}
	return encodeObject(object), changed, len(object) == 0, nil
}

func (p Properties) path(object map[string]any, name string) []string {
	if _, literal := object[name]; literal || p.Flat {
		return []string{name}
	}
	const dot = "\x00"
	parts := strings.Split(strings.ReplaceAll(name, `\.`, dot), ".")
	for i := range parts {
		parts[i] = strings.ReplaceAll(parts[i], dot, ".")
	}
	return parts
}

func badProperty(name string, err error) error {
	return &Error{Kind: Invalid, Op: fmt.Sprintf("property %q", name), Err: err}
}

func decodeObject(s Secret) (map[string]any, error) {
	d := json.NewDecoder(bytes.NewReader(s.Whole().Reveal()))
	d.UseNumber()
	var object map[string]any
	if err := d.Decode(&object); err != nil || object == nil || d.More() {
		return nil, &Error{Kind: Invalid, Op: "property", Err: errNoMembers}
	}
	return object, nil
}

func encodeObject(object map[string]any) Secret {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(object); err != nil { // what was decoded, and strings, always encodes
		return Secret{}
	}
	return Secret{Value: hold(bytes.TrimSuffix(b.Bytes(), []byte("\n")))}
}

func find(object map[string]any, path []string) bool {
	v, ok := object[path[0]]
	if !ok || len(path) == 1 {
		return ok
	}
	below, ok := v.(map[string]any)
	return ok && find(below, path[1:])
}

func set(object map[string]any, path []string, value string) error {
	if len(path) == 1 {
		object[path[0]] = value
		return nil
	}
	if _, ok := object[path[0]]; !ok {
		object[path[0]] = map[string]any{}
	}
	below, ok := object[path[0]].(map[string]any)
	if !ok {
		return fmt.Errorf("%q is there and is no object: name another property, or write a dot of a name as \"\\.\"", path[0])
	}
	return set(below, path[1:], value)
}

// unset removes what is at a path, and the objects on the way that it leaves empty.
func unset(object map[string]any, path []string) bool {
	v, ok := object[path[0]]
	if !ok {
		return false
	}
	if len(path) == 1 {
		delete(object, path[0])
		return true
	}
	below, ok := v.(map[string]any)
	if !ok || !unset(below, path[1:]) {
		return false
	}
	if len(below) == 0 {
		delete(object, path[0])
	}
	return true
}
