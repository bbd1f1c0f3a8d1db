package password_test

import (
	"encoding/base32"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keyferry/keyferry/api/generators/v1alpha1"
	"github.com/keyferry/keyferry/generator"
	"github.com/keyferry/keyferry/generator/generatortest"
	"github.com/keyferry/keyferry/generators/password"
	"github.com/keyferry/keyferry/provider/providertest"
	"github.com/keyferry/keyferry/secret"
)

const symbols = "~!@#$%^&*()_+`-={}|[]\\:\"<>?,./"

// made returns the passwords of a spec, by their keys.
func made(t *testing.T, spec v1alpha1.PasswordSpec) map[string]string {
	t.Helper()
	out, err := password.Generator().Generate(t.Context(), &spec, providertest.NewEnv(t))
	if err != nil {
		t.Fatal(err)
	}
	texts := map[string]string{}
	for key, v := range out.Values {
		texts[key] = string(v.Reveal())
	}
	return texts
}

// content counts what a password is made of.
type content struct{ Lower, Upper, Digits, Symbols, Others int }

func count(text, symbols string) content {
	var c content
	for _, r := range text {
		switch {
		case strings.ContainsRune(symbols, r):
			c.Symbols++
		case r >= 'a' && r <= 'z':
			c.Lower++
		case r >= 'A' && r <= 'Z':
			c.Upper++
		case r >= '0' && r <= '9':
			c.Digits++
		default:
			c.Others++
		}
	}
	return c
}

func TestConformance(t *testing.T) {
	generatortest.Run(t, generatortest.Harness{
		Env: providertest.NewEnv(t), Generator: password.Generator(), Local: true, Secret: []string{"admin", "user"},
		Spec: func(providertest.Situation) any {
			return &v1alpha1.PasswordSpec{Length: 24, SecretKeys: []string{"admin", "user"}}
		},
		Fits: func(_ any, out generator.Output) error {
			for key, v := range out.Values {
				if v.Len() != 24 {
					return fmt.Errorf("%s has %d characters", key, v.Len())
				}
			}
			return nil
		},
		Invalid: map[string]any{
			"spec.length":           &v1alpha1.PasswordSpec{Length: -1},
			"spec.digits":           &v1alpha1.PasswordSpec{Digits: new(-1)},
			"spec.symbols":          &v1alpha1.PasswordSpec{Symbols: new(-1)},
			"spec.symbolCharacters": &v1alpha1.PasswordSpec{SymbolCharacters: new("")},
			"spec.encoding":         &v1alpha1.PasswordSpec{Encoding: "base58"},
			"spec.allowRepeat":      &v1alpha1.PasswordSpec{Digits: new(11)},
			"spec.secretKeys[1]":    &v1alpha1.PasswordSpec{SecretKeys: []string{"a", ""}},
		},
	})
}

func TestContent(t *testing.T) {
	for name, tc := range map[string]struct {
		spec    v1alpha1.PasswordSpec
		letters int
		want    content // less its letters
	}{
		"nothing said: 24, a quarter digits and a quarter symbols": {letters: 12, want: content{Digits: 6, Symbols: 6}},
		"quarters are rounded down":                                {spec: v1alpha1.PasswordSpec{Length: 11}, letters: 7, want: content{Digits: 2, Symbols: 2}},
		"a short one":                                              {spec: v1alpha1.PasswordSpec{Length: 1}, letters: 1},
		"letters alone":                                            {spec: v1alpha1.PasswordSpec{Length: 52, Digits: new(0), Symbols: new(0)}, letters: 52},
		"digits alone":                                             {spec: v1alpha1.PasswordSpec{Length: 10, Digits: new(10), Symbols: new(0)}, want: content{Digits: 10}},
		"symbols alone":                                            {spec: v1alpha1.PasswordSpec{Length: 30, Digits: new(0), Symbols: new(30)}, want: content{Symbols: 30}},
		"more digits than there are, with repetition":              {spec: v1alpha1.PasswordSpec{Length: 64, Digits: new(64), Symbols: new(0), AllowRepeat: true}, want: content{Digits: 64}},
		"the rest are letters":                                     {spec: v1alpha1.PasswordSpec{Length: 40, Digits: new(3), Symbols: new(1)}, letters: 36, want: content{Digits: 3, Symbols: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			for range 50 {
				text := made(t, tc.spec)["password"]
				got := count(text, symbols)
				if letters := got.Lower + got.Upper; letters != tc.letters {
					t.Fatalf("%d letters, want %d", letters, tc.letters)
				}
				got.Lower, got.Upper = 0, 0
				if diff := cmp.Diff(tc.want, got); diff != "" {
					t.Fatalf("content (-want +got):\n%s", diff)
				}
				if !tc.spec.AllowRepeat && repeats(text) {
					t.Fatal("a character repeats")
				}
			}
		})
	}
}

