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

func awsStore(rest string) string {
	return store(`aws: {service: SecretsManager, region: eu-west-1, ` + rest + `}`)
}

func clusterExternalSecret(rest string) string {
	return "apiVersion: external-secrets.io/v1\nkind: ClusterExternalSecret\nmetadata: {generateName: ces-}\nspec: {externalSecretSpec: {dataFrom: [{extract: {key: a}}]}, " + rest + "}"
}

func pushSpec(kind, spec string) string {
	return "apiVersion: external-secrets.io/v1alpha1\nkind: " + kind + "\nmetadata: {generateName: ps-}\nspec: {" + spec + "}"
}

func pushSecret(rest string) string {
	return pushSpec("PushSecret", "secretStoreRefs: [{name: a}], selector: {secret: {name: a}}, "+rest)
}

func dataTo(entry string) string { return pushSecret("dataTo: [{" + entry + "}]") }

func clusterPushSecret(rest string) string {
	return pushSpec("ClusterPushSecret", "pushSecretSpec: {secretStoreRefs: [{name: a}], selector: {secret: {name: a}}}, "+rest)
}

func generator(kind, spec string) string {
	return "apiVersion: generators.external-secrets.io/v1alpha1\nkind: " + kind + "\nmetadata: {generateName: g-}\nspec: {" + spec + "}"
}

type ruleCase struct {
	manifest string
	message  string // empty: accepted
}

