package plan_test

import (
	"regexp"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keyferry/keyferry/plan"
	"github.com/keyferry/keyferry/secret"
)

func sameRegexp(a, b *regexp.Regexp) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.String() == b.String()
}

func TestSources(t *testing.T) {
	es := object(t, `
secretStoreRef: {name: vault}
dataFrom:
- extract: {key: app/db, property: creds, version: "3"}
- find: {path: app/, name: {regexp: ^db}, tags: {team: a}}
  sourceRef: {storeRef: {name: shared, kind: ClusterSecretStore}}
data:
- {secretKey: tags, remoteRef: {key: app/db, metadataPolicy: Fetch}}
- secretKey: other
  remoteRef: {key: k}
  sourceRef: {storeRef: {name: second}}
- {secretKey: again, remoteRef: {key: k}}
`)
	got, err := plan.Sources(&es.Spec)
	check(t, err, "", "")
	vault, shared := plan.StoreRef{Kind: "SecretStore", Name: "vault"}, plan.StoreRef{Kind: "ClusterSecretStore", Name: "shared"}
	second := plan.StoreRef{Kind: "SecretStore", Name: "second"}
	diff(t, []plan.Source{
		{Field: "spec.dataFrom[0].extract", Store: vault, Ref: secret.Ref{Key: "app/db", Property: "creds", Version: "3"}},
		{Field: "spec.dataFrom[1].find", Store: shared, Find: &secret.Query{Path: "app/", Name: regexp.MustCompile("^db"), Tags: map[string]string{"team": "a"}}},
		{Field: "spec.data[0]", Store: vault, Ref: secret.Ref{Key: "app/db", Metadata: true}},
		{Field: "spec.data[1]", Store: second, Ref: secret.Ref{Key: "k"}},
		{Field: "spec.data[2]", Store: vault, Ref: secret.Ref{Key: "k"}},
	}, got, cmp.Comparer(sameRegexp))
	diff(t, []plan.StoreRef{vault, shared, second}, plan.Stores(&es.Spec))
	diff(t, "ClusterSecretStore/shared", shared.String())
}

func TestStoresLeavesOutWhatHasNone(t *testing.T) {
	es := object(t, `
dataFrom:
- sourceRef: {generatorRef: {kind: Password, name: p}}
- sourceRef: {storeRef: {name: a}}
  extract: {key: k}
data:
- {secretKey: x, remoteRef: {key: k}}
- {secretKey: y, remoteRef: {key: k}, sourceRef: {generatorRef: {kind: Password, name: p}}}
`)
	diff(t, []plan.StoreRef{{Kind: "SecretStore", Name: "a"}}, plan.Stores(&es.Spec))
}

func TestTemplateSources(t *testing.T) {
	es := object(t, `
target:
  template:
    templateFrom:
    - configMap: {name: cm, items: [{key: a}, {key: b}]}
      secret: {name: cm, items: [{key: s}]}
    - literal: "x: y"
    - configMap: {name: cm, items: [{key: b}, {key: c, templateAs: KeysAndValues}]}
`)
	got := plan.TemplateSources(&es.Spec)
	diff(t, []plan.TemplateSource{
		{Kind: "ConfigMap", Name: "cm", Keys: []string{"a", "b", "c"}, Field: "spec.target.template.templateFrom[0].configMap"},
		{Kind: "Secret", Name: "cm", Keys: []string{"s"}, Field: "spec.target.template.templateFrom[0].secret"},
	}, got)
	diff(t, "Secret/cm", got[1].Key())
	if none := plan.TemplateSources(&object(t, `{}`).Spec); none != nil {
		t.Fatalf("sources of no template: %v", none)
	}
}