func repeats(text string) bool {
	seen := map[rune]bool{}
	for _, r := range text {
		if seen[r] {
			return true
		}
		seen[r] = true
	}
	return false
}

func TestSets(t *testing.T) {
	for name, tc := range map[string]struct {
		spec    v1alpha1.PasswordSpec
		symbols string
		want    content
	}{
		"no upper case": {
			spec: v1alpha1.PasswordSpec{Length: 26, Digits: new(0), Symbols: new(0), NoUpper: true}, want: content{Lower: 26},
		},
		"symbols of one's own": {
			spec:    v1alpha1.PasswordSpec{Length: 200, Digits: new(0), Symbols: new(200), SymbolCharacters: new("-_"), AllowRepeat: true},
			symbols: "-_", want: content{Symbols: 200},
		},
		"symbols beyond ASCII count as one": {
			spec:    v1alpha1.PasswordSpec{Length: 3, Digits: new(0), Symbols: new(3), SymbolCharacters: new("äö€")},
			symbols: "äö€", want: content{Symbols: 3},
		},
		"a symbol that is named twice is one": {
			spec:    v1alpha1.PasswordSpec{Length: 2, Digits: new(0), Symbols: new(2), SymbolCharacters: new("--__--")},
			symbols: "-_", want: content{Symbols: 2},
		},
		"symbols that are digits too do not repeat": {
			spec:    v1alpha1.PasswordSpec{Length: 10, Digits: new(7), Symbols: new(3), SymbolCharacters: new("123")},
			symbols: "123", want: content{Symbols: 3, Digits: 7},
		},
	} {
		t.Run(name, func(t *testing.T) {
			text := made(t, tc.spec)["password"]
			if diff := cmp.Diff(tc.want, count(text, tc.symbols)); diff != "" {
				t.Errorf("content (-want +got):\n%s", diff)
			}
			if !tc.spec.AllowRepeat && repeats(text) {
				t.Error("a character repeats")
			}
		})
	}
}

// The characters of a kind are not in places of their own.
func TestEveryPlaceHasEveryKind(t *testing.T) {
	const rounds = 400
	var first, last content
	for range rounds {
		text := made(t, v1alpha1.PasswordSpec{Length: 12, Digits: new(4), Symbols: new(4)})["password"]
		for at, sum := range map[int]*content{0: &first, 11: &last} {
			c := count(text[at:at+1], symbols)
			sum.Lower, sum.Digits, sum.Symbols = sum.Lower+c.Lower+c.Upper, sum.Digits+c.Digits, sum.Symbols+c.Symbols
		}
	}
	// A third each; less than a sixth is seventeen standard deviations away from chance.
	for _, c := range []content{first, last} {
		if min(c.Lower, c.Digits, c.Symbols) < rounds/6 {
			t.Errorf("of %d passwords one place has %+v", rounds, c)
		}
	}
}

