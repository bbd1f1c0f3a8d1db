package plan_test

import (
	"bytes"
	"encoding/base64"
	"strings"
	"testing"

	esv1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	"github.com/keyferry/keyferry/plan"
	"github.com/keyferry/keyferry/secret"
)

// text is an answer that holds one value.
func text(s string) plan.Answer {
	return plan.Answer{Secret: secret.Secret{Value: secret.FromString(s)}}
}

func binary(kv ...string) plan.Answer {
	return plan.Answer{Secret: secret.Secret{Fields: values(kv...)}}
}

func found(kv ...string) plan.Answer {
	out := map[string]secret.Secret{}
	for k, v := range values(kv...) {
		out[k] = secret.Secret{Value: v}
	}
	return plan.Answer{Found: out}
}

func failing(kind secret.Kind) plan.Answer {
	return plan.Answer{Err: &secret.Error{Kind: kind, Op: "read", Provider: "fake", Ref: secret.Ref{Key: "k"}}}
}

func collect(t *testing.T, spec string, answers ...plan.Answer) (plan.Data, error) {
	t.Helper()
	es := object(t, "secretStoreRef: {name: vault}\n"+spec)
	sources, err := plan.Sources(&es.Spec)
	check(t, err, "", "")
	return plan.Collect(t.Context(), engine(t), &es.Spec, sources, answers)
}

func TestCollectOneValue(t *testing.T) {
	const doc = `{"user":"ada","port":5432,"big":12345678901234567890,"rate":1.50,"enabled":true,"off":null,
		"a.b":"dotted","nested":{"x":"deep","c.d":"escaped","list":[{"n":"one"},{"n":"two"}]},"a":{"b":"path"}}`
	for name, c := range map[string]struct {
		ref    string
		answer plan.Answer
		want   string
		kind   secret.Kind
		part   string
	}{
		"the whole value":                    {ref: `{key: k}`, answer: text(doc), want: doc},
		"fields as one JSON object":          {ref: `{key: k}`, answer: binary("b", "2", "a", "1"), want: `{"a":"1","b":"2"}`},
		"a member":                           {ref: `{key: k, property: user}`, answer: text(doc), want: "ada"},
		"a number as it is written":          {ref: `{key: k, property: rate}`, answer: text(doc), want: "1.50"},
		"a large number":                     {ref: `{key: k, property: big}`, answer: text(doc), want: "12345678901234567890"},
		"a boolean":                          {ref: `{key: k, property: enabled}`, answer: text(doc), want: "true"},
		"null is nothing":                    {ref: `{key: k, property: "off"}`, answer: text(doc), want: ""},
		"an object":                          {ref: `{key: k, property: a}`, answer: text(doc), want: `{"b":"path"}`},
		"the member of that name beats path": {ref: `{key: k, property: a.b}`, answer: text(doc), want: "dotted"},
		"a path":                             {ref: `{key: k, property: nested.x}`, answer: text(doc), want: "deep"},
		"a path with an escaped dot":         {ref: `{key: k, property: 'nested.c\.d'}`, answer: text(doc), want: "escaped"},
		"a path into a list":                 {ref: `{key: k, property: nested.list.1.n}`, answer: text(doc), want: "two"},
		"a path over a list":                 {ref: `{key: k, property: "nested.list.#.n"}`, answer: text(doc), want: `["one","two"]`},
		"a path into a top list":             {ref: `{key: k, property: "1.n"}`, answer: text(`[{"n":"a"},{"n":"b"}]`), want: "b"},
		"a field":                            {ref: `{key: k, property: tls.crt}`, answer: binary("tls.crt", "\x00\xff"), want: "\x00\xff"},
		"a path into the fields":             {ref: `{key: k, property: '#x\.y'}`, answer: binary("#x.y", "v"), want: "v"},
		"a property the backend resolved":    {ref: `{key: k, property: user}`, answer: plan.Answer{Secret: text("x").Secret, PropertyResolved: true}, want: "x"},
		"no such member":                     {ref: `{key: k, property: nope}`, answer: text(doc), kind: secret.NotFound, part: "spec.data[0] (SecretStore/vault, key \"k\"): property \"nope\""},
		"no such field":                      {ref: `{key: k, property: nope}`, answer: binary("a", mark), kind: secret.NotFound, part: "nope"},
		"a property of plain text":           {ref: `{key: k, property: user}`, answer: text(mark), kind: secret.Invalid, part: "no JSON object"},
		"a property of a number":             {ref: `{key: k, property: user}`, answer: text("12345"), kind: secret.Invalid, part: "no JSON object"},
		"base64":                             {ref: `{key: k, decodingStrategy: Base64}`, answer: text("aGk/Pg=="), want: "hi?>"},
		"no base64":                          {ref: `{key: k, decodingStrategy: Base64}`, answer: text(mark + "!"), kind: secret.Invalid, part: "decodingStrategy"},
		"base64url":                          {ref: `{key: k, decodingStrategy: Base64URL}`, answer: text("aGk_Pg=="), want: "hi?>"},
		"no base64url":                       {ref: `{key: k, decodingStrategy: Base64URL}`, answer: text("aGk/Pg=="), kind: secret.Invalid, part: "decodingStrategy"},
		"auto base64":                        {ref: `{key: k, decodingStrategy: Auto}`, answer: text("aGk/Pg=="), want: "hi?>"},
		"auto base64url":                     {ref: `{key: k, decodingStrategy: Auto}`, answer: text("aGk_Pg=="), want: "hi?>"},
		"auto leaves what is not encoded":    {ref: `{key: k, decodingStrategy: Auto}`, answer: text("hi there!"), want: "hi there!"},
		"decoding None":                      {ref: `{key: k, decodingStrategy: None}`, answer: text("aGk="), want: "aGk="},
		"an unknown decoding":                {ref: `{key: k, decodingStrategy: Rot13}`, answer: text(mark), kind: secret.Invalid, part: "Rot13"},
		"a null byte refused":                {ref: `{key: k, nullBytePolicy: Fail}`, answer: text(mark + "\x00"), kind: secret.Invalid, part: "nullBytePolicy"},
		"a null byte behind base64 refused":  {ref: `{key: k, nullBytePolicy: Fail, decodingStrategy: Base64}`, answer: text("AA=="), kind: secret.Invalid, part: "nullBytePolicy"},
		"a null byte ignored":                {ref: `{key: k, nullBytePolicy: Ignore}`, answer: text("a\x00"), want: "a\x00"},
		"the store's error":                  {ref: `{key: k}`, answer: failing(secret.Denied), kind: secret.Denied, part: "spec.data[0] (SecretStore/vault): fake read k"},
	} {
		t.Run(name, func(t *testing.T) {
			data, err := collect(t, "data: [{secretKey: out, remoteRef: "+c.ref+"}]", c.answer)
			check(t, err, c.kind, c.part)
			if c.kind == "" {
				diff(t, map[string]string{"out": c.want}, reveal(data.Values))
				diff(t, map[string]string{"out": "spec.data[0]"}, data.From)
			}
		})
	}
}

