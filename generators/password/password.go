package password

import (
	"context"
	"encoding/base32"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"slices"

	"github.com/keyferry/keyferry/api/generators/v1alpha1"
	"github.com/keyferry/keyferry/generator"
	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/secret"
)

const (
	kind       = v1alpha1.PasswordKind
	defaultKey = "password"

	defaultLength = 24
	// part of a password are digits, and as many are symbols, if the spec does not say.
	part = 4
	// longest is beyond what anything takes for a password; it keeps a typing error
	// from filling the memory.
	longest = 1 << 16

	lower   = "abcdefghijklmnopqrstuvwxyz"
	upper   = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	digits  = "0123456789"
	symbols = "~!@#$%^&*()_+`-={}|[]\\:\"<>?,./"
)

// Generator returns the generator of passwords. Its keys are spec.secretKeys, each with
// a password of its own, or "password".
func Generator() generator.Generator {
	return generator.Define(generator.Definition[v1alpha1.PasswordSpec]{
		Kind: kind, Validate: validate, Keys: keys, Generate: generate,
	})
}

func generate(_ context.Context, spec *v1alpha1.PasswordSpec, _ provider.Env) (generator.Output, error) {
	r, err := recipeOf(spec)
	if err != nil {
		return generator.Output{}, err
	}
	values := map[string]secret.Value{}
	for _, key := range keys(spec) {
		values[key] = secret.FromString(r.encode(r.make()))
	}
	return generator.Output{Values: values}, nil
}

func validate(spec *v1alpha1.PasswordSpec) error {
	seen := map[string]bool{}
	for i, key := range spec.SecretKeys {
		if key == "" {
			return invalid("secretKeys[%d] is empty", i)
		}
		if seen[key] {
			return invalid("secretKeys[%d] repeats another: name each key once", i)
		}
		seen[key] = true
	}
	_, err := recipeOf(spec)
	return err
}

func keys(spec *v1alpha1.PasswordSpec) []string {
	if len(spec.SecretKeys) == 0 {
		return []string{defaultKey}
	}
	return spec.SecretKeys
}

// recipe is what a password is made from.
type recipe struct {
	parts  []ingredient
	repeat bool
	encode func([]byte) string
}

// ingredient is so many characters of a set.
type ingredient struct {
	name  string
	set   []rune
	count int
}

// recipeOf reads a spec. It fails with Invalid if no password can be made that way.
func recipeOf(spec *v1alpha1.PasswordSpec) (recipe, error) {
	encode, ok := encoder(spec.Encoding)
	if !ok {
		return recipe{}, invalid("encoding is %q: it must be raw, base64, base64url, base32 or hex", spec.Encoding)
	}
	letterCount, digitCount, symbolCount, err := counts(spec)
	if err != nil {
		return recipe{}, err
	}
	letterSet, digitSet, symbolSet := []rune(lower+upper), []rune(digits), distinct(orElse(spec.SymbolCharacters, symbols))
	if spec.NoUpper {
		letterSet = []rune(lower)
	}
	if symbolCount > 0 && len(symbolSet) == 0 {
		return recipe{}, invalid("symbolCharacters is empty: set it, or symbols to 0")
	}
	if symbolCount > 0 && !spec.AllowRepeat { // what is a symbol can be nothing else then
		letterSet, digitSet = without(letterSet, symbolSet), without(digitSet, symbolSet)
	}
	out := recipe{repeat: spec.AllowRepeat, encode: encode, parts: []ingredient{
		{"letters", letterSet, letterCount}, {"digits", digitSet, digitCount}, {"symbols", symbolSet, symbolCount},
	}}
	return out, out.check()
}

func counts(spec *v1alpha1.PasswordSpec) (letters, digits, symbols int, err error) {
	length := spec.Length
	if length == 0 {
		length = defaultLength
	}
	digits, symbols = orElse(spec.Digits, length/part), orElse(spec.Symbols, length/part)
	switch {
	case length < 0 || length > longest:
		err = invalid("length is %d: it must be between 1 and %d", length, longest)
	case digits < 0:
		err = invalid("digits is %d: it must not be negative", digits)
	case symbols < 0:
		err = invalid("symbols is %d: it must not be negative", symbols)
	case digits > length || symbols > length-digits:
		err = invalid("length is %d, less than digits %d and symbols %d together", length, digits, symbols)
	}
	return length - digits - symbols, digits, symbols, err
}

// check fails if there are not enough different characters.
func (r recipe) check() error {
	for _, p := range r.parts {
		if !r.repeat && p.count > len(p.set) {
			return invalid("allowRepeat is false, and of %d %s there are only %d different ones: set it to true, or change length, digits or symbols", p.count, p.name, len(p.set))
		}
	}
	return nil
}

// make returns a password.
func (r recipe) make() []byte {
	var out []rune
	for _, p := range r.parts {
		left := slices.Clone(p.set)
		for range p.count {
			i := below(len(left))
			out = append(out, left[i])
			if !r.repeat {
				left = slices.Delete(left, i, i+1)
			}
		}
	}
	for i := len(out) - 1; i > 0; i-- {
		j := below(i + 1)
		out[i], out[j] = out[j], out[i]
	}
	return []byte(string(out))
}

func distinct(s string) []rune {
	set := []rune(s)
	slices.Sort(set)
	return slices.Compact(set)
}

func without(set, others []rune) []rune {
	return slices.DeleteFunc(set, func(c rune) bool { return slices.Contains(others, c) })
}

func orElse[V any](p *V, otherwise V) V {
	if p == nil {
		return otherwise
	}
	return *p
}

func encoder(name v1alpha1.PasswordEncoding) (func([]byte) string, bool) {
	switch name {
	case "", "raw":
		return func(b []byte) string { return string(b) }, true
	case "base64":
		return base64.StdEncoding.EncodeToString, true
	case "base64url":
		return base64.URLEncoding.EncodeToString, true
	case "base32":
		return base32.StdEncoding.EncodeToString, true
	case "hex":
		return hex.EncodeToString, true
	}
	return nil, false
}

func invalid(format string, args ...any) error {
	return &secret.Error{Kind: secret.Invalid, Op: "generate", Provider: kind, Err: fmt.Errorf("spec."+format, args...)}
}