func TestEncoding(t *testing.T) {
	for name, decode := range map[string]func(string) ([]byte, error){
		"raw":       func(s string) ([]byte, error) { return []byte(s), nil },
		"base64":    base64.StdEncoding.DecodeString,
		"base64url": base64.URLEncoding.DecodeString,
		"base32":    base32.StdEncoding.DecodeString,
		"hex":       hex.DecodeString,
	} {
		t.Run(name, func(t *testing.T) {
			text := made(t, v1alpha1.PasswordSpec{Length: 20, Digits: new(5), Symbols: new(10), Encoding: v1alpha1.PasswordEncoding(name)})["password"]
			plain, err := decode(text)
			if err != nil {
				t.Fatal(err)
			}
			got := count(string(plain), symbols)
			got.Lower, got.Upper = got.Lower+got.Upper, 0
			if diff := cmp.Diff(content{Lower: 5, Digits: 5, Symbols: 10}, got); diff != "" {
				t.Errorf("content (-want +got):\n%s", diff)
			}
		})
	}
}

func TestKeys(t *testing.T) {
	texts := made(t, v1alpha1.PasswordSpec{SecretKeys: []string{"b", "a"}})
	if diff := cmp.Diff([]string{"a", "b"}, secret.Keys(texts)); diff != "" {
		t.Errorf("keys (-want +got):\n%s", diff)
	}
	if texts["a"] == texts["b"] {
		t.Error("two keys have one password")
	}
}

func TestImpossible(t *testing.T) {
	for name, tc := range map[string]struct {
		spec  v1alpha1.PasswordSpec
		field string
	}{
		"too long":                                {v1alpha1.PasswordSpec{Length: 1 << 20}, "spec.length"},
		"more digits than characters":             {v1alpha1.PasswordSpec{Length: 8, Digits: new(9)}, "spec.length"},
		"digits and symbols together too many":    {v1alpha1.PasswordSpec{Length: 8, Digits: new(5), Symbols: new(4)}, "spec.length"},
		"numbers that overflow":                   {v1alpha1.PasswordSpec{Length: 8, Digits: new(8), Symbols: new(1 << 62)}, "spec.length"},
		"default digits that must repeat":         {v1alpha1.PasswordSpec{Length: 48}, "spec.allowRepeat"},
		"letters that must repeat":                {v1alpha1.PasswordSpec{Length: 27, Digits: new(0), Symbols: new(0), NoUpper: true}, "spec.allowRepeat"},
		"symbols that must repeat":                {v1alpha1.PasswordSpec{Symbols: new(3), SymbolCharacters: new("-_")}, "spec.allowRepeat"},
		"digits that are left after the symbols":  {v1alpha1.PasswordSpec{Length: 10, Digits: new(8), Symbols: new(2), SymbolCharacters: new("123")}, "spec.allowRepeat"},
		"one key twice":                           {v1alpha1.PasswordSpec{SecretKeys: []string{"a", "b", "a"}}, "spec.secretKeys[2]"},
		"an encoding in other letters":            {v1alpha1.PasswordSpec{Encoding: "HEX"}, "spec.encoding"},
		"symbols of an empty set, and repetition": {v1alpha1.PasswordSpec{SymbolCharacters: new(""), AllowRepeat: true}, "spec.symbolCharacters"},
	} {
		t.Run(name, func(t *testing.T) {
			err := password.Generator().Validate(&tc.spec)
			if !errors.Is(err, secret.Invalid) || !strings.Contains(err.Error(), tc.field+" ") {
				t.Errorf("error %v, want Invalid of %s", err, tc.field)
			}
		})
	}
}

func TestAnEmptySetOfSymbolsNeedsNone(t *testing.T) {
	text := made(t, v1alpha1.PasswordSpec{Length: 8, Symbols: new(0), SymbolCharacters: new("")})["password"]
	if len(text) != 8 {
		t.Errorf("%d characters", len(text))
	}
}
