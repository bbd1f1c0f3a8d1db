package plan_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	esv1alpha1 "github.com/keyferry/keyferry/api/externalsecrets/v1alpha1"
	"github.com/keyferry/keyferry/plan"
	"github.com/keyferry/keyferry/secret"
)

// pushed returns a PushSecret app/db with that spec.
func pushed(t *testing.T, spec string) *esv1alpha1.PushSecret {
	t.Helper()
	ps := &esv1alpha1.PushSecret{Spec: *parse[esv1alpha1.PushSecretSpec](t, spec)}
	ps.Name, ps.Namespace, ps.UID = "db", "app", "uid-db"
	return ps
}

func source(name string, kv ...string) plan.PushSource {
	return plan.PushSource{Name: fmt.Sprintf("Secret %q", name), Data: values(kv...), Type: "Opaque", Labels: map[string]string{"from": name}}
}

// lines renders entries as "id=value", and the labels of their source where shown.
func lines(entries []plan.PushEntry) []string {
	var out []string
	for _, e := range entries {
		out = append(out, e.ID()+"="+string(e.Content.Whole().Reveal()))
	}
	return out
}

func TestPushEntries(t *testing.T) {
	db := source("db", "user", "ada", "pass", mark, "_U0041_b", "x")
	cases := map[string]struct {
		spec    string
		sources []plan.PushSource
		want    []string
		kind    secret.Kind
		part    string
	}{
		"a key":          {spec: `{data: [{match: {secretKey: user, remoteRef: {remoteKey: k}}}]}`, want: []string{"k=ada"}},
		"a property":     {spec: `{data: [{match: {secretKey: user, remoteRef: {remoteKey: k, property: p.q}}}]}`, want: []string{"k/p.q=ada"}},
		"all of it":      {spec: `{data: [{match: {remoteRef: {remoteKey: k}}}]}`, want: []string{`k={"_U0041_b":"x","pass":"` + mark + `","user":"ada"}`}},
		"decoded keys":   {spec: `{data: [{conversionStrategy: ReverseUnicode, match: {secretKey: Ab, remoteRef: {remoteKey: k}}}]}`, want: []string{"k=x"}},
		"no remote key":  {spec: `{data: [{match: {secretKey: user, remoteRef: {remoteKey: ""}}}]}`, kind: secret.Invalid, part: "spec.data[0].match.remoteRef.remoteKey"},
		"no such key":    {spec: `{data: [{match: {secretKey: nope, remoteRef: {remoteKey: k}}}]}`, kind: secret.Invalid, part: "spec.data[0].match.secretKey"},
		"one place":      {spec: `{data: [{match: {secretKey: user, remoteRef: {remoteKey: k}}}, {match: {secretKey: pass, remoteRef: {remoteKey: k}}}]}`, kind: secret.Invalid, part: "spec.data[1]: pushes to"},
		"an unclear one": {spec: `{data: [{match: {secretKey: user, remoteRef: {remoteKey: k/p}}}, {match: {secretKey: pass, remoteRef: {remoteKey: k, property: p}}}]}`, kind: secret.Invalid, part: "k/p"},

		"every key":     {spec: `{dataTo: [{storeRef: {name: s}}]}`, want: []string{"_U0041_b=x", "pass=" + mark, "user=ada"}},
		"matching keys": {spec: `{dataTo: [{storeRef: {name: s, kind: SecretStore}, match: {regexp: "^u"}}]}`, want: []string{"user=ada"}},
		"none matches":  {spec: `{dataTo: [{storeRef: {name: s}, match: {regexp: "^nope"}, remoteKey: k}]}`},
		"new names": {
			spec: `{dataTo: [{storeRef: {name: s}, match: {regexp: "^[up]"}, rewrite: [{regexp: {source: "^", target: "a/"}}, {transform: {template: "{{ .value | upper }}"}}]}]}`,
			want: []string{"A/PASS=" + mark, "A/USER=ada"},
		},
		"a bundle":                    {spec: `{dataTo: [{storeRef: {name: s}, remoteKey: all, match: {regexp: "user"}}]}`, want: []string{`all={"user":"ada"}`}},
		"by label":                    {spec: `{dataTo: [{storeRef: {labelSelector: {matchLabels: {tier: one}}}, match: {regexp: user}}]}`, want: []string{"user=ada"}},
		"explicit first":              {spec: `{data: [{match: {secretKey: user, remoteRef: {remoteKey: who}}}], dataTo: [{storeRef: {name: s}, match: {regexp: "^[up]"}}]}`, want: []string{"who=ada", "pass=" + mark}},
		"decoded in bulk":             {spec: `{dataTo: [{storeRef: {name: s}, conversionStrategy: ReverseUnicode, match: {regexp: "^A"}}]}`, want: []string{"Ab=x"}},
		"no target":                   {spec: `{dataTo: [{match: {regexp: a}}]}`, kind: secret.Invalid, part: "spec.dataTo[0].storeRef"},
		"another target":              {spec: `{dataTo: [{storeRef: {name: other}}]}`, kind: secret.Invalid, part: "spec.dataTo[0].storeRef"},
		"another kind":                {spec: `{dataTo: [{storeRef: {name: s, kind: ClusterSecretStore}}]}`, kind: secret.Invalid, part: "spec.dataTo[0].storeRef"},
		"another label":               {spec: `{dataTo: [{storeRef: {labelSelector: {matchLabels: {tier: two}}}}]}`, kind: secret.Invalid, part: "spec.dataTo[0].storeRef"},
		"a bad label":                 {spec: `{dataTo: [{storeRef: {labelSelector: {matchExpressions: [{key: a, operator: Bad}]}}}]}`, kind: secret.Invalid, part: "spec.dataTo[0].storeRef.labelSelector"},
		"a bad expression":            {spec: `{dataTo: [{storeRef: {name: s}, match: {regexp: "("}}]}`, kind: secret.Invalid, part: "spec.dataTo[0].match.regexp"},
		"a bad step":                  {spec: `{dataTo: [{storeRef: {name: s}, rewrite: [{}]}]}`, kind: secret.Invalid, part: "spec.dataTo[0].rewrite[0]"},
		"a bad rewrite":               {spec: `{dataTo: [{storeRef: {name: s}, rewrite: [{regexp: {source: "(", target: ""}}]}]}`, kind: secret.Invalid, part: "spec.dataTo[0]"},
		"names that meet":             {spec: `{dataTo: [{storeRef: {name: s}, rewrite: [{transform: {template: same}}]}]}`, kind: secret.Invalid, part: "spec.dataTo[0]"},
		"bundle and key":              {spec: `{data: [{match: {secretKey: user, remoteRef: {remoteKey: k}}}], dataTo: [{storeRef: {name: s}, remoteKey: k}]}`, kind: secret.Invalid, part: "spec.dataTo[0]"},
		"keys that meet":              {spec: `{dataTo: [{storeRef: {name: s}, conversionStrategy: ReverseUnicode}]}`, sources: []plan.PushSource{source("db", "A", "1", "_U0041_", "2")}, kind: secret.Invalid, part: "conversionStrategy"},
		"keys of one entry that meet": {spec: `{data: [{conversionStrategy: ReverseUnicode, match: {remoteRef: {remoteKey: k}}}]}`, sources: []plan.PushSource{source("db", "A", "1", "_U0041_", "2")}, kind: secret.Invalid, part: "spec.data[0].conversionStrategy"},
		"no code point":               {spec: `{dataTo: [{storeRef: {name: s}, conversionStrategy: ReverseUnicode}]}`, sources: []plan.PushSource{source("db", "_UD800_", "1")}, want: []string{"_UD800_=1"}},
		"a template":                  {spec: `{template: {data: {url: "{{ .user }}@db"}}, data: [{match: {secretKey: url, remoteRef: {remoteKey: k}}}, {match: {secretKey: user, remoteRef: {remoteKey: l}}}]}`, want: []string{"k=ada@db", "l=ada"}},
		"a bad template":              {spec: `{template: {data: {url: "{{ .nope"}}, data: [{match: {secretKey: url, remoteRef: {remoteKey: k}}}]}`, kind: secret.Invalid, part: "spec.template.data[url]"},
		"a missing file":              {spec: `{template: {templateFrom: [{configMap: {name: no, items: [{key: a}]}}]}, data: [{match: {secretKey: user, remoteRef: {remoteKey: k}}}]}`, kind: secret.NotFound, part: "spec.template.templateFrom[0].configMap.name"},
		"several sources":             {spec: `{dataTo: [{storeRef: {name: s}}]}`, sources: []plan.PushSource{source("a", "x", "1"), source("b", "y", "2")}, want: []string{"x=1", "y=2"}},
		"the one that has it": {
			spec:    `{data: [{match: {secretKey: "y", remoteRef: {remoteKey: k}}}]}`,
			sources: []plan.PushSource{source("a", "x", "1"), source("b", "y", "2")}, want: []string{"k=2"},
		},
		"none has it": {
			spec:    `{data: [{match: {secretKey: z, remoteRef: {remoteKey: k}}}]}`,
			sources: []plan.PushSource{source("a", "x", "1"), source("b", "y", "2")}, kind: secret.Invalid, part: "spec.data[0].match.secretKey",
		},
		"two have it": {
			spec:    `{dataTo: [{storeRef: {name: s}}]}`,
			sources: []plan.PushSource{source("a", "x", "1"), source("b", "x", "2")}, kind: secret.Invalid, part: `Secret "a" and Secret "b"`,
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			sources := c.sources
			if sources == nil {
				sources = []plan.PushSource{db}
			}
			p := plan.PushPlan{Object: pushed(t, c.spec), Engine: engine(t)}
			ref := plan.StoreRef{Kind: "SecretStore", Name: "s"}
			got, err := p.Entries(t.Context(), []plan.PushStore{{Ref: ref, Labels: map[string]string{"tier": "one"}}}, sources)
			check(t, err, c.kind, c.part)
			if diff := cmp.Diff(c.want, lines(got[ref])); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAPushTemplateAddsToWhatIsThere(t *testing.T) {
	ps := pushed(t, `{template: {type: kubernetes.io/tls, metadata: {labels: {new: "{{ .user }}"}, annotations: {a: b}}}, data: [{match: {secretKey: user, remoteRef: {remoteKey: k}}}]}`)
	ref := plan.StoreRef{Kind: "SecretStore", Name: "s"}
	from := source("db", "user", "ada")
	got, err := plan.PushPlan{Object: ps, Engine: engine(t)}.Entries(t.Context(), []plan.PushStore{{Ref: ref}}, []plan.PushSource{from})
	if err != nil {
		t.Fatal(err)
	}
	made := got[ref][0].Source
	want := &plan.PushSource{Type: "kubernetes.io/tls", Labels: map[string]string{"from": "db", "new": "ada"}, Annotations: map[string]string{"a": "b"}}
	if made.Type != want.Type || !cmp.Equal(made.Labels, want.Labels) || !cmp.Equal(made.Annotations, want.Annotations) {
		t.Errorf("made %+v", made)
	}
	if len(from.Labels) != 1 || from.Type != "Opaque" {
		t.Errorf("the source has changed: %+v", from)
	}
}

func place(key, property string) esv1alpha1.PushSecretData {
	var d esv1alpha1.PushSecretData
	d.Match.RemoteRef.RemoteKey, d.Match.RemoteRef.Property = key, property
	return d
}

func TestPushedOf(t *testing.T) {
	one := plan.StoreRef{Kind: "SecretStore", Name: "one"}
	got := plan.PushedOf(map[plan.StoreRef][]plan.PushEntry{one: {{Data: place("k", "p")}, {Data: place("l", "")}}})
	if diff := cmp.Diff([]esv1alpha1.PushSecretData{place("k", "p"), place("l", "")}, got.List(one)); diff != "" {
		t.Error(diff)
	}
}

func TestPushedIsWhatIsWhere(t *testing.T) {
	one, two := plan.StoreRef{Kind: "SecretStore", Name: "one"}, plan.StoreRef{Kind: "ClusterSecretStore", Name: "two"}
	p := plan.Pushed{}
	p.Add(one, place("k", ""))
	p.Add(one, place("k", "p"))
	p.Add(two, place("k", ""))
	q := plan.Pushed{}
	q.Add(one, place("k", "p"))
	q.Add(two, place("new", ""))
	if diff := cmp.Diff([]plan.StoreRef{two, one}, p.Stores()); diff != "" {
		t.Error(diff)
	}
	less := p.Less(q)
	if !less.Has(one, place("k", "")) || !less.Has(two, place("k", "")) || less.Has(one, place("k", "p")) {
		t.Errorf("less: %v", less)
	}
	with := p.With(q)
	if len(with["SecretStore/one"]) != 2 || len(with["ClusterSecretStore/two"]) != 2 || len(p["ClusterSecretStore/two"]) != 1 {
		t.Errorf("with: %v", with)
	}
	with.Remove(two, place("k", ""))
	with.Remove(two, place("new", ""))
	with.Remove(two, place("new", ""))
	if diff := cmp.Diff([]plan.StoreRef{one}, with.Stores()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]esv1alpha1.PushSecretData{place("k", ""), place("k", "p")}, with.List(one)); diff != "" {
		t.Error(diff)
	}
	if got := plan.ParseStoreRef("Odd"); got != (plan.StoreRef{Name: "Odd"}) {
		t.Errorf("parsed %+v", got)
	}
}

// elsewhere is a place in a namespace that metadata names.
func elsewhere(namespace, key string) esv1alpha1.PushSecretData {
	d := place(key, "")
	d.Metadata = &apiextensionsv1.JSON{Raw: []byte(`{"spec":{"remoteNamespace":"` + namespace + `"}}`)}
	return d
}

func TestMeet(t *testing.T) {
	flat, bad := place("k", ""), place("k", "")
	flat.Metadata = &apiextensionsv1.JSON{Raw: []byte(`{"remoteNamespace":"a"}`)}
	bad.Metadata = &apiextensionsv1.JSON{Raw: []byte(`[]`)}
	for name, c := range map[string]struct {
		a, b esv1alpha1.PushSecretData
		want bool
	}{
		"the same":               {place("k", ""), place("k", ""), true},
		"a property of":          {place("k", ""), place("k", "p"), true},
		"two properties":         {place("k", "q"), place("k", "p"), false},
		"two keys":               {place("k", ""), place("l", ""), false},
		"two remote namespaces":  {elsewhere("a", "k"), elsewhere("b", "k"), false},
		"one remote namespace":   {elsewhere("a", "k"), flat, true},
		"metadata that is wrong": {bad, place("k", ""), true},
	} {
		if plan.Meet(c.a, c.b) != c.want || plan.Meet(c.b, c.a) != c.want {
			t.Errorf("%s: want %v", name, c.want)
		}
	}
}

func TestCovers(t *testing.T) {
	s := plan.StoreRef{Kind: "SecretStore", Name: "s"}
	p := plan.Pushed{}
	p.Add(s, place("k", "p"))
	p.Add(s, place("whole", ""))
	if !p.Covers(s, place("k", "")) || p.Covers(s, place("k", "q")) || p.Covers(plan.StoreRef{Kind: "SecretStore", Name: "t"}, place("k", "")) {
		t.Errorf("covers of %v", p)
	}
	if _, ok := p.Whole(s, "whole"); !ok {
		t.Error("the whole is not found")
	}
	for _, key := range []string{"k", "k/p", "no"} {
		if _, ok := p.Whole(s, key); ok {
			t.Errorf("%s is a whole", key)
		}
	}
}

func TestEntriesOfOneKeyShareTheirMetadata(t *testing.T) {
	entry := func(key, property, metadata string) string {
		return `{match: {secretKey: user, remoteRef: {remoteKey: ` + key + `, property: "` + property + `"}}` + metadata + `}`
	}
	const tags, others = `, metadata: {spec: {tags: {a: b}}}`, `, metadata: {spec: {tags: {a: c}}}`
	cases := map[string]struct {
		data []string
		want map[string]string
		kind secret.Kind
	}{
		"one of them has it":  {[]string{entry("k", "p", ""), entry("k", "q", tags), entry("l", "", "")}, map[string]string{"k/p": `{"spec":{"tags":{"a":"b"}}}`, "k/q": `{"spec":{"tags":{"a":"b"}}}`, "l": ""}, ""},
		"each has the same":   {[]string{entry("k", "p", tags), entry("k", "q", tags)}, map[string]string{"k/p": `{"spec":{"tags":{"a":"b"}}}`, "k/q": `{"spec":{"tags":{"a":"b"}}}`}, ""},
		"each has its own":    {[]string{entry("k", "p", tags), entry("k", "q", others)}, nil, secret.Invalid},
		"two keys":            {[]string{entry("k", "p", tags), entry("l", "q", others)}, map[string]string{"k/p": `{"spec":{"tags":{"a":"b"}}}`, "l/q": `{"spec":{"tags":{"a":"c"}}}`}, ""},
		"one key, two places": {[]string{entry("k", "p", `, metadata: {spec: {remoteNamespace: a}}`), entry("k", "q", "")}, map[string]string{"k/p": `{"spec":{"remoteNamespace":"a"}}`, "k/q": ""}, ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			ref := plan.StoreRef{Kind: "SecretStore", Name: "s"}
			ps := pushed(t, `{data: [`+strings.Join(c.data, ", ")+`]}`)
			got, err := plan.PushPlan{Object: ps, Engine: engine(t)}.Entries(t.Context(), []plan.PushStore{{Ref: ref}}, []plan.PushSource{source("db", "user", "ada")})
			check(t, err, c.kind, "spec.data[1].metadata")
			var held map[string]string
			for _, e := range got[ref] {
				if held == nil {
					held = map[string]string{}
				}
				held[e.ID()] = string(e.Metadata())
			}
			if diff := cmp.Diff(c.want, held); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestEntriesForAStoreThatIsNotThereAreLeftOut(t *testing.T) {
	ps := pushed(t, `{dataTo: [{storeRef: {name: s}}, {storeRef: {name: missing}}]}`)
	ref := plan.StoreRef{Kind: "SecretStore", Name: "s"}
	got, err := plan.PushPlan{Object: ps, Engine: engine(t), Partial: true}.Entries(t.Context(), []plan.PushStore{{Ref: ref}}, []plan.PushSource{source("db", "user", "ada")})
	if diff := cmp.Diff([]string{"user=ada"}, lines(got[ref])); err != nil || diff != "" {
		t.Error(err, diff)
	}
}

func TestFeeds(t *testing.T) {
	s := plan.StoreRef{Kind: "SecretStore", Name: "s"}
	for name, c := range map[string]struct {
		spec string
		ref  secret.Ref
		want bool
	}{
		"the key":                {`{secretStoreRef: {name: s}, data: [{secretKey: a, remoteRef: {key: k}}]}`, secret.Ref{Key: "k"}, true},
		"a part of the key":      {`{secretStoreRef: {name: s}, dataFrom: [{extract: {key: k}}]}`, secret.Ref{Key: "k", Property: "p"}, true},
		"another part":           {`{secretStoreRef: {name: s}, data: [{secretKey: a, remoteRef: {key: k, property: q}}]}`, secret.Ref{Key: "k", Property: "p"}, false},
		"another store":          {`{secretStoreRef: {name: t}, data: [{secretKey: a, remoteRef: {key: k}}]}`, secret.Ref{Key: "k"}, false},
		"an old version":         {`{secretStoreRef: {name: s}, data: [{secretKey: a, remoteRef: {key: k, version: "1"}}]}`, secret.Ref{Key: "k"}, false},
		"what is found":          {`{secretStoreRef: {name: s}, dataFrom: [{find: {name: {regexp: "^k"}}}]}`, secret.Ref{Key: "key"}, true},
		"what is not found":      {`{secretStoreRef: {name: s}, dataFrom: [{find: {name: {regexp: "^k"}}}]}`, secret.Ref{Key: "other"}, false},
		"what is in a folder":    {`{secretStoreRef: {name: s}, dataFrom: [{find: {path: app/}}]}`, secret.Ref{Key: "app/k"}, true},
		"another folder":         {`{secretStoreRef: {name: s}, dataFrom: [{find: {path: other/, name: {regexp: k}}}]}`, secret.Ref{Key: "app/k"}, false},
		"what has tags":          {`{secretStoreRef: {name: s}, dataFrom: [{find: {tags: {a: b}}}]}`, secret.Ref{Key: "k"}, false},
		"one that reads nothing": {`{}`, secret.Ref{Key: "k"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			err := plan.Feeds(object(t, c.spec), s, c.ref)
			if !c.want && err != nil {
				t.Fatal(err)
			}
			if c.want {
				check(t, err, secret.Conflict, `ExternalSecret "db"`)
			}
		})
	}
}

func TestRival(t *testing.T) {
	s := plan.StoreRef{Kind: "SecretStore", Name: "s"}
	born := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	of := func(name string, age time.Duration, places ...esv1alpha1.PushSecretData) *esv1alpha1.PushSecret {
		ps := &esv1alpha1.PushSecret{}
		ps.Namespace, ps.Name, ps.UID = "app", name, types.UID("uid-"+name)
		ps.CreationTimestamp = metav1.NewTime(born.Add(-age))
		p := plan.Pushed{}
		for _, d := range places {
			p.Add(s, d)
		}
		ps.Status.SyncedPushSecrets = p
		return ps
	}
	leaving := of("a", time.Hour, place("k", ""))
	leaving.DeletionTimestamp = &metav1.Time{Time: born}
	emptying := of("a", 0, place("k", ""))
	emptying.DeletionTimestamp, emptying.Finalizers = leaving.DeletionTimestamp, []string{esv1alpha1.PushSecretFinalizer}
	for name, c := range map[string]struct {
		me     *esv1alpha1.PushSecret
		others []*esv1alpha1.PushSecret
		want   string
	}{
		"nobody":                    {of("me", 0), nil, ""},
		"myself":                    {of("me", 0), []*esv1alpha1.PushSecret{of("me", time.Hour, place("k", ""))}, ""},
		"who was there before":      {of("me", time.Hour), []*esv1alpha1.PushSecret{of("a", 0, place("k", ""))}, "a"},
		"who pushes a part":         {of("me", time.Hour), []*esv1alpha1.PushSecret{of("a", 0, place("k", "p"))}, "a"},
		"who pushes something else": {of("me", 0), []*esv1alpha1.PushSecret{of("a", time.Hour, place("l", ""))}, ""},
		"who leaves":                {of("me", 0), []*esv1alpha1.PushSecret{leaving}, ""},
		"who will delete it":        {of("me", 0), []*esv1alpha1.PushSecret{emptying}, "a"},
		"who leaves it to me":       {of("me", 0, place("k", "")), []*esv1alpha1.PushSecret{emptying}, ""},
		"the older of both":         {of("me", 0, place("k", "")), []*esv1alpha1.PushSecret{of("z", time.Hour, place("k", ""))}, "z"},
		"the younger of both":       {of("me", time.Hour, place("k", "")), []*esv1alpha1.PushSecret{of("a", 0, place("k", ""))}, ""},
		"the first by name":         {of("me", 0, place("k", "")), []*esv1alpha1.PushSecret{of("a", 0, place("k", ""))}, "a"},
		"the last by name":          {of("me", 0, place("k", "")), []*esv1alpha1.PushSecret{of("z", 0, place("k", ""))}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			got := ""
			if rival := plan.Rival(c.me, s, place("k", ""), c.others); rival != nil {
				got = rival.Name
			}
			if got != c.want {
				t.Errorf("rival %q, want %q", got, c.want)
			}
		})
	}
}

func TestPushTemplateSources(t *testing.T) {
	ps := pushed(t, `{template: {templateFrom: [{configMap: {name: a, items: [{key: x}, {key: y}]}}, {secret: {name: b, items: [{key: z}]}}]}}`)
	got := plan.PushTemplateSources(ps)
	if len(got) != 2 || got[0].Key() != "ConfigMap/a" || got[1].Key() != "Secret/b" || !strings.HasPrefix(got[0].Field, "spec.template.templateFrom[0]") {
		t.Errorf("got %+v", got)
	}
	if got := plan.PushTemplateSources(pushed(t, `{}`)); got != nil {
		t.Errorf("without a template: %+v", got)
	}
}
