package template

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keyferry/keyferry/secret"
)

func TestSetPath(t *testing.T) {
	type object = map[string]any
	tests := map[string]struct {
		object object
		path   string
		value  any
		want   string
	}{
		"makes what is missing":          {object{}, "spec.slack.url", "x", `{"spec":{"slack":{"url":"x"}}}`},
		"keeps other fields":             {object{"spec": object{"a": "1"}}, "spec.b", "2", `{"spec":{"a":"1","b":"2"}}`},
		"merges a map into a map":        {object{"spec": object{"a": "1"}}, "spec", object{"b": "2"}, `{"spec":{"a":"1","b":"2"}}`},
		"merges one level deep":          {object{"s": object{"m": object{"a": 1}}}, "s", object{"m": object{"b": 2}}, `{"s":{"m":{"b":2}}}`},
		"overwrites a field":             {object{"spec": object{"a": "1"}}, "spec.a", "2", `{"spec":{"a":"2"}}`},
		"replaces a map by a text":       {object{"spec": object{"a": "1"}}, "spec", "2", `{"spec":"2"}`},
		"keeps the case of fields":       {object{}, "spec.apiURL.hostName", "x", `{"spec":{"apiURL":{"hostName":"x"}}}`},
		"makes a list":                   {object{}, "spec.rules[0].host", "x", `{"spec":{"rules":[{"host":"x"}]}}`},
		"merges into an element":         {object{"l": []any{object{"a": 1}}}, "l[0]", object{"b": 2}, `{"l":[{"a":1,"b":2}]}`},
		"sets an element":                {object{"l": []any{"a", "b"}}, "l[1]", "c", `{"l":["a","c"]}`},
		"grows a list":                   {object{"l": []any{"a"}}, "l[2]", "c", `{"l":["a",null,"c"]}`},
		"lists in lists":                 {object{}, "l[0][1].x", "c", `{"l":[[null,{"x":"c"}]]}`},
		"what is null counts as missing": {object{"a": nil}, "a.b", "c", `{"a":{"b":"c"}}`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			for range 2 {
				if err := SetPath(tt.object, tt.path, tt.value); err != nil {
					t.Fatal(err)
				}
				got, _ := json.Marshal(tt.object)
				if d := cmp.Diff(tt.want, string(got)); d != "" {
					t.Error(d)
				}
			}
		})
	}
}

func TestSetPathRefuses(t *testing.T) {
	for name, path := range map[string]string{
		"an empty path":                "",
		"an empty field":               "a..b",
		"a bare leading index":         "[0]",
		"a leading index with a field": "[0].a",
		"an index that is no number":   "a[x]",
		"a negative index":             "a[-1]",
		"an empty index":               "a[]",
		"an index not closed":          "a[0",
		"an index closed twice":        "a[0]]",
		"text after an index":          "a[0]b",
		"an index not opened":          "a0]",
		"a large index":                "a[10001]",
		"many parts":                   strings.Repeat("a.", 64) + "a",
		"a field of a text":            "text.a",
		"an index of a text":           "text[0]",
		"a field of a list":            "list.a",
		"an index deep in a text":      "list[3].a[0].b",
	} {
		t.Run(name, func(t *testing.T) {
			object := map[string]any{"text": "x", "list": []any{"a", "b", "c", map[string]any{"a": "text"}}}
			before, _ := json.Marshal(object)
			if err := SetPath(object, path, "v"); !errors.Is(err, secret.Invalid) {
				t.Errorf("got %v", err)
			}
			if after, _ := json.Marshal(object); string(after) != string(before) {
				t.Errorf("the object is now %s", after)
			}
		})
	}
	if err := SetPath(map[string]any{}, "a[10000]", "v"); err != nil {
		t.Error(err)
	}
}

