package secret

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"unicode/utf8"
)

// Ref names one secret at a backend, in the backend's own terms.
type Ref struct {
	// Key is the name, path or ID. Never empty.
	Key string
	// Property is a path into the value. It is resolved above the providers,
	// except by a store that keeps it in its Address.
	Property string
	// Version is the backend's version, stage or label; empty is the current one.
	Version string
	// Metadata asks for what the backend keeps beside the value (tags, labels,
	// custom metadata) as a JSON object, instead of the value.
	Metadata bool
	// Namespace is that of the consumer, for backends whose manifest may address
	// by it (webhook). It is no part of the address of any other.
	Namespace string
}

// String names the secret for an error message: the key, and the property and
// version where there are any. It holds no value.
func (r Ref) String() string {
	s := r.Key
	if r.Property != "" {
		s += "#" + r.Property
	}
	if r.Version != "" {
		s += "@" + r.Version
	}
	return s
}

// Version is what a backend calls the state of a secret: a number, an ID, an
// ETag. Versions of one key compare for equality only. Empty means unknown.
type Version string

// Secret is what a backend holds under a Ref.
type Secret struct {
	// Value is the secret as one piece.
	Value Value
	// Fields is set, and Value is not, by backends that keep named binary fields
	// (a Kubernetes Secret). Whole renders it.
	Fields map[string]Value
	// Version is the version that was read; empty if the backend has none.
	Version Version
}

// Whole returns the secret as one value: Value, or the Fields as a JSON object
// of strings with its keys in order.
func (s Secret) Whole() Value {
	if s.Fields == nil {
		return s.Value
	}
	plain := make(map[string]string, len(s.Fields))
	for k, v := range s.Fields {
		plain[k] = string(v.Reveal())
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(plain); err != nil { // a map of strings always encodes
		return Value{}
	}
	return hold(bytes.TrimSuffix(b.Bytes(), []byte("\n")))
}

// Text is Whole for a backend that keeps text. It fails with Invalid, and names the
// field, if there are fields and one of them is not UTF-8: in JSON it would not survive.
func (s Secret) Text() (Value, error) {
	for _, name := range Keys(s.Fields) {
		if !utf8.Valid(s.Fields[name].Reveal()) {
			return Value{}, &Error{Kind: Invalid, Op: fmt.Sprintf("key %q", name), Err: errNotText}
		}
	}
	return s.Whole(), nil
}

// Keys returns the names of a map of values in order: what may be shown of it.
func Keys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// Result is one answer of a batch: a secret, or why there is none.
type Result struct {
	Secret Secret
	Err    error
}

// Query selects secrets by where they are and what they are called.
type Query struct {
	// Path limits the search to a folder or prefix, in the backend's terms.
	Path string
	// Name selects by name; nil selects all.
	Name *regexp.Regexp
	// Tags selects secrets that carry all of these tags, labels or metadata.
	Tags map[string]string
}

// Item is one secret that a listing found.
type Item struct {
	// Ref reads the secret; its Key is also the name it goes by in the result.
	Ref Ref
	// Secret is set by backends whose listing carries the values; nil asks for a
	// read by Ref.
	Secret *Secret
}
