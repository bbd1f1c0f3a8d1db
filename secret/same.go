package secret

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"math/big"
	"slices"
	"strings"
)

// sameJSON compares two JSON objects or lists; anything else is not the same.
func sameJSON(a, b []byte) bool {
	x, ok := composite(a)
	if !ok {
		return false
	}
	y, ok := composite(b)
	return ok && equalJSON(x, y)
}

func composite(b []byte) (any, bool) {
	trimmed := bytes.TrimLeft(b, " \t\r\n")
	if len(trimmed) == 0 || trimmed[0] != '{' && trimmed[0] != '[' {
		return nil, false
	}
	d := json.NewDecoder(bytes.NewReader(trimmed))
	d.UseNumber()
	var out any
	if err := d.Decode(&out); err != nil {
		return nil, false
	}
	_, err := d.Token()
	return out, err == io.EOF
}

func equalJSON(a, b any) bool {
	switch x := a.(type) {
	case map[string]any:
		y, ok := b.(map[string]any)
		return ok && maps.EqualFunc(x, y, equalJSON)
	case []any:
		y, ok := b.([]any)
		return ok && slices.EqualFunc(x, y, equalJSON)
	case json.Number:
		y, ok := b.(json.Number)
		return ok && sameNumber(string(x), string(y))
	default:
		return a == b
	}
}

// longNumber is where numbers are compared as they are written: an exponent must not
// cost memory.
const longNumber = 64

func sameNumber(a, b string) bool {
	if a == b || len(a) > longNumber || len(b) > longNumber || hugeExponent(a) || hugeExponent(b) {
		return a == b
	}
	x, okX := new(big.Rat).SetString(a)
	y, okY := new(big.Rat).SetString(b)
	return okX && okY && x.Cmp(y) == 0
}

func hugeExponent(n string) bool {
	_, exponent, _ := strings.Cut(strings.ToLower(n), "e")
	return len(exponent) > 4
}