func TestParseLeaf(t *testing.T) {
	cert := "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
	for name, tt := range map[string]struct {
		text string
		want any
	}{
		"a map":                      {"a: 1\nb: {c: x}", map[string]any{"a": int64(1), "b": map[string]any{"c": "x"}}},
		"a list":                     {"- a\n- 2", []any{"a", int64(2)}},
		"JSON":                       {`{"a":[1.5,true,null]}`, map[string]any{"a": []any{1.5, true, nil}}},
		"a number":                   {"42", int64(42)},
		"a large number":             {"9007199254740993", int64(9007199254740993)},
		"a number with a point":      {"1.5", 1.5},
		"true":                       {"true", true},
		"false":                      {"false", false},
		"null":                       {"null", nil},
		"a quoted number is a text":  {`"42"`, "42"},
		"a plain text":               {"hello world", "hello world"},
		"a plain text with its end":  {"hello\n", "hello"},
		"an empty text":              {"", ""},
		"blanks":                     {" \n", " \n"},
		"lines stay as they are":     {cert, cert},
		"a block text":               {"|\n  a\n  b\n", "a\nb\n"},
		"what is not YAML":           {"a: [", "a: ["},
		"what JSON has no number of": {".inf", ".inf"},
		"a number out of range":      {"1" + strings.Repeat("0", 400), "1" + strings.Repeat("0", 400)},
		"aliases that grow":          {bomb(), bomb()},
		"aliases that do not":        {"a: &x [1]\nb: *x", map[string]any{"a": []any{int64(1)}, "b": []any{int64(1)}}},
	} {
		t.Run(name, func(t *testing.T) {
			if d := cmp.Diff(tt.want, ParseLeaf(secret.FromString(tt.text))); d != "" {
				t.Error(d)
			}
		})
	}
}

// bomb is a small YAML document that its aliases make a large one.
func bomb() string {
	return "a: &a " + strings.Repeat("x", 50_000) + "\nb: &b [" + strings.Repeat("*a,", 100) + "*a]\nc: [" + strings.Repeat("*b,", 100) + "*b]\n"
}

func TestKeysAndValues(t *testing.T) {
	data := Data(map[string]secret.Value{"user": secret.FromString("ada"), "b64": secret.FromString("aGk=")})
	tests := map[string]struct {
		text string
		want map[string]string
	}{
		"YAML decides the keys":          {"{{ .user }}: x\nk: {{ .b64 | b64dec }}", map[string]string{"ada": "x", "k": "hi"}},
		"JSON too":                       {`{"a": {{ .user | toJson }}}`, map[string]string{"a": "ada"}},
		"numbers and booleans are texts": {"port: 5432\nf: 1.5\nb: true\ns: \"007\"", map[string]string{"port": "5432", "f": "1.5", "b": "true", "s": "007"}},
		"null is the empty text":         {"a: null", map[string]string{"a": ""}},
		"nothing is no keys":             {"{{/* none */}}", map[string]string{}},
		"a text of lines":                {"a: |\n  x\n  y\n", map[string]string{"a": "x\ny\n"}},
		"an alias":                       {"a: &x v\nb: *x", map[string]string{"a": "v", "b": "v"}},
		"every key of the data":          {"{{ range $k, $v := . }}{{ $k }}: {{ $v | quote }}\n{{ end }}", map[string]string{"user": "ada", "b64": "aGk="}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := newEngine(t, Options{}).KeysAndValues(t.Context(), "x", tt.text, data)
			if err != nil {
				t.Fatal(err)
			}
			plain := map[string]string{}
			for k, v := range got {
				plain[k] = string(v.Reveal())
			}
			if d := cmp.Diff(tt.want, plain); d != "" {
				t.Error(d)
			}
		})
	}
	for name, text := range map[string]string{
		"a list": "- a", "a text": "a", "a nested map": "a: {b: c}", "no YAML": "a: [", "aliases that grow": bomb(), "no template": "{{",
		"aliases that are none": "a: &x 1\nb: *y",
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := newEngine(t, Options{}).KeysAndValues(t.Context(), "x", text, data); !errors.Is(err, secret.Invalid) {
				t.Errorf("got %v", err)
			}
		})
	}
	if _, err := newEngine(t, Options{MaxOutput: 16}).KeysAndValues(t.Context(), "x", bomb(), data); !errors.Is(err, secret.Invalid) {
		t.Errorf("got %v", err)
	}
}
