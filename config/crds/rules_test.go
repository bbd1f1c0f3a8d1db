package crds_test

import (
	"fmt"
	"maps"
	"strings"
)

func externalSecret(spec string) string {
	return "apiVersion: external-secrets.io/v1\nkind: ExternalSecret\nmetadata: {generateName: es-}\nspec: {" + spec + "}"
}

func target(target string) string {
	return externalSecret("dataFrom: [{extract: {key: a}}], target: {" + target + "}")
}

func dataFrom(entry string) string { return externalSecret("dataFrom: [{" + entry + "}]") }

func storeSpec(kind, spec string) string {
	return "apiVersion: external-secrets.io/v1\nkind: " + kind + "\nmetadata: {generateName: s-}\nspec: {" + spec + "}"
}

func store(provider string) string { return storeSpec("SecretStore", "provider: {"+provider+"}") }

func clusterStore(provider string) string {
	return storeSpec("ClusterSecretStore", "provider: {"+provider+"}")
}

func vault(rest string) string { return store(`vault: {server: "https://v", ` + rest + `}`) }

func openBao(rest string) string { return store(`openBao: {server: "https://v", ` + rest + `}`) }

// manyData has n entries, each of its own key, and then one more entry of the key extra.
func manyData(n int, extra string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "{secretKey: key-%d, remoteRef: {key: b}}, ", i)
	}
	return externalSecret("data: [" + b.String() + "{secretKey: " + extra + ", remoteRef: {key: b}}]")
}

type ruleCase struct {
	manifest string
	message  string // empty: accepted
}

func rules() map[string]ruleCase {
	out := map[string]ruleCase{}
	for _, group := range []map[string]ruleCase{externalSecretRules(), targetRules(), templateRules(), storeRules(), caRules(), providerRules()} {
		maps.Copy(out, group)
	}
	return out
}

func externalSecretRules() map[string]ruleCase {
	const one = "set exactly one of extract, find and sourceRef.generatorRef"
	return map[string]ruleCase{
		"no spec":                          {"apiVersion: external-secrets.io/v1\nkind: ExternalSecret\nmetadata: {name: a}", "spec is needed"},
		"neither data nor dataFrom":        {externalSecret(``), "data and dataFrom are both empty"},
		"data and dataFrom are empty":      {externalSecret(`data: [], dataFrom: []`), "data and dataFrom are both empty"},
		"data alone":                       {externalSecret(`data: [{secretKey: a, remoteRef: {key: b}}]`), ""},
		"extract":                          {dataFrom(`extract: {key: a}`), ""},
		"extract from another store":       {dataFrom(`extract: {key: a}, sourceRef: {storeRef: {name: s}}`), ""},
		"find":                             {dataFrom(`find: {name: {regexp: a}}`), ""},
		"generator":                        {dataFrom(`sourceRef: {generatorRef: {kind: Password, name: p}}`), ""},
		"extract and find":                 {dataFrom(`extract: {key: a}, find: {}`), one},
		"extract and generator":            {dataFrom(`extract: {key: a}, sourceRef: {generatorRef: {kind: Password, name: p}}`), one},
		"find and generator":               {dataFrom(`find: {}, sourceRef: {generatorRef: {kind: Password, name: p}}`), one},
		"nothing to take from":             {dataFrom(`rewrite: []`), one},
		"store without extract or find":    {dataFrom(`sourceRef: {storeRef: {name: s}}`), one},
		"generator and store":              {dataFrom(`sourceRef: {generatorRef: {kind: Password, name: p}, storeRef: {name: s}}`), "sourceRef"},
		"empty sourceRef":                  {dataFrom(`extract: {key: a}, sourceRef: {}`), "sourceRef"},
		"empty sourceRef of one key":       {externalSecret(`data: [{secretKey: a, remoteRef: {key: b}, sourceRef: {}}]`), "sourceRef"},
		"two kinds of rewrite in one step": {dataFrom(`extract: {key: a}, rewrite: [{regexp: {source: a, target: b}, transform: {template: c}}]`), "rewrite"},
		"many rewrites":                    {dataFrom(`extract: {key: a}, rewrite: [{regexp: {source: a, target: b}}, {transform: {template: c}}]`), ""},
		"a generator of no known kind":     {dataFrom(`sourceRef: {generatorRef: {kind: Dice, name: p}}`), "kind"},

		"a key twice":                   {manyData(1, "key-0"), "data has two entries of one secretKey"},
		"a key twice among thousands":   {manyData(3000, "key-7"), "data has two entries of one secretKey"},
		"thousands of keys":             {manyData(3000, "other"), ""},
		"a key twice with Merge":        {externalSecret(`data: [{secretKey: a, remoteRef: {key: b}}, {secretKey: a, remoteRef: {key: c}}], target: {deletionPolicy: Merge}`), ""},
		"a key twice with Delete":       {externalSecret(`data: [{secretKey: a, remoteRef: {key: b}}, {secretKey: a, remoteRef: {key: c}}], target: {deletionPolicy: Delete}`), ""},
		"a key that no Secret may have": {externalSecret(`data: [{secretKey: a/b, remoteRef: {key: b}}]`), "secretKey"},

		"refreshInterval 0":               {externalSecret(`dataFrom: [{extract: {key: a}}], refreshInterval: "0"`), ""},
		"refreshInterval with a fraction": {externalSecret(`dataFrom: [{extract: {key: a}}], refreshInterval: 1.5h10s`), ""},
		"refreshInterval without a unit":  {externalSecret(`dataFrom: [{extract: {key: a}}], refreshInterval: "10"`), "refreshInterval must be a duration"},
		"refreshInterval in days":         {externalSecret(`dataFrom: [{extract: {key: a}}], refreshInterval: 1d`), "refreshInterval must be a duration"},
		"refreshInterval of centuries":    {externalSecret(`dataFrom: [{extract: {key: a}}], refreshInterval: 2000000h`), "at most 876000h"},
		"refreshInterval that overflows":  {externalSecret(`dataFrom: [{extract: {key: a}}], refreshInterval: 99999999h`), "refreshInterval must be a duration"},

		"a window":                       {externalSecret(`dataFrom: [{extract: {key: a}}], syncWindows: {kind: allow, windows: [{schedule: "0 1 * * *", duration: 1h}]}`), ""},
		"a window whose length is wrong": {externalSecret(`dataFrom: [{extract: {key: a}}], syncWindows: {kind: allow, windows: [{schedule: "0 1 * * *", duration: long}]}`), "duration must be a duration"},
		"a window of four fields":        {externalSecret(`dataFrom: [{extract: {key: a}}], syncWindows: {kind: deny, windows: [{schedule: "0 1 * *", duration: 1h}]}`), "schedule"},
		"no windows":                     {externalSecret(`dataFrom: [{extract: {key: a}}], syncWindows: {kind: deny, windows: []}`), "windows"},
	}
}