func TestCollectMany(t *testing.T) {
	for name, c := range map[string]struct {
		entry  string
		answer plan.Answer
		want   []string
		kind   secret.Kind
		part   string
	}{
		"extract members":                        {entry: `extract: {key: k}`, answer: text(`{"a":"1","b":2,"c":{"x":[1, 2]},"d":null}`), want: []string{"a", "1", "b", "2", "c", `{"x":[1, 2]}`, "d", ""}},
		"extract fields":                         {entry: `extract: {key: k}`, answer: binary("a", "\x00\xff"), want: []string{"a", "\x00\xff"}},
		"extract a property":                     {entry: `extract: {key: k, property: sub}`, answer: text(`{"sub":{"a":"1"},"x":"2"}`), want: []string{"a", "1"}},
		"extract a property that is a JSON text": {entry: `extract: {key: k, property: sub}`, answer: binary("sub", `{"a":"1"}`), want: []string{"a", "1"}},
		"extract no object":                      {entry: `extract: {key: k}`, answer: text(mark), kind: secret.Invalid, part: "spec.dataFrom[0].extract"},
		"extract null":                           {entry: `extract: {key: k}`, answer: text("null"), kind: secret.Invalid, part: "no JSON object"},
		"extract a missing property":             {entry: `extract: {key: k, property: absent}`, answer: text(`{"a":"` + mark + `"}`), kind: secret.NotFound, part: `property "absent"`},
		"extract decoded":                        {entry: `extract: {key: k, decodingStrategy: Base64}`, answer: text(`{"a":"aGk="}`), want: []string{"a", "hi"}},
		"extract not decodable names the key":    {entry: `extract: {key: k, decodingStrategy: Base64}`, answer: text(`{"pw":"` + mark + `!"}`), kind: secret.Invalid, part: `key "pw"`},
		"extract a null byte names the key":      {entry: `extract: {key: k, nullBytePolicy: Fail}`, answer: text(`{"pw":"\u0000` + mark + `"}`), kind: secret.Invalid, part: `key "pw"`},
		"find whole secrets":                     {entry: `find: {name: {regexp: .*}}`, answer: found("a", `{"x":1}`, "b", "2"), want: []string{"a", `{"x":1}`, "b", "2"}},
		"find nothing":                           {entry: `find: {name: {regexp: .*}}`, answer: found()},
		"find decoded":                           {entry: `find: {name: {regexp: .*}, decodingStrategy: Auto}`, answer: found("a", "aGk="), want: []string{"a", "hi"}},
		"find a null byte":                       {entry: `find: {name: {regexp: .*}, nullBytePolicy: Fail}`, answer: found("a", mark+"\x00"), kind: secret.Invalid, part: `key "a"`},

		"keys converted by default":          {entry: `extract: {key: k}`, answer: text(`{"a b/c":"1","é-.9_":"2"}`), want: []string{"a_b_c", "1", "é-.9_", "2"}},
		"keys converted, Default":            {entry: `extract: {key: k, conversionStrategy: Default}`, answer: text(`{"a$":"1"}`), want: []string{"a_", "1"}},
		"keys converted, Unicode":            {entry: `extract: {key: k, conversionStrategy: Unicode}`, answer: text(`{"a/b😀":"1"}`), want: []string{"a_U002f_b_U1f600_", "1"}},
		"paths found are converted":          {entry: `find: {path: x}`, answer: found("x/y", "1"), want: []string{"x_y", "1"}},
		"an unknown conversion":              {entry: `extract: {key: k, conversionStrategy: Snake}`, answer: text(`{"a":"1"}`), kind: secret.Invalid, part: "Snake"},
		"conversion that collides":           {entry: `extract: {key: k}`, answer: text(`{"a/b":"` + mark + `","a b":"2"}`), kind: secret.Invalid, part: `keys "a b" and "a/b" both become "a_b"`},
		"an empty key is dropped":            {entry: `extract: {key: k}`, answer: text(`{"":"1","a":"2"}`), want: []string{"a", "2"}},
		"a key that is too long":             {entry: `extract: {key: k}`, answer: text(`{"` + strings.Repeat("x", 254) + `":"1"}`), kind: secret.Invalid, part: "254 bytes"},
		"no conversion with rewrite":         {entry: `extract: {key: k}, rewrite: [{regexp: {source: x, target: y}}]`, answer: text(`{"a/b":"1"}`), kind: secret.Invalid, part: `"a/b"`},
		"no conversion of find with rewrite": {entry: `find: {path: p}, rewrite: [{regexp: {source: x, target: y}}]`, answer: found("a/b", "1"), kind: secret.Invalid, part: `"a/b"`},

		"rewrite a prefix away":           {entry: `find: {path: p}, rewrite: [{regexp: {source: "^p/(.*)", target: $1}}]`, answer: found("p/a", "1", "p/b", "2"), want: []string{"a", "1", "b", "2"}},
		"rewrite with a named group":      {entry: `extract: {key: k}, rewrite: [{regexp: {source: "(?P<head>.)_(.*)", target: "${2}-${head}"}}]`, answer: text(`{"a_b":"1"}`), want: []string{"b-a", "1"}},
		"rewrite in sequence":             {entry: `extract: {key: k}, rewrite: [{regexp: {source: a, target: b}}, {regexp: {source: b, target: c}}]`, answer: text(`{"a":"1"}`), want: []string{"c", "1"}},
		"rewrite by template":             {entry: `extract: {key: k}, rewrite: [{transform: {template: "DB_{{ .value | upper }}"}}]`, answer: text(`{"user":"1"}`), want: []string{"DB_USER", "1"}},
		"rewrite by a bad template":       {entry: `extract: {key: k}, rewrite: [{transform: {template: "{{ .nope }}"}}]`, answer: text(`{"user":"` + mark + `"}`), kind: secret.Invalid, part: "rewrite[0].transform"},
		"rewrite to nothing drops keys":   {entry: `extract: {key: k}, rewrite: [{regexp: {source: "^tmp.*", target: ""}}]`, answer: text(`{"tmp1":"1","tmp2":"2","a":"3"}`), want: []string{"a", "3"}},
		"rewrite by regexp that collides": {entry: `extract: {key: k}, rewrite: [{regexp: {source: "[0-9]", target: ""}}]`, answer: text(`{"a1":"` + mark + `","a2":"2"}`), kind: secret.Invalid, part: `keys "a1" and "a2" both become "a"`},
		"transform that collides":         {entry: `extract: {key: k}, rewrite: [{transform: {template: "{{ .value | lower }}"}}]`, answer: text(`{"a":"1","A":"2"}`), kind: secret.Invalid, part: `keys "A" and "a"`},

		"merge takes members":                 {entry: `find: {path: p}, rewrite: [{merge: {}}]`, answer: found("a", `{"x":"1"}`, "b", `{"y":2.50,"z":null,"o":{"k":1}}`), want: []string{"x", "1", "y", "2.50", "z", "", "o", `{"k":1}`}},
		"merge conflict names both":           {entry: `find: {path: p}, rewrite: [{merge: {}}]`, answer: found("a", `{"x":"`+mark+`"}`, "b", `{"x":"2"}`), kind: secret.Invalid, part: `keys "a" and "b" both hold "x"`},
		"merge conflict ignored, last wins":   {entry: `find: {path: p}, rewrite: [{merge: {conflictPolicy: Ignore}}]`, answer: found("a", `{"x":"1"}`, "b", `{"x":"2"}`), want: []string{"x", "2"}},
		"merge with priority":                 {entry: `find: {path: p}, rewrite: [{merge: {conflictPolicy: Ignore, priority: [a, a]}}]`, answer: found("a", `{"x":"1"}`, "b", `{"x":"2"}`), want: []string{"x", "1"}},
		"merge with unknown priority":         {entry: `find: {path: p}, rewrite: [{merge: {priority: [c]}}]`, answer: found("a", `{"x":"1"}`), kind: secret.Invalid, part: `merge.priority[0]: there is no key "c"`},
		"merge with unknown priority ignored": {entry: `find: {path: p}, rewrite: [{merge: {priority: [c], priorityPolicy: IgnoreNotFound}}]`, answer: found("a", `{"x":"1"}`), want: []string{"x", "1"}},
		"merge to JSON":                       {entry: `find: {path: p}, rewrite: [{merge: {strategy: JSON, into: all}}]`, answer: found("a", `{"x":"<1>"}`, "b", `{"y":2.50}`), want: []string{"a", `{"x":"<1>"}`, "b", `{"y":2.50}`, "all", `{"x":"<1>","y":2.50}`}},
		"merge of what is no object":          {entry: `find: {path: p}, rewrite: [{merge: {}}]`, answer: found("a", mark), kind: secret.Invalid, part: `rewrite[0].merge: key "a"`},
		"merge twice":                         {entry: `extract: {key: k}, rewrite: [{merge: {strategy: JSON, into: x}}, {merge: {conflictPolicy: Ignore, priority: [x]}}]`, answer: text(`{"a":{"k":"1"},"b":{"l":"2"}}`), want: []string{"k", "1", "l", "2"}},
		"regexp then merge":                   {entry: `find: {path: p}, rewrite: [{regexp: {source: "^p/", target: ""}}, {merge: {priority: [a], conflictPolicy: Ignore}}]`, answer: found("p/a", `{"x":"1"}`, "p/b", `{"x":"2"}`), want: []string{"x", "1"}},
		"merge to JSON over an existing key":  {entry: `extract: {key: k}, rewrite: [{merge: {strategy: JSON, into: a}}]`, answer: text(`{"a":{"k":"1"}}`), want: []string{"a", `{"k":"1"}`}},
	} {
		t.Run(name, func(t *testing.T) {
			data, err := collect(t, "dataFrom: [{"+c.entry+"}]", c.answer)
			check(t, err, c.kind, c.part)
			if c.kind == "" {
				diff(t, reveal(values(c.want...)), reveal(data.Values))
			}
		})
	}
}

