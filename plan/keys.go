package plan

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"unicode"

	esv1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	"github.com/keyferry/keyferry/secret"
)

// treatment is what a source wants done to its keys and values.
type treatment struct {
	conversion esv1.ExternalSecretConversionStrategy
	decoding   esv1.ExternalSecretDecodingStrategy
	nulls      esv1.ExternalSecretNullBytePolicy
}

var (
	errNullByte = errors.New("the value holds a null byte, which nullBytePolicy Fail refuses")
	errEncoding = errors.New("the value is not encoded as decodingStrategy says")
)

// finish decodes a value and checks it.
func (t treatment) finish(v secret.Value) (secret.Value, error) {
	v, err := decode(t.decoding, v)
	if err != nil {
		return v, err
	}
	if t.nulls == esv1.ExternalSecretNullBytePolicyFail && bytes.IndexByte(v.Reveal(), 0) >= 0 {
		return v, &secret.Error{Kind: secret.Invalid, Op: "nullBytePolicy", Err: errNullByte}
	}
	return v, nil
}

// decode undoes an encoding. Auto tries base64, then base64url, and otherwise
// leaves the value as it is; so does no strategy.
func decode(how esv1.ExternalSecretDecodingStrategy, v secret.Value) (secret.Value, error) {
	std, url := base64.StdEncoding, base64.URLEncoding
	switch how {
	case "", esv1.ExternalSecretDecodeNone:
		return v, nil
	case esv1.ExternalSecretDecodeBase64:
		return decodeAny(v, std)
	case esv1.ExternalSecretDecodeBase64URL:
		return decodeAny(v, url)
	case esv1.ExternalSecretDecodeAuto:
		if out, err := decodeAny(v, std, url); err == nil {
			return out, nil
		}
		return v, nil
	}
	return v, invalid("decodingStrategy", "%q is not one of None, Base64, Base64URL, Auto", how)
}

// decodeAny decodes with the first encoding that fits.
func decodeAny(v secret.Value, encodings ...*base64.Encoding) (secret.Value, error) {
	for _, enc := range encodings {
		if out, err := enc.AppendDecode(nil, v.Reveal()); err == nil {
			return secret.New(out), nil
		}
	}
	return secret.Value{}, &secret.Error{Kind: secret.Invalid, Op: "decodingStrategy", Err: errEncoding}
}

// maxKey is the longest key of a Secret.
const maxKey = 253

func validRune(r rune) bool {
	return unicode.IsLetter(r) || unicode.IsNumber(r) || strings.ContainsRune("-._", r)
}

// convertKeys replaces what a key may not hold: by "_", or by _U and the hex code
// point and "_". Two keys that become one are an error that names both.
func convertKeys(how esv1.ExternalSecretConversionStrategy, in map[string]secret.Value) (map[string]secret.Value, error) {
	if how != "" && how != esv1.ExternalSecretConversionDefault && how != esv1.ExternalSecretConversionUnicode {
		return nil, invalid("conversionStrategy", "%q is not one of Default, Unicode", how)
	}
	return rename("conversionStrategy", in, func(key string) (string, error) {
		var b strings.Builder
		for _, r := range key {
			switch {
			case validRune(r):
				b.WriteRune(r)
			case how == esv1.ExternalSecretConversionUnicode:
				fmt.Fprintf(&b, "_U%04x_", r)
			default:
				b.WriteByte('_')
			}
		}
		return b.String(), nil
	})
}

// rename gives every key a new name. A key that becomes empty is dropped: that is
// how a rewrite leaves keys out. Two that become one are an error naming both.
func rename(field string, in map[string]secret.Value, name func(string) (string, error)) (map[string]secret.Value, error) {
	out := make(map[string]secret.Value, len(in))
	from := make(map[string]string, len(in))
	for _, old := range secret.Keys(in) {
		key, err := name(old)
		if err != nil {
			return nil, err
		}
		if key == "" {
			continue
		}
		if first, taken := from[key]; taken {
			return nil, invalid(field, "keys %q and %q both become %q: make them differ", first, old, key)
		}
		from[key], out[key] = old, in[old]
	}
	return out, nil
}

// checkKeys refuses keys that cannot be one, and drops the empty one.
func checkKeys(in map[string]secret.Value) error {
	delete(in, "")
	for _, key := range secret.Keys(in) {
		if len(key) > maxKey {
			return invalid("key", "%q… has %d bytes and may have %d: rewrite it", key[:32], len(key), maxKey)
		}
		if i := strings.IndexFunc(key, func(r rune) bool { return !validRune(r) }); i >= 0 {
			return invalid("key", "%q holds a character that is no letter, digit, '-', '.' or '_': rewrite it", key)
		}
	}
	return nil
}
