package secret

import (
	"bytes"
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
)

// Redacted is what a Value prints as, through every formatter, encoder and logger.
const Redacted = "[redacted]"

// Value holds the bytes of a secret and shows them to nobody but the caller of
// Reveal. The zero Value is the empty secret. A Value is immutable and safe for
// concurrent use.
type Value struct {
	// The bytes are behind a function because fmt, and whatever else reflects,
	// looks into the unexported fields of a struct without asking their types: it
	// sees no further than an address. It also makes == on values not compile.
	bytes func() []byte
}

func hold(b []byte) Value { return Value{func() []byte { return b }} }

// New returns a Value that holds a copy of b.
func New(b []byte) Value { return hold(bytes.Clone(b)) }

// FromString returns a Value that holds s.
func FromString(s string) Value { return hold([]byte(s)) }

// Reveal returns the bytes. The caller must not change them, and must take care
// of where they go: a lint rule lists the packages that may call it.
func (v Value) Reveal() []byte {
	if v.bytes == nil {
		return nil
	}
	return v.bytes()
}

// Len is the number of bytes.
func (v Value) Len() int { return len(v.Reveal()) }

// Equal reports whether both hold the same bytes, in time that depends on their
// lengths alone.
func (v Value) Equal(w Value) bool { return subtle.ConstantTimeCompare(v.Reveal(), w.Reveal()) == 1 }

// Same reports whether both hold the same content: the same bytes, or two JSON
// objects or lists that are equal as JSON, whatever the order of their members, their
// spaces and how a number is written.
func (v Value) Same(w Value) bool { return v.Equal(w) || sameJSON(v.Reveal(), w.Reveal()) }

// Object decodes the value as a JSON object, one Value a member: strings lose
// their quotes, everything else keeps its JSON form. It fails with Invalid when
// the value is no JSON object; the error holds nothing of the value.
func (v Value) Object() (map[string]Value, error) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(v.Reveal(), &members); err != nil || members == nil {
		return nil, &Error{Kind: Invalid, Op: "decode", Err: errNotObject}
	}
	out := make(map[string]Value, len(members))
	for k, raw := range members {
		out[k] = FromJSON(raw)
	}
	return out, nil
}

// FromJSON returns the value of one JSON member: a string without its quotes,
// everything else in its JSON form.
func FromJSON(raw []byte) Value {
	var s string
	if len(raw) > 0 && raw[0] == '"' && json.Unmarshal(raw, &s) == nil {
		return FromString(s)
	}
	return New(raw)
}

// String returns Redacted.
func (Value) String() string { return Redacted }

// GoString returns Redacted.
func (Value) GoString() string { return Redacted }

// Format writes Redacted, whatever the verb and flags.
func (Value) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, Redacted) }

// LogValue returns Redacted.
func (Value) LogValue() slog.Value { return slog.StringValue(Redacted) }

// MarshalText returns Redacted: a Value that is encoded by accident loses its
// bytes instead of leaking them.
func (Value) MarshalText() ([]byte, error) { return []byte(Redacted), nil }

// MarshalJSON returns Redacted as a JSON string.
func (Value) MarshalJSON() ([]byte, error) { return []byte(`"` + Redacted + `"`), nil }

// MarshalBinary returns Redacted; it keeps encoding/gob from the bytes.
func (Value) MarshalBinary() ([]byte, error) { return []byte(Redacted), nil }