func rules() map[string]ruleCase {
	out := map[string]ruleCase{}
	for _, group := range []map[string]ruleCase{externalSecretRules(), targetRules(), templateRules(), storeRules(), caRules(), providerRules(), awsRules(), fanoutRules(), pushRules(), generatorRules()} {
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
		"two providers, one unknown": {store(`fake: {data: []}, gcpsm: {projectID: a}`), "spec.provider"},
		"an unknown provider":        {store(`gcpsm: {projectID: a}`), ""},

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

func awsRules() map[string]ruleCase {
	const days, both, tags = "recoveryWindowInDays must be 7 to 30", "set it or recoveryWindowInDays, not both", "customSessionTags must not set"
	return map[string]ruleCase{
		"aws":                             {awsStore(``), ""},
		"aws ParameterStore":              {store(`aws: {service: ParameterStore, region: a}`), ""},
		"aws CertificateManager":          {store(`aws: {service: CertificateManager, region: a}`), ""},
		"aws of no known service":         {store(`aws: {service: S3, region: a}`), "service"},
		"aws without a service":           {store(`aws: {region: a}`), "service"},
		"aws without a region":            {store(`aws: {service: SecretsManager}`), "region"},
		"aws with half a session tag":     {awsStore(`sessionTags: [{key: a}]`), "sessionTags[0].value"},
		"aws with tags of its own":        {awsStore(`sessionTagsPolicy: Custom, customSessionTags: {team: a}`), ""},
		"aws with a tag that tells lies":  {awsStore(`sessionTagsPolicy: Custom, customSessionTags: {esoNamespace: a}`), tags},
		"aws with a store that is forged": {awsStore(`customSessionTags: {team: a, esoStoreName: b}`), tags},
		"aws with a kind that is forged":  {awsStore(`customSessionTags: {esoStoreKind: b}`), tags},
		"aws with tags of no known sort":  {awsStore(`sessionTagsPolicy: All`), "sessionTagsPolicy"},
		"aws that recovers for a week":    {awsStore(`secretsManager: {recoveryWindowInDays: 7}`), ""},
		"aws that recovers for 30 days":   {awsStore(`secretsManager: {recoveryWindowInDays: 30, forceDeleteWithoutRecovery: false}`), ""},
		"aws that recovers for 6 days":    {awsStore(`secretsManager: {recoveryWindowInDays: 6}`), days},
		"aws that recovers for 31 days":   {awsStore(`secretsManager: {recoveryWindowInDays: 31}`), days},
		"aws that deletes at once":        {awsStore(`secretsManager: {forceDeleteWithoutRecovery: true}`), ""},
		"aws with 0 days":                 {awsStore(`secretsManager: {forceDeleteWithoutRecovery: true, recoveryWindowInDays: 0}`), ""},
		"aws that cannot decide":          {awsStore(`secretsManager: {forceDeleteWithoutRecovery: true, recoveryWindowInDays: 7}`), both},
	}
}

func fanoutRules() map[string]ruleCase {
	const spec = "spec is needed"
	return map[string]ruleCase{
		"ces":                            {clusterExternalSecret(`namespaceSelectors: [{}], refreshTime: 1m`), ""},
		"ces without spec":               {"apiVersion: external-secrets.io/v1\nkind: ClusterExternalSecret\nmetadata: {name: a}", spec},
		"ces without externalSecretSpec": {"apiVersion: external-secrets.io/v1\nkind: ClusterExternalSecret\nmetadata: {name: a}\nspec: {}", "externalSecretSpec"},
		"ces of an empty ExternalSecret": {"apiVersion: external-secrets.io/v1\nkind: ClusterExternalSecret\nmetadata: {name: a}\nspec: {externalSecretSpec: {}}", "data and dataFrom are both empty"},
		"ces with a name that is none":   {clusterExternalSecret(`externalSecretName: A_b`), "externalSecretName"},
		"ces with a namespace by name":   {clusterExternalSecret(`namespaces: [a-b]`), ""},
		"ces with no such namespace":     {clusterExternalSecret(`namespaces: [a.b]`), "namespaces[0]"},
		"ces with a refreshTime in days": {clusterExternalSecret(`refreshTime: 1d`), "refreshTime must be a duration"},

		"cps":                          {clusterPushSecret(`namespaceSelectors: [{}], refreshTime: 1m`), ""},
		"cps without spec":             {"apiVersion: external-secrets.io/v1alpha1\nkind: ClusterPushSecret\nmetadata: {name: a}", spec},
		"cps without pushSecretSpec":   {pushSpec("ClusterPushSecret", ``), "pushSecretSpec"},
		"cps of nothing":               {pushSpec("ClusterPushSecret", `pushSecretSpec: {secretStoreRefs: [{name: a}], selector: {}}`), "selector"},
		"cps with a name that is none": {clusterPushSecret(`pushSecretName: A_b`), "pushSecretName"},
		"cps with a refreshTime":       {clusterPushSecret(`refreshTime: soon`), "refreshTime must be a duration"},
	}
}

func pushRules() map[string]ruleCase {
	const storeRef = "storeRef must name one of spec.secretStoreRefs"
	from := func(selector string) string {
		return pushSpec("PushSecret", "secretStoreRefs: [{name: a}], selector: {"+selector+"}")
	}
	to := func(refs string) string {
		return pushSpec("PushSecret", "secretStoreRefs: ["+refs+"], selector: {secret: {name: a}}")
	}
	return map[string]ruleCase{
		"push without spec":            {"apiVersion: external-secrets.io/v1alpha1\nkind: PushSecret\nmetadata: {name: a}", "spec is needed"},
		"push from a name":             {from(`secret: {name: a}`), ""},
		"push from labels":             {from(`secret: {selector: {matchLabels: {a: b}}}`), ""},
		"push from a generator":        {from(`generatorRef: {kind: Password, name: a}`), ""},
		"push from a cluster's one":    {from(`generatorRef: {kind: ClusterGenerator, name: a}`), ""},
		"push from no known kind":      {from(`generatorRef: {kind: Dice, name: a}`), "kind"},
		"push from nothing":            {from(``), "selector"},
		"push from no Secret":          {from(`secret: {}`), "set name or selector"},
		"push from two sources":        {from(`secret: {name: a}, generatorRef: {kind: Password, name: a}`), "selector"},
		"push without a selector":      {pushSpec("PushSecret", `secretStoreRefs: [{name: a}]`), "selector"},
		"push without stores":          {pushSpec("PushSecret", `selector: {secret: {name: a}}`), "secretStoreRefs"},
		"push to stores by label":      {to(`{labelSelector: {matchLabels: {a: b}}, kind: ClusterSecretStore}`), ""},
		"push to no store":             {to(`{kind: SecretStore}`), "set name or labelSelector"},
		"push to no known kind":        {to(`{name: a, kind: Vault}`), "kind"},
		"push with an updatePolicy":    {pushSecret(`updatePolicy: IfNotExists, deletionPolicy: Delete`), ""},
		"push with no such update":     {pushSecret(`updatePolicy: Merge`), "updatePolicy"},
		"push with no such deletion":   {pushSecret(`deletionPolicy: Retain`), "deletionPolicy"},
		"push without a remoteKey":     {pushSecret(`data: [{match: {secretKey: a, remoteRef: {}}}]`), "remoteKey"},
		"push with no such conversion": {pushSecret(`data: [{match: {remoteRef: {remoteKey: a}}, conversionStrategy: Unicode}]`), "conversionStrategy"},
		"push never again":             {pushSecret(`refreshInterval: "0"`), ""},
		"push every day":               {pushSecret(`refreshInterval: 1d`), "refreshInterval must be a duration"},
		"push with a bootstrap token":  {pushSecret(`template: {type: bootstrap.kubernetes.io/token}`), "is refused"},

		"dataTo of a name":                  {dataTo(`storeRef: {name: a}`), ""},
		"dataTo of labels":                  {dataTo(`storeRef: {labelSelector: {matchLabels: {a: b}}}`), ""},
		"dataTo of no store":                {dataTo(`match: {regexp: a}`), storeRef},
		"dataTo of a kind alone":            {dataTo(`storeRef: {kind: SecretStore}`), storeRef},
		"dataTo that bundles":               {dataTo(`storeRef: {name: a}, remoteKey: a, rewrite: []`), ""},
		"dataTo that bundles and rewrites":  {dataTo(`storeRef: {name: a}, remoteKey: a, rewrite: [{transform: {template: a}}]`), "remoteKey and rewrite exclude each other"},
		"dataTo that rewrites":              {dataTo(`storeRef: {name: a}, rewrite: [{regexp: {source: a, target: b}}, {transform: {template: a}}]`), ""},
		"dataTo that rewrites by two ways":  {dataTo(`storeRef: {name: a}, rewrite: [{regexp: {source: a, target: b}, transform: {template: a}}]`), "set exactly one of regexp and transform"},
		"dataTo that rewrites by no way":    {dataTo(`storeRef: {name: a}, rewrite: [{}]`), "set exactly one of regexp and transform"},
		"dataTo that rewrites without goal": {dataTo(`storeRef: {name: a}, rewrite: [{regexp: {source: a}}]`), "target"},
	}
}

// Which specs each kind of generator takes, alone and in a ClusterGenerator.
func generatorRules() map[string]ruleCase {
	const (
		gitlab = `name: a, auth: {token: {secretRef: {name: a}}}, `
		gcr    = `projectID: a, auth: `
	)
	out := map[string]ruleCase{
		"ClusterGenerator of two kinds":      {generator("ClusterGenerator", `kind: UUID, generator: {uuidSpec: {}, passwordSpec: {}}`), "spec.generator"},
		"ClusterGenerator of nothing":        {generator("ClusterGenerator", `kind: UUID, generator: {}`), "spec.generator"},
		"ClusterGenerator of another kind":   {generator("ClusterGenerator", `kind: UUID, generator: {passwordSpec: {}}`), "generator must have the member that kind names"},
		"ClusterGenerator of no known kind":  {generator("ClusterGenerator", `kind: Dice, generator: {passwordSpec: {}}`), "spec.kind"},
		"ClusterGenerator of a stranger":     {generator("ClusterGenerator", `kind: UUID, generator: {beyondtrustWorkloadCredentialsDynamicSecretSpec: {}}`), "generator must have the member that kind names"},
		"ClusterGenerator without spec":      {"apiVersion: generators.external-secrets.io/v1alpha1\nkind: ClusterGenerator\nmetadata: {name: a}", "spec is needed"},
		"GeneratorState without what it is":  {generator("GeneratorState", `state: {}`), "spec.resource"},
		"GeneratorState without what it has": {generator("GeneratorState", `resource: {}`), "spec.state"},
	}
	for name, test := range map[string]struct{ kind, member, spec, message string }{
		"acr":                             {"ACRAccessToken", "acrAccessTokenSpec", `registry: a, auth: {managedIdentity: {}}`, ""},
		"acr in no known cloud":           {"ACRAccessToken", "acrAccessTokenSpec", `registry: a, auth: {}, environmentType: Cloud`, "environmentType"},
		"acr without a registry":          {"ACRAccessToken", "acrAccessTokenSpec", `auth: {}`, "registry"},
		"acr without a secret":            {"ACRAccessToken", "acrAccessTokenSpec", `registry: a, auth: {servicePrincipal: {}}`, "secretRef"},
		"cloudsmith":                      {"CloudsmithAccessToken", "cloudsmithAccessTokenSpec", `orgSlug: a, serviceSlug: b, serviceAccountRef: {name: a}`, ""},
		"cloudsmith without a service":    {"CloudsmithAccessToken", "cloudsmithAccessTokenSpec", `orgSlug: a, serviceAccountRef: {name: a}`, "serviceSlug"},
		"ecr":                             {"ECRAuthorizationToken", "ecrAuthorizationTokenSpec", `region: a, scope: public`, ""},
		"ecr without a region":            {"ECRAuthorizationToken", "ecrAuthorizationTokenSpec", `role: a`, "region"},
		"fake":                            {"Fake", "fakeSpec", `data: {a: b}`, ""},
		"gcr":                             {"GCRAccessToken", "gcrAccessTokenSpec", gcr + `{workloadIdentityFederation: {credConfig: {name: a, key: b}, gcpServiceAccountEmail: a@b.iam.gserviceaccount.com}}`, ""},
		"gcr without a cluster":           {"GCRAccessToken", "gcrAccessTokenSpec", gcr + `{workloadIdentity: {serviceAccountRef: {name: a}, clusterLocation: a}}`, "clusterName"},
		"gcr as a person":                 {"GCRAccessToken", "gcrAccessTokenSpec", gcr + `{workloadIdentityFederation: {gcpServiceAccountEmail: a@example.com}}`, "gcpServiceAccountEmail"},
		"gcr with half a ConfigMap":       {"GCRAccessToken", "gcrAccessTokenSpec", gcr + `{workloadIdentityFederation: {credConfig: {name: a}}}`, "credConfig.key"},
		"gcr in no region of AWS":         {"GCRAccessToken", "gcrAccessTokenSpec", gcr + `{workloadIdentityFederation: {awsSecurityCredentials: {region: A, awsCredentialsSecretRef: {name: a}}}}`, "region"},
		"github":                          {"GithubAccessToken", "githubAccessTokenSpec", `appID: "1", installID: "2", auth: {privateKey: {secretRef: {name: a}}}`, ""},
		"github without a key":            {"GithubAccessToken", "githubAccessTokenSpec", `appID: "1", installID: "2", auth: {}`, "privateKey"},
		"gitlab for a project":            {"GitlabDeployToken", "gitlabDeployTokenSpec", gitlab + `scopes: [read_registry], projectID: a`, ""},
		"gitlab for a group":              {"GitlabDeployToken", "gitlabDeployTokenSpec", gitlab + `scopes: [read_registry, write_virtual_registry], groupID: a`, ""},
		"gitlab for nothing":              {"GitlabDeployToken", "gitlabDeployTokenSpec", gitlab + `scopes: [read_registry]`, "set exactly one of projectID and groupID"},
		"gitlab for both":                 {"GitlabDeployToken", "gitlabDeployTokenSpec", gitlab + `scopes: [read_registry], projectID: a, groupID: b`, "set exactly one of projectID and groupID"},
		"gitlab for an empty project":     {"GitlabDeployToken", "gitlabDeployTokenSpec", gitlab + `scopes: [read_registry], projectID: ""`, "projectID"},
		"gitlab that may do nothing":      {"GitlabDeployToken", "gitlabDeployTokenSpec", gitlab + `scopes: [], projectID: a`, "scopes"},
		"gitlab that may do what is none": {"GitlabDeployToken", "gitlabDeployTokenSpec", gitlab + `scopes: [api], projectID: a`, "scopes"},
		"grafana":                         {"Grafana", "grafanaSpec", `url: a, auth: {token: {name: a, key: b}}, serviceAccount: {name: a, role: Viewer, secondsToLive: 1}`, ""},
		"grafana that ends at once":       {"Grafana", "grafanaSpec", `url: a, auth: {}, serviceAccount: {name: a, role: Viewer, secondsToLive: 0}`, "secondsToLive"},
		"grafana without a password":      {"Grafana", "grafanaSpec", `url: a, auth: {basic: {username: a}}, serviceAccount: {name: a, role: Viewer}`, "password"},
		"mfa":                             {"MFA", "mfaSpec", `secret: {name: a, key: b}`, ""},
		"mfa without a seed":              {"MFA", "mfaSpec", `length: 6`, "secret"},
		"password":                        {"Password", "passwordSpec", `length: 40, symbols: 0, encoding: base64url, secretKeys: [a, b]`, ""},
		"password of no known encoding":   {"Password", "passwordSpec", `encoding: rot13`, "encoding"},
		"password into no key":            {"Password", "passwordSpec", `secretKeys: []`, "secretKeys"},
		"quay":                            {"QuayAccessToken", "quayAccessTokenSpec", `robotAccount: a+b, serviceAccountRef: {name: a}`, ""},
		"quay without an account":         {"QuayAccessToken", "quayAccessTokenSpec", `serviceAccountRef: {name: a}`, "robotAccount"},
		"sshKey":                          {"SSHKey", "sshKeySpec", `keyType: ecdsa, keySize: 256`, ""},
		"sshKey of no known type":         {"SSHKey", "sshKeySpec", `keyType: dsa`, "keyType"},
		"sshKey that is short":            {"SSHKey", "sshKeySpec", `keySize: 255`, "keySize"},
		"sshKey that is long":             {"SSHKey", "sshKeySpec", `keySize: 8193`, "keySize"},
		"sts":                             {"STSSessionToken", "stsSessionTokenSpec", `region: a, requestParameters: {sessionDuration: 900}`, ""},
		"sts without a region":            {"STSSessionToken", "stsSessionTokenSpec", `role: a`, "region"},
		"uuid":                            {"UUID", "uuidSpec", ``, ""},
		"vault lease":                     {"VaultDynamicSecret", "vaultDynamicSecretSpec", `path: a, provider: {server: a}`, ""},
		"vault lease of nothing":          {"VaultDynamicSecret", "vaultDynamicSecretSpec", `provider: {server: a}`, "path"},
		"vault lease of no known result":  {"VaultDynamicSecret", "vaultDynamicSecretSpec", `path: a, provider: {server: a}, resultType: All`, "resultType"},
		"vault lease without a role":      {"VaultDynamicSecret", "vaultDynamicSecretSpec", `path: a, provider: {server: a, auth: {appRole: {secretRef: {}}}}`, "set roleId or roleRef"},
		"webhook values":                  {"Webhook", "webhookSpec", `url: a, result: {}, timeout: 10s`, ""},
		"webhook values of no time":       {"Webhook", "webhookSpec", `url: a, result: {}, timeout: soon`, "timeout must be a duration"},
		"webhook values without a result": {"Webhook", "webhookSpec", `url: a`, "result"},
		"webhook values by no login":      {"Webhook", "webhookSpec", `url: a, result: {}, auth: {}`, "auth"},
	} {
		out[name] = ruleCase{generator(test.kind, test.spec), test.message}
		out[name+", for the cluster"] = ruleCase{generator("ClusterGenerator", "kind: "+test.kind+", generator: {"+test.member+": {"+test.spec+"}}"), test.message}
	}
	return out
}