func targetRules() map[string]ruleCase {
	const del, merge = "deletionPolicy Delete would delete", "deletionPolicy Merge has nothing to remove"
	return map[string]ruleCase{
		"Delete with the default creationPolicy": {target(`deletionPolicy: Delete`), ""},
		"Delete with Owner":                      {target(`deletionPolicy: Delete, creationPolicy: Owner`), ""},
		"Delete with Orphan":                     {target(`deletionPolicy: Delete, creationPolicy: Orphan`), ""},
		"Delete with Merge":                      {target(`deletionPolicy: Delete, creationPolicy: Merge`), del},
		"Delete with None":                       {target(`deletionPolicy: Delete, creationPolicy: None`), del},
		"Delete with CreateOrMerge":              {target(`deletionPolicy: Delete, creationPolicy: CreateOrMerge`), del},
		"Merge with Merge":                       {target(`deletionPolicy: Merge, creationPolicy: Merge`), ""},
		"Merge with None":                        {target(`deletionPolicy: Merge, creationPolicy: None`), merge},
		"Retain with None":                       {target(`creationPolicy: None`), ""},
		"Retain with CreateOrMerge":              {target(`creationPolicy: CreateOrMerge`), ""},
	}
}

func templateRules() map[string]ruleCase {
	const account = "type: kubernetes.io/service-account-token"
	return map[string]ruleCase{
		"templateFrom into each part of a Secret":                {target(`template: {templateFrom: [{target: Data, literal: a}, {target: Annotations, literal: a}, {target: Labels, literal: a}]}`), ""},
		"templateFrom in other letter case":                      {target(`template: {templateFrom: [{target: ANNOTATIONS, literal: a}]}`), ""},
		"templateFrom into an empty target":                      {target(`template: {templateFrom: [{target: "", literal: a}]}`), ""},
		"templateFrom into something else":                       {target(`template: {templateFrom: [{literal: a}, {target: spec.a, literal: a}]}`), "template.templateFrom[].target must be Data, Annotations or Labels"},
		"templateFrom into something else of another kind":       {target(`manifest: {apiVersion: v1, kind: ConfigMap}, template: {templateFrom: [{target: spec.a, literal: a}]}`), ""},
		"an ordinary type":                                       {target(`template: {type: kubernetes.io/tls}`), ""},
		"a bootstrap token":                                      {target(`template: {type: bootstrap.kubernetes.io/token}`), "type bootstrap.kubernetes.io/token is refused"},
		"a service account token":                                {target(`template: {` + account + `, metadata: {annotations: {kubernetes.io/service-account.name: a}}}`), "is refused"},
		"a service account token by templateFrom":                {target(`template: {` + account + `, templateFrom: [{target: annotations, literal: a}]}`), "is refused"},
		"annotations by templateFrom with an ordinary type":      {target(`template: {type: Opaque, templateFrom: [{target: annotations, literal: a}]}`), ""},
		"the annotation of service accounts on an ordinary type": {target(`template: {metadata: {annotations: {kubernetes.io/service-account.name: a}}}`), ""},
		"an engine that is gone":                                 {target(`template: {engineVersion: v1}`), "engineVersion"},
	}
}