func TestValidate(t *testing.T) {
	const ok = `
secretStoreRef: {name: vault}
data: [{secretKey: k, remoteRef: {key: k}}]
`
	for name, c := range map[string]struct {
		spec string
		kind secret.Kind
		part string
	}{
		"valid":                                    {spec: ok},
		"neither data nor dataFrom":                {`secretStoreRef: {name: vault}`, secret.Invalid, "spec.data"},
		"no store":                                 {`data: [{secretKey: k, remoteRef: {key: k}}]`, secret.Invalid, "spec.secretStoreRef.name or spec.data[0].sourceRef.storeRef.name"},
		"no store for dataFrom":                    {`dataFrom: [{extract: {key: k}}]`, secret.Invalid, "spec.dataFrom[0]"},
		"an unknown kind of store":                 {`{secretStoreRef: {name: v, kind: Store}, data: [{secretKey: k, remoteRef: {key: k}}]}`, secret.Invalid, `"Store"`},
		"a store of its own is enough":             {spec: `data: [{secretKey: k, remoteRef: {key: k}, sourceRef: {storeRef: {name: v}}}]`},
		"find with extract":                        {`{secretStoreRef: {name: v}, dataFrom: [{extract: {key: k}, find: {name: {regexp: x}}}]}`, secret.Invalid, "spec.dataFrom[0]"},
		"generator with find":                      {`dataFrom: [{find: {name: {regexp: x}}, sourceRef: {generatorRef: {kind: Password, name: p}}}]`, secret.Invalid, "generatorRef"},
		"generator with extract":                   {`dataFrom: [{extract: {key: k}, sourceRef: {generatorRef: {kind: Password, name: p}}}]`, secret.Invalid, "generatorRef"},
		"generator with a store":                   {`dataFrom: [{sourceRef: {storeRef: {name: v}, generatorRef: {kind: Password, name: p}}}]`, secret.Invalid, "generatorRef"},
		"generator needs no store":                 {spec: `dataFrom: [{sourceRef: {generatorRef: {kind: Password, name: p}}}]`},
		"generator with a bad rewrite":             {`dataFrom: [{sourceRef: {generatorRef: {kind: Password, name: p}}, rewrite: [{}]}]`, secret.Invalid, "spec.dataFrom[0].rewrite[0]"},
		"generator of a kind that is none":         {`dataFrom: [{sourceRef: {generatorRef: {kind: Secret, name: p}}}]`, secret.Invalid, "spec.dataFrom[0].sourceRef.generatorRef.kind"},
		"generator of another group":               {`dataFrom: [{sourceRef: {generatorRef: {apiVersion: v1, kind: Password, name: p}}}]`, secret.Invalid, "spec.dataFrom[0].sourceRef.generatorRef.apiVersion"},
		"generator without name":                   {`dataFrom: [{sourceRef: {generatorRef: {kind: Password}}}]`, secret.Invalid, "spec.dataFrom[0].sourceRef.generatorRef.name"},
		"generator of data":                        {`data: [{secretKey: k, remoteRef: {key: k}, sourceRef: {generatorRef: {kind: Password, name: p}}}]`, secret.Invalid, "spec.dataFrom"},
		"empty dataFrom":                           {`{secretStoreRef: {name: v}, dataFrom: [{}]}`, secret.Invalid, "spec.dataFrom[0]"},
		"empty sourceRef":                          {`{secretStoreRef: {name: v}, dataFrom: [{extract: {key: k}, sourceRef: {}}]}`, secret.Invalid, "spec.dataFrom[0].sourceRef"},
		"empty find":                               {`{secretStoreRef: {name: v}, dataFrom: [{find: {}}]}`, secret.Invalid, "spec.dataFrom[0].find"},
		"find by path alone":                       {spec: `{secretStoreRef: {name: v}, dataFrom: [{find: {path: a/}}]}`},
		"find with a bad expression":               {`{secretStoreRef: {name: v}, dataFrom: [{find: {name: {regexp: "("}}}]}`, secret.Invalid, "spec.dataFrom[0].find.name.regexp"},
		"extract without key":                      {`{secretStoreRef: {name: v}, dataFrom: [{extract: {key: ""}}]}`, secret.Invalid, "spec.dataFrom[0].extract.key"},
		"data without key":                         {`{secretStoreRef: {name: v}, data: [{secretKey: k, remoteRef: {key: ""}}]}`, secret.Invalid, "spec.data[0].remoteRef.key"},
		"data without secretKey":                   {`{secretStoreRef: {name: v}, data: [{secretKey: "", remoteRef: {key: k}}]}`, secret.Invalid, "spec.data[0].secretKey"},
		"rewrite with a bad expression":            {`{secretStoreRef: {name: v}, dataFrom: [{extract: {key: k}, rewrite: [{regexp: {source: "(", target: x}}]}]}`, secret.Invalid, "spec.dataFrom[0].rewrite[0].regexp.source"},
		"rewrite that says two things":             {`{secretStoreRef: {name: v}, dataFrom: [{extract: {key: k}, rewrite: [{merge: {}, regexp: {source: a, target: x}}]}]}`, secret.Invalid, "spec.dataFrom[0].rewrite[0]"},
		"rewrite that says nothing":                {`{secretStoreRef: {name: v}, dataFrom: [{extract: {key: k}, rewrite: [{}]}]}`, secret.Invalid, "spec.dataFrom[0].rewrite[0]"},
		"merge to JSON without into":               {`{secretStoreRef: {name: v}, dataFrom: [{extract: {key: k}, rewrite: [{merge: {strategy: JSON}}]}]}`, secret.Invalid, "merge.into"},
		"duplicate secretKey with Retain":          {`{secretStoreRef: {name: v}, data: [{secretKey: k, remoteRef: {key: a}}, {secretKey: k, remoteRef: {key: b}}]}`, secret.Invalid, "spec.data[1].secretKey"},
		"duplicate secretKey with Delete":          {spec: `{secretStoreRef: {name: v}, target: {deletionPolicy: Delete}, data: [{secretKey: k, remoteRef: {key: a}}, {secretKey: k, remoteRef: {key: b}}]}`},
		"deletionPolicy Delete with Merge":         {ok + `target: {creationPolicy: Merge, deletionPolicy: Delete}`, secret.Invalid, "spec.target.deletionPolicy"},
		"deletionPolicy Delete with None":          {ok + `target: {creationPolicy: None, deletionPolicy: Delete}`, secret.Invalid, "spec.target.deletionPolicy"},
		"deletionPolicy Delete with CreateOrMerge": {ok + `target: {creationPolicy: CreateOrMerge, deletionPolicy: Delete}`, secret.Invalid, "spec.target.deletionPolicy"},
		"deletionPolicy Delete with Owner":         {spec: ok + `target: {creationPolicy: Owner, deletionPolicy: Delete}`},
		"deletionPolicy Merge with None":           {ok + `target: {creationPolicy: None, deletionPolicy: Merge}`, secret.Invalid, "spec.target.deletionPolicy"},
		"deletionPolicy Merge with Merge":          {spec: ok + `target: {creationPolicy: Merge, deletionPolicy: Merge}`},
		"an unknown creationPolicy":                {ok + `target: {creationPolicy: Own}`, secret.Invalid, "spec.target.creationPolicy"},
		"an unknown deletionPolicy":                {ok + `target: {deletionPolicy: Own}`, secret.Invalid, "spec.target.deletionPolicy"},
		"an unknown refreshPolicy":                 {ok + `refreshPolicy: Never`, secret.Invalid, "spec.refreshPolicy"},
		"an unknown mergePolicy":                   {ok + `target: {template: {mergePolicy: Never}}`, secret.Invalid, "spec.target.template.mergePolicy"},
		"template engine v1":                       {ok + `target: {template: {engineVersion: v1}}`, secret.Invalid, "spec.target.template.engineVersion"},
		"manifest without kind":                    {ok + `target: {manifest: {apiVersion: v1, kind: ""}}`, secret.Invalid, "spec.target.manifest"},
		"manifest without apiVersion":              {ok + `target: {manifest: {apiVersion: "", kind: ConfigMap}}`, secret.Invalid, "spec.target.manifest"},
		"manifest with a bad apiVersion":           {ok + `target: {manifest: {apiVersion: a/b/c, kind: ConfigMap}}`, secret.Invalid, "spec.target.manifest"},

		"service account token with name annotation":                 {ok + `target: {template: {type: kubernetes.io/service-account-token, metadata: {annotations: {kubernetes.io/service-account.name: admin}}}}`, secret.Denied, "spec.target.template.type"},
		"service account token without name annotation":              {spec: ok + `target: {template: {type: kubernetes.io/service-account-token}}`},
		"service account token with templateFrom annotations":        {ok + `target: {template: {type: kubernetes.io/service-account-token, templateFrom: [{target: Annotations, literal: "a: b"}]}}`, secret.Denied, "spec.target.template.type"},
		"service account token with templateFrom annotations, lower": {ok + `target: {template: {type: kubernetes.io/service-account-token, templateFrom: [{target: annotations, literal: "a: b"}]}}`, secret.Denied, "spec.target.template.type"},
		"service account token with templateFrom data":               {spec: ok + `target: {template: {type: kubernetes.io/service-account-token, templateFrom: [{literal: "a: b"}]}}`},
		"bootstrap token": {ok + `target: {template: {type: bootstrap.kubernetes.io/token}}`, secret.Denied, "spec.target.template.type"},
		"service account name annotation on another type":              {spec: ok + `target: {template: {type: Opaque, metadata: {annotations: {kubernetes.io/service-account.name: admin}}}}`},
		"templateFrom type target":                                     {ok + `target: {template: {templateFrom: [{target: type, literal: "a: b"}]}}`, secret.Invalid, "templateFrom[0].target"},
		"templateFrom nested metadata.annotations target":              {ok + `target: {template: {templateFrom: [{target: metadata.annotations, literal: "a: b"}]}}`, secret.Invalid, "templateFrom[0].target"},
		"templateFrom mixed case nested annotations target":            {ok + `target: {template: {templateFrom: [{target: Metadata.Annotations, literal: "a: b"}]}}`, secret.Invalid, "templateFrom[0].target"},
		"templateFrom immutable target":                                {ok + `target: {template: {templateFrom: [{target: immutable, literal: "a: b"}]}}`, secret.Invalid, "templateFrom[0].target"},
		"templateFrom well-known targets in any case":                  {spec: ok + `target: {template: {templateFrom: [{target: data, literal: "a: b"}, {target: LABELS, literal: "a: b"}, {target: annotations, literal: "a: b"}]}}`},
		"templateFrom nested target of a custom resource":              {spec: ok + `target: {manifest: {apiVersion: example.org/v1, kind: App}, template: {templateFrom: [{target: spec.config, literal: "a: b"}]}}`},
		"templateFrom nested target of a manifest that names a Secret": {ok + `target: {manifest: {apiVersion: v1, kind: Secret}, template: {templateFrom: [{target: spec.config, literal: "a: b"}]}}`, secret.Invalid, "templateFrom[0].target"},
		"bootstrap token in a manifest that names a Secret":            {ok + `target: {manifest: {apiVersion: v1, kind: Secret}, template: {type: bootstrap.kubernetes.io/token}}`, secret.Denied, "spec.target.template.type"},
	} {
		t.Run(name, func(t *testing.T) {
			check(t, plan.Validate(&object(t, c.spec).Spec), c.kind, c.part)
		})
	}
}