func TestCollectOrder(t *testing.T) {
	data, err := collect(t, `
dataFrom:
- extract: {key: a}
- extract: {key: b}
data:
- {secretKey: c, remoteRef: {key: c}}
`, text(`{"a":"1","b":"1","c":"1"}`), text(`{"b":"2","c":"2"}`), text("3"))
	check(t, err, "", "")
	diff(t, map[string]string{"a": "1", "b": "2", "c": "3"}, reveal(data.Values))
	diff(t, map[string]string{"a": "spec.dataFrom[0].extract", "b": "spec.dataFrom[1].extract", "c": "spec.data[0]"}, data.From)
}

func TestCollectMissingPropertyIsAnErrorWhateverThePolicy(t *testing.T) {
	for _, policy := range []string{"Delete", "Merge", "Retain"} {
		t.Run(policy, func(t *testing.T) {
			_, err := collect(t, "target: {deletionPolicy: "+policy+"}\ndata: [{secretKey: x, remoteRef: {key: k, property: typo}}]", text(`{"user":"`+mark+`"}`))
			check(t, err, secret.NotFound, `property "typo"`)
		})
	}
}

func TestCollectMissing(t *testing.T) {
	const sources = `
dataFrom: [{extract: {key: a}}, {find: {path: p}}]
data: [{secretKey: x, remoteRef: {key: x}}, {secretKey: z, remoteRef: {key: z}}]
`
	gone := failing(secret.NotFound)
	for name, c := range map[string]struct {
		policy  string
		answers []plan.Answer
		want    []string
		missing []string
		kind    secret.Kind
		part    string
	}{
		"left out with Delete":     {policy: "Delete", answers: []plan.Answer{gone, found("f", "1"), gone, text("2")}, want: []string{"f", "1", "z", "2"}, missing: []string{"spec.dataFrom[0].extract", "spec.data[0]"}},
		"left out with Merge":      {policy: "Merge", answers: []plan.Answer{gone, gone, gone, gone}, missing: []string{"spec.dataFrom[0].extract", "spec.dataFrom[1].find", "spec.data[0]", "spec.data[1]"}},
		"an error with Retain":     {policy: "Retain", answers: []plan.Answer{text(`{"a":"1"}`), found(), gone, gone}, kind: secret.NotFound, part: "spec.data[0] (SecretStore/vault): fake read k (and 1 more)"},
		"other errors stay errors": {policy: "Delete", answers: []plan.Answer{gone, found(), failing(secret.Unavailable), text("2")}, kind: secret.Unavailable, part: "spec.data[0]"},
		"the first in spec order":  {policy: "Delete", answers: []plan.Answer{failing(secret.Denied), failing(secret.Unavailable), failing(secret.RateLimited), gone}, kind: secret.Denied, part: "spec.dataFrom[0].extract (SecretStore/vault): fake read k (and 2 more)"},
	} {
		t.Run(name, func(t *testing.T) {
			data, err := collect(t, "target: {deletionPolicy: "+c.policy+"}"+sources, c.answers...)
			check(t, err, c.kind, c.part)
			if c.kind == "" {
				diff(t, reveal(values(c.want...)), reveal(data.Values))
				diff(t, c.missing, data.Missing)
			}
		})
	}
}