func storeRules() map[string]ruleCase {
	const fake = `provider: {fake: {data: []}}, `
	regexes := func(list string) string {
		return storeSpec("ClusterSecretStore", fake+`conditions: [{namespaceRegexes: [`+list+`]}]`)
	}
	return map[string]ruleCase{
		"store without spec":         {"apiVersion: external-secrets.io/v1\nkind: SecretStore\nmetadata: {name: a}", "spec is needed"},
		"cluster store without spec": {"apiVersion: external-secrets.io/v1\nkind: ClusterSecretStore\nmetadata: {name: a}", "spec is needed"},
		"no provider":                {storeSpec("SecretStore", `controller: a`), "spec.provider"},
		"an empty provider":          {store(``), "spec.provider"},
		"two providers":              {store(`fake: {data: []}, webhook: {url: "https://w"}`), "spec.provider"},
		"two providers, one unknown": {store(`fake: {data: []}, aws: {region: a}`), "spec.provider"},
		"an unknown provider":        {store(`aws: {region: a}`), ""},

		"refreshInterval in seconds":           {storeSpec("SecretStore", fake+`refreshInterval: 300`), ""},
		"refreshInterval 0 seconds":            {storeSpec("SecretStore", fake+`refreshInterval: 0`), ""},
		"refreshInterval as a duration":        {storeSpec("SecretStore", fake+`refreshInterval: 5m`), ""},
		"refreshInterval empty":                {storeSpec("SecretStore", fake+`refreshInterval: ""`), ""},
		"refreshInterval negative":             {storeSpec("SecretStore", fake+`refreshInterval: -1`), "refreshInterval must be a duration such as 5m"},
		"refreshInterval a negative duration":  {storeSpec("SecretStore", fake+`refreshInterval: -5m`), "refreshInterval must be a duration such as 5m"},
		"refreshInterval of a cluster store":   {storeSpec("ClusterSecretStore", fake+`refreshInterval: soon`), "refreshInterval must be a duration such as 5m"},
		"namespaceRegexes":                     {regexes(`"team-.*", "^a(b|c)$", ""`), ""},
		"namespaceRegexes that do not compile": {regexes(`"a", "team-("`), "namespaceRegexes must hold Go regular expressions"},
		"namespaceRegexes with a lookahead":    {regexes(`"(?!a)"`), "namespaceRegexes must hold Go regular expressions"},
		"namespaces that cannot exist":         {storeSpec("ClusterSecretStore", fake+`conditions: [{namespaces: ["A_b"]}]`), "namespaces"},
	}
}

// caRules holds every provider with a caProvider to the same rule.
func caRules() map[string]ruleCase {
	out := map[string]ruleCase{}
	for path, format := range map[string]string{
		"vault":             `vault: {server: "https://v", %s}`,
		"openBao":           `openBao: {server: "https://v", %s}`,
		"webhook":           `webhook: {url: "https://w", %s}`,
		"kubernetes.server": `kubernetes: {server: {%s}}`,
	} {
		with := fmt.Sprintf(format, `caProvider: {type: ConfigMap, name: a, key: b, namespace: c}`)
		without := fmt.Sprintf(format, `caProvider: {type: Secret, name: a, key: b}`)
		field := "spec.provider." + path + ".caProvider.namespace "
		out[path+" in a store, CA without namespace"] = ruleCase{store(without), ""}
		out[path+" in a store, CA with namespace"] = ruleCase{store(with), field + "must not be set in a SecretStore"}
		out[path+" in a cluster store, CA without namespace"] = ruleCase{clusterStore(without), field + "is needed in a ClusterSecretStore"}
		out[path+" in a cluster store, CA with namespace"] = ruleCase{clusterStore(with), ""}
	}
	return out
}

