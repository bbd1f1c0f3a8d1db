package plan

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/tidwall/gjson"

	"github.com/keyferry/keyferry/secret"
)

var (
	errNoObject   = errors.New("the secret holds no JSON object: use data with no property, or change the secret")
	errNoProperty = errors.New("the secret has no such property")
)

// property returns what is at a path in a secret: the member of exactly that
// name, or else what the gjson path leads to; in a path "\." is a dot of a name.
// It fails with NotFound if there is nothing, and with Invalid if the secret is
// neither a JSON object nor a list.
func property(s secret.Secret, path string) (secret.Value, error) {
	if v, ok := s.Fields[path]; ok {
		return v, nil
	}
	whole := s.Whole().Reveal()
	top, err := rawMembers(whole)
	if err != nil && (!gjson.ValidBytes(whole) || !gjson.ParseBytes(whole).IsArray()) {
		return secret.Value{}, &secret.Error{Kind: secret.Invalid, Op: fmt.Sprintf("property %q", path), Err: errNoObject}
	}
	if raw, ok := top[path]; ok {
		return fromJSON(raw), nil
	}
	found := gjson.GetBytes(whole, path)
	if !found.Exists() {
		return secret.Value{}, &secret.Error{Kind: secret.NotFound, Op: fmt.Sprintf("property %q", path), Err: errNoProperty}
	}
	return fromJSON([]byte(found.Raw)), nil
}

// members returns the members of a JSON object. It fails with Invalid if the
// value is none; the error holds nothing of it.
func members(v secret.Value) (map[string]secret.Value, error) {
	raw, err := rawMembers(v.Reveal())
	if err != nil {
		return nil, err
	}
	out := make(map[string]secret.Value, len(raw))
	for k, r := range raw {
		out[k] = fromJSON(r)
	}
	return out, nil
}

func rawMembers(b []byte) (map[string]json.RawMessage, error) {
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(b, &raw); err != nil || raw == nil {
		return nil, &secret.Error{Kind: secret.Invalid, Op: "extract", Err: errNoObject}
	}
	return raw, nil
}

// fromJSON returns a JSON value as a secret: a string without its quotes, null
// as nothing, everything else in its JSON form.
func fromJSON(raw []byte) secret.Value {
	if bytes.Equal(raw, []byte("null")) {
		return secret.Value{}
	}
	return secret.FromJSON(raw)
}