func TestCollectNeedsAnAnswerForEachSource(t *testing.T) {
	_, err := collect(t, `data: [{secretKey: x, remoteRef: {key: x}}]`)
	check(t, err, secret.Internal, "0 answers to 1 sources")
}

func TestCollectKeepsBinary(t *testing.T) {
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	data, err := collect(t, `data: [{secretKey: x, remoteRef: {key: x, decodingStrategy: Base64}}]`, text(base64.StdEncoding.EncodeToString(all)))
	check(t, err, "", "")
	diff(t, string(all), string(data.Values["x"].Reveal()))
}

// FuzzCollect feeds any value and any property: there is an answer or an error of a
// kind, and the error does not repeat the value.
func FuzzCollect(f *testing.F) {
	for _, property := range []string{"", "a", "a.b", `a\.b`, "a.#.b", "a.#(b>1)#", "@this|a", "{a,b}", "..#.a", "!x", "a|@pretty:{"} {
		f.Add([]byte(`{"a":[{"b":"`+mark+`"}],"a.b":null}`), property, true)
		f.Add([]byte(mark), property, false)
	}
	f.Fuzz(func(t *testing.T, value []byte, property string, many bool) {
		spec := &esv1.ExternalSecretSpec{SecretStoreRef: esv1.SecretStoreRef{Name: "vault"}}
		ref := esv1.ExternalSecretDataRemoteRef{Key: "k", Property: property, DecodingStrategy: esv1.ExternalSecretDecodeAuto}
		if many {
			spec.DataFrom = []esv1.ExternalSecretDataFromRemoteRef{{Extract: &ref}}
		} else {
			spec.Data = []esv1.ExternalSecretData{{SecretKey: "out", RemoteRef: ref}}
		}
		sources, err := plan.Sources(spec)
		check(t, err, "", "")
		answers := []plan.Answer{{Secret: secret.Secret{Value: secret.New(value)}}}
		_, err = plan.Collect(t.Context(), nil, spec, sources, answers)
		if err == nil {
			return
		}
		if kind := secret.KindOf(err); kind != secret.Invalid && kind != secret.NotFound {
			t.Fatalf("kind %s", kind)
		}
		if strings.Contains(err.Error(), mark) && !strings.Contains(property, mark) && !bytes.Contains(value, []byte(mark+`"`)) {
			t.Fatalf("a value is in %q", err)
		}
	})
}