func providerRules() map[string]ruleCase {
	const webhook = `webhook: {url: "https://w", secrets: [{name: a, secretRef: {name: s}}]}`
	return map[string]ruleCase{
		"webhook secrets in a store":                           {store(webhook), ""},
		"webhook secrets in a cluster store":                   {clusterStore(webhook), "spec.provider.webhook.secrets[].secretRef.namespace is needed"},
		"webhook secrets in a cluster store, with a namespace": {clusterStore(`webhook: {url: "https://w", secrets: [{name: a, secretRef: {name: s, namespace: ns}}]}`), ""},
		"webhook timeout":                                      {store(`webhook: {url: "https://w", timeout: 5s}`), ""},
		"webhook timeout that is none":                         {store(`webhook: {url: "https://w", timeout: soon}`), "timeout must be a duration"},
		"webhook auth of no kind":                              {store(`webhook: {url: "https://w", auth: {}}`), "auth"},

		"fake without a key":          {store(`fake: {data: [{key: "", value: a}]}`), "key must not be empty"},
		"fake with an empty value":    {store(`fake: {data: [{key: a, value: ""}]}`), ""},
		"kubernetes by two ways":      {store(`kubernetes: {auth: {token: {bearerToken: {name: a}}, serviceAccount: {name: a}}}`), "auth"},
		"kubernetes by one way":       {store(`kubernetes: {auth: {serviceAccount: {name: a}}}`), ""},
		"a Secret that cannot exist":  {store(`kubernetes: {authRef: {name: "A b"}}`), "authRef.name"},
		"checkAndSet with v1":         {vault(`version: v1, checkAndSet: {required: true}`), "checkAndSet.required needs version v2"},
		"checkAndSet with v2":         {vault(`checkAndSet: {required: true}`), ""},
		"checkAndSet off with v1":     {vault(`version: v1, checkAndSet: {required: false}`), ""},
		"tls with half a pair":        {vault(`tls: {certSecretRef: {name: a}}`), "set both certSecretRef and keySecretRef"},
		"tls with a pair":             {vault(`tls: {certSecretRef: {name: a}, keySecretRef: {name: a}}`), ""},
		"tls with nothing":            {vault(`tls: {}`), ""},
		"vault without auth":          {store(`vault: {server: "https://v"}`), ""},
		"vault by two ways":           {vault(`auth: {tokenSecretRef: {name: a}, cert: {}}`), ""},
		"appRole without a role":      {vault(`auth: {appRole: {secretRef: {name: a}}}`), "set roleId or roleRef"},
		"appRole with an empty role":  {vault(`auth: {appRole: {roleId: "", secretRef: {name: a}}}`), "set roleId or roleRef"},
		"appRole with a reference":    {vault(`auth: {appRole: {roleRef: {name: a}, secretRef: {name: a}}}`), ""},
		"jwt without a token":         {vault(`auth: {jwt: {role: a}}`), "set secretRef or kubernetesServiceAccountToken"},
		"jwt with a service account":  {vault(`auth: {jwt: {kubernetesServiceAccountToken: {serviceAccountRef: {name: a}}}}`), ""},
		"jwt with a Secret":           {vault(`auth: {jwt: {secretRef: {name: a}}}`), ""},
		"vault of a third version":    {vault(`version: v3`), "version"},
		"openBao by a token":          {openBao(`auth: {tokenSecretRef: {name: a}}`), ""},
		"openBao by a user":           {openBao(`auth: {userPass: {username: a, secretRef: {name: a}}}`), ""},
		"openBao by nothing":          {openBao(`auth: {namespace: a}`), "set exactly one of tokenSecretRef, appRole and userPass"},
		"openBao by two ways":         {openBao(`auth: {tokenSecretRef: {name: a}, userPass: {username: a}}`), "set exactly one of tokenSecretRef, appRole and userPass"},
		"openBao appRole by two ways": {openBao(`auth: {appRole: {roleId: a, roleRef: {name: a}, secretRef: {name: a}}}`), "set exactly one of roleId and roleRef"},
		"openBao appRole":             {openBao(`auth: {appRole: {roleId: a, secretRef: {name: a}}}`), ""},
		"openBao with two CAs":        {openBao(`caBundle: YQ==, caProvider: {type: Secret, name: a, key: b}`), "set caBundle or caProvider, not both"},
		"openBao with a CA bundle":    {openBao(`caBundle: YQ==`), ""},
	}
}
