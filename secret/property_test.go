package secret_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keyferry/keyferry/secret"
)

func TestSame(t *testing.T) {
	for name, c := range map[string]struct {
		a, b string
		want bool
	}{
		"bytes":                      {"abc", "abc", true},
		"other bytes":                {"abc", "abd", false},
		"nothing":                    {"", "", true},
		"members in another order":   {`{"a":1,"b":[1,{"c":null}]}`, ` { "b":[1, {"c":null}], "a":1 }`, true},
		"numbers written otherwise":  {`{"a":1.0}`, `{"a":10e-1}`, true},
		"numbers beyond float64":     {`{"a":9007199254740993}`, `{"a":9007199254740992}`, false},
		"a number and its text":      {`{"a":1}`, `{"a":"1"}`, false},
		"a member more":              {`{"a":1}`, `{"a":1,"b":1}`, false},
		"lists in another order":     {`[1,2]`, `[2,1]`, false},
		"plain numbers are bytes":    {`1.0`, `1`, false},
		"plain texts are bytes":      {`"a"`, `"\u0061"`, false},
		"more than one value":        {`{"a":1}`, `{"a":1} {}`, false},
		"broken JSON":                {`{"a":1}`, `{"a":1`, false},
		"an object and a list":       {`{}`, `[]`, false},
		"huge exponents are no work": {`{"a":1e999999999}`, `{"a":10e999999998}`, false},
		"the same huge exponent":     {`{"a":1e999999999}`, ` {"a":1e999999999}`, true},
	} {
		t.Run(name, func(t *testing.T) {
			a, b := secret.FromString(c.a), secret.FromString(c.b)
			if a.Same(b) != c.want || b.Same(a) != c.want {
				t.Errorf("want %v", c.want)
			}
		})
	}
}

func whole(s string) secret.Secret { return secret.Secret{Value: secret.FromString(s)} }

// outcome is what a change of a secret came to.
type outcome struct {
	Kind           secret.Kind
	Value          string
	Changed, Empty bool
}

func TestASecretHasProperties(t *testing.T) {
	fields := secret.Secret{Fields: map[string]secret.Value{"a.b": {}}}
	object := whole(`{"a":{"b":null},"c.d":1}`)
	for name, c := range map[string]struct {
		p        secret.Properties
		in       secret.Secret
		property string
		want     bool
		kind     secret.Kind
	}{
		"a member":              {in: object, property: "a", want: true},
		"a path":                {in: object, property: "a.b", want: true},
		"a name with a dot":     {in: object, property: "c.d", want: true},
		"an absent path":        {in: object, property: "a.c"},
		"an absent member":      {in: object, property: "c"},
		"through a number":      {in: object, property: "c.d.e"},
		"through null":          {in: object, property: "a.b.c"},
		"a path, flat":          {p: secret.Properties{Flat: true}, in: object, property: "a.b"},
		"a field":               {in: fields, property: "a.b", want: true},
		"what holds no members": {in: whole("[]"), property: "a", kind: secret.Invalid},
	} {
		if got, err := c.p.Has(c.in, c.property); got != c.want || secret.KindOf(err) != c.kind {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

func TestPropertiesAreSet(t *testing.T) {
	set := map[string]secret.Value{"a.b": secret.FromString(`<"`), `c\.d`: secret.FromString("2")}
	for name, c := range map[string]struct {
		p    secret.Properties
		in   string
		want outcome
	}{
		"paths":        {in: `{"n":1.50}`, want: outcome{Value: `{"a":{"b":"<\""},"c.d":"2","n":1.50}`}},
		"flat":         {p: secret.Properties{Flat: true}, want: outcome{Value: `{"a.b":"<\"","c\\.d":"2"}`}},
		"into objects": {in: `{"a":{"x":1}}`, want: outcome{Value: `{"a":{"b":"<\"","x":1},"c.d":"2"}`}},
		"in the way":   {in: `{"a":1}`, want: outcome{Kind: secret.Invalid}},
		"no object":    {in: `plain`, want: outcome{Kind: secret.Invalid}},
	} {
		got, err := c.p.Set(whole(c.in), set)
		if diff := cmp.Diff(c.want, outcome{Kind: secret.KindOf(err), Value: string(got.Value.Reveal())}); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestPropertiesAreUnset(t *testing.T) {
	for name, c := range map[string]struct {
		in, remove string
		want       outcome
	}{
		"a path":             {`{"a":{"b":1,"c":2}}`, "a.b", outcome{Value: `{"a":{"c":2}}`, Changed: true}},
		"the last of a path": {`{"a":{"b":1},"n":1.0}`, "a.b", outcome{Value: `{"n":1.0}`, Changed: true}},
		"the last of all":    {`{"a":1}`, "a", outcome{Value: `{}`, Changed: true, Empty: true}},
		"none":               {`{"a":1}`, "b.c", outcome{Value: `{"a":1}`}},
		"through a number":   {`{"a":1}`, "a.c", outcome{Value: `{"a":1}`}},
		"no object":          {"plain", "a", outcome{Kind: secret.Invalid}},
	} {
		rest, changed, empty, err := secret.Properties{}.Unset(whole(c.in), []string{c.remove})
		if diff := cmp.Diff(c.want, outcome{secret.KindOf(err), string(rest.Value.Reveal()), changed, empty}); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	rest, changed, empty, err := secret.Properties{}.Unset(secret.Secret{Fields: map[string]secret.Value{"a": {}}}, []string{"a", "b"})
	if err != nil || !changed || !empty || len(rest.Fields) != 0 {
		t.Errorf("fields: %v %v %v %v", rest.Fields, changed, empty, err)
	}
}

func TestText(t *testing.T) {
	fields := func(v string) secret.Secret {
		return secret.Secret{Fields: map[string]secret.Value{"a": secret.FromString("t"), "b": secret.FromString(v)}}
	}
	for name, c := range map[string]struct {
		of   secret.Secret
		want string
		kind secret.Kind
	}{
		"fields of text":        {fields("u"), `{"a":"t","b":"u"}`, ""},
		"fields of bytes":       {fields("\xff"), "", secret.Invalid},
		"one value is as it is": {secret.Secret{Value: secret.FromString("\xff")}, "\xff", ""},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := c.of.Text()
			if secret.KindOf(err) != c.kind || string(got.Reveal()) != c.want {
				t.Errorf("%q, %v", got.Reveal(), err)
			}
		})
	}
}

func TestAPropertyIsText(t *testing.T) {
	bytes := map[string]secret.Value{"a": secret.FromString("\xff")}
	if _, err := (secret.Properties{}).Set(secret.Secret{}, bytes); !errors.Is(err, secret.Invalid) {
		t.Errorf("into JSON: %v", err)
	}
	got, err := secret.Properties{}.Set(secret.Secret{Fields: map[string]secret.Value{}}, bytes)
	if err != nil || !got.Fields["a"].Equal(bytes["a"]) {
		t.Errorf("into fields: %v", err)
	}
}
