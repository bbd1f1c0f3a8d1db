package webhookapi

import (
	"strings"
	"testing"

	"github.com/keyferry/keyferry/secret"
)

const canary = "canary-7f3a"

func TestExtract(t *testing.T) {
	const doc = `{"s":"text","t":true,"n":null,"i":1.5,"z":1.50,"e":1e400,"big":12345678901234567890123,"neg":-0,
		"o":{"b":1.0,"a":"<&>"},"list":["first","second"],"nested":[["x"]],"none":[],
		"users":[{"id":5,"name":"ada","pw":"one"},{"id":7,"name":"eve","pw":"two"}],
		"byname":{"ada":{"pw":"one"},"eve":{"pw":"two"}},"same":{"a":{"pw":"x"},"b":{"pw":"x"}},"json":"{\"k\":1}"}`
	for name, tc := range map[string]struct {
		path, body string
		property   bool
		want       string
		kind       secret.Kind
	}{
		"a string loses its quotes":                  {path: "$.s", want: "text"},
		"a boolean":                                  {path: "$.t", want: "true"},
		"null is empty":                              {path: "$.n", want: ""},
		"a number keeps its fraction":                {path: "$.i", want: "1.5"},
		"a number keeps its zeros":                   {path: "$.z", want: "1.50"},
		"a number past float64":                      {path: "$.e", want: "1e400"},
		"a large integer is exact":                   {path: "$.big", want: "12345678901234567890123"},
		"negative zero":                              {path: "$.neg", want: "-0"},
		"an object is JSON with exact numbers":       {path: "$.o", want: `{"a":"\u003c\u0026\u003e","b":1.0}`},
		"the first of an array":                      {path: "$.list", want: "first"},
		"the first of the first":                     {path: "$.nested", want: "x"},
		"an element":                                 {path: "$.list[1]", want: "second"},
		"a filter by name":                           {path: `$.users[?(@.name=="eve")].pw`, want: "two"},
		"a filter by number":                         {path: `$.users[?(@.id==7)].pw`, want: "two"},
		"several of an array have an order":          {path: "$.users[*].pw", want: "one"},
		"a descent with one match":                   {path: "$..byname.ada.pw", want: "one"},
		"equal members have no need of one":          {path: "$.same.*.pw", want: "x"},
		"a string that is JSON":                      {path: "$.json", want: `{"k":1}`},
		"the whole":                                  {path: "$", body: " 7 ", want: "7"},
		"several members of an object":               {path: "$.byname.*.pw", kind: secret.Invalid},
		"a descent into several members":             {path: "$.byname..pw", kind: secret.Invalid},
		"nothing there":                              {path: "$.nope", kind: secret.Invalid},
		"nothing there for a property":               {path: "$.nope", property: true, kind: secret.NotFound},
		"a filter without a match":                   {path: `$.users[?(@.name=="bob")].pw`, kind: secret.Invalid},
		"a filter without a match for a property":    {path: `$.users[?(@.name=="bob")].pw`, property: true, kind: secret.NotFound},
		"an empty array":                             {path: "$.none", kind: secret.Invalid},
		"an index out of range":                      {path: "$.list[9]", kind: secret.Invalid},
		"a member of a string":                       {path: "$.s.x", kind: secret.Invalid},
		"no path":                                    {path: canary + "]", kind: secret.Invalid},
		"no JSON":                                    {path: "$.s", body: canary, property: true, kind: secret.Invalid},
		"an empty body":                              {path: "$.s", body: " ", kind: secret.Invalid},
		"more than JSON":                             {path: "$.s", body: `{"s":"x"}` + canary, kind: secret.Invalid},
		"a broken body":                              {path: "$.s", body: `{"s":"` + canary, kind: secret.Invalid},
		"descents in a filter":                       {path: `$..*[?(@..x==1)]`, kind: secret.Invalid},
		"a filter in a filter":                       {path: `$.users[?(@.x[?(@.y==1)])]`, kind: secret.Invalid},
		"descents with blanks between":               {path: `$. .a. .b. .c`, kind: secret.Invalid},
		"a path without end":                         {path: "$" + strings.Repeat(".a", maxPath), kind: secret.Invalid},
		"two descents and a filter are not too much": {path: `$..users[?(@.id==5)]..pw`, want: "one"},
	} {
		t.Run(name, func(t *testing.T) {
			body := doc
			if tc.body != "" {
				body = tc.body
			}
			for range 4 { // the order of an object's members must not decide
				got, err := Settings{}.extract(t.Context(), tc.path, []byte(body), tc.property)
				if kind := secret.KindOf(err); kind != tc.kind {
					t.Fatalf("got kind %q (%v), want %q", kind, err, tc.kind)
				}
				if string(got.Reveal()) != tc.want {
					t.Fatalf("got %q, want %q", got.Reveal(), tc.want)
				}
				if err != nil && strings.Contains(err.Error(), canary) {
					t.Errorf("%q shows what it must not", err)
				}
			}
		})
	}
}

func FuzzExtract(f *testing.F) {
	for _, path := range []string{"$", "$.a", `$..a[?(@.b=="c")]`, "$[0:2:-1]", `$["a","b"]`, "$[(1)]", "@.a", "$.*", `{#: $..a}`} {
		f.Add(path, []byte(`{"a":[{"b":"c"},{"b":1.50}]}`))
	}
	f.Fuzz(func(t *testing.T, path string, body []byte) {
		once, err := Settings{}.extract(t.Context(), path, body, false)
		again, errAgain := Settings{}.extract(t.Context(), path, body, false)
		if !once.Equal(again) || (err == nil) != (errAgain == nil) {
			t.Errorf("two results: %v, %v", err, errAgain)
		}
	})
}
