package cli_test

import (
	"path/filepath"
	"strings"
	"testing"
)

// webhookStore is a manifest of a store of the test backend, "s", with these fields.
func webhookStore(kind, namespace, fields string) string {
	return "apiVersion: external-secrets.io/v1\nkind: " + kind + "\nmetadata: {name: s, namespace: " + namespace + "}\nspec:\n" +
		"  provider:\n    webhook:\n      url: http://none.invalid\n" + fields + "---\n"
}

const victim = `apiVersion: v1
kind: Secret
metadata: {name: v, namespace: victim}
stringData: {k: CANARY-victim}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: v, namespace: victim}
data: {k: CANARY-victim}
---
`

func TestANamespacedStoreReachesNoOtherNamespace(t *testing.T) {
	tests := map[string]string{
		"by secretRef.namespace":      webhookStore("SecretStore", "default", "      secrets: [{name: a, secretRef: {name: v, namespace: victim, key: k}}]\n") + external("x", data("a=a")),
		"by secretRef without one":    webhookStore("SecretStore", "default", "      secrets: [{name: a, secretRef: {name: v, key: k}}]\n") + external("x", data("a=a")),
		"by a name that is a path":    webhookStore("SecretStore", "default", "      secrets: [{name: a, secretRef: {name: ../victim/v, key: k}}]\n") + external("x", data("a=a")),
		"by caProvider of a Secret":   webhookStore("SecretStore", "default", "      caProvider: {type: Secret, name: v, namespace: victim, key: k}\n") + external("x", data("a=ca")),
		"by caProvider of ConfigMap":  webhookStore("SecretStore", "default", "      caProvider: {type: ConfigMap, name: v, namespace: victim, key: k}\n") + external("x", data("a=ca")),
		"by a token":                  webhookStore("SecretStore", "default", "      method: TOKEN\n") + external("x", data("a=a")),
		"by a store of the other":     webhookStore("SecretStore", "victim", "      secrets: [{name: a, secretRef: {name: v, key: k}}]\n") + external("x", data("a=a")),
		"by templateFrom of a Secret": fakeStore("a", "1") + external("x", data("a=a")+"  target: {template: {templateFrom: [{secret: {name: v, items: [{key: k}]}}]}}"),
		"by templateFrom of ConfigMap": fakeStore("a", "1") +
			external("x", data("a=a")+"  target: {template: {templateFrom: [{configMap: {name: v, items: [{key: k}]}}]}}"),
		"by a cluster store that reads as its consumer": strings.Replace(
			webhookStore("ClusterSecretStore", "''", "      secrets: [{name: a, secretRef: {name: v, key: k}}]\n")+external("x", data("a=a")),
			"secretStoreRef: {name: s}", "secretStoreRef: {name: s, kind: ClusterSecretStore}", 1),
		"by a cluster store that does not admit it": strings.NewReplacer(
			"secretStoreRef: {name: s}", "secretStoreRef: {name: s, kind: ClusterSecretStore}",
			"spec:\n  provider:", "spec:\n  conditions: [{namespaces: [victim]}, {namespaceRegexes: [vic]}, {namespaceSelector: {matchLabels: {a: b}}}]\n  provider:",
		).Replace(webhookStore("ClusterSecretStore", "''", "      secrets: [{name: a, secretRef: {name: v, namespace: victim, key: k}}]\n") + external("x", data("a=a"))),
		"by the target of a Merge": fakeStore("a", "1") + external("x", data("a=a")+"  target: {name: v, creationPolicy: Merge}"),
	}
	for name, manifests := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			got := keyferry(t, victim+manifests, "sync", "-f", "-", "--out", dir, "--format", "files")
			if strings.Contains(got.stdout+got.stderr, "CANARY") {
				t.Errorf("a value was printed: %+v", got)
			}
			if got.code == 0 && name != "by the target of a Merge" {
				t.Errorf("it was not refused: %+v", got)
			}
			for _, f := range files(t, dir) {
				if strings.Contains(get(t, filepath.Join(dir, f)), "CANARY") {
					t.Errorf("%s holds what is not its namespace's", f)
				}
			}
		})
	}
}

func TestClusterStores(t *testing.T) {
	tests := map[string]string{
		"a namespace of its manifest": "name: v, namespace: victim, key: k",
	}
	for name, ref := range tests {
		t.Run(name, func(t *testing.T) {
			manifests := strings.NewReplacer(
				"secretStoreRef: {name: s}", "secretStoreRef: {name: s, kind: ClusterSecretStore}",
				"spec:\n  provider:", "spec:\n  conditions: [{namespaceSelector: {matchLabels: {team: a}}}]\n  provider:",
			).Replace(webhookStore("ClusterSecretStore", "''", "      secrets: [{name: a, secretRef: {"+ref+"}}]\n") + external("x", data("a=a")))
			admitted := "apiVersion: v1\nkind: Namespace\nmetadata: {name: default, labels: {team: a}}\n---\n"
			if got := keyferry(t, victim+admitted+manifests, "sync", "-f", "-", "--stdout", "--format", "dotenv"); got.code != 0 || got.stdout != "a=CANARY-victim\n" {
				t.Errorf("admitted by label: %+v", got)
			}
			if got := keyferry(t, victim+manifests, "sync", "-f", "-", "--stdout"); got.code != 5 {
				t.Errorf("not admitted: %+v", got)
			}
		})
	}
	t.Run("credentials of each consumer", func(t *testing.T) {
		manifests := webhookStore("ClusterSecretStore", "''", "      secrets: [{name: a, secretRef: {name: v, key: k}}]\n")
		for _, ns := range []string{"one", "two"} {
			manifests += "apiVersion: v1\nkind: Secret\nmetadata: {name: v, namespace: " + ns + "}\nstringData: {k: of-" + ns + "}\n---\n"
			manifests += strings.NewReplacer("metadata: {", "metadata: {namespace: "+ns+", ", "{name: s}", "{name: s, kind: ClusterSecretStore}").Replace(external("x", data("a=a")))
		}
		dir := t.TempDir()
		if got := keyferry(t, manifests, "sync", "-f", "-", "--out", dir, "--format", "files"); got.code != 0 {
			t.Fatalf("%+v", got)
		}
		for _, ns := range []string{"one", "two"} {
			if got := get(t, filepath.Join(dir, ns, "x", "a")); got != "of-"+ns {
				t.Errorf("%s got %q", ns, got)
			}
		}
	})
}

func TestNoFailurePrintsAValue(t *testing.T) {
	const mark = "CANARY"
	opened := "      secrets: [{name: a, secretRef: {name: v, key: k}}]\n"
	held := "apiVersion: v1\nkind: Secret\nmetadata: {name: v}\nstringData: {k: " + mark + "}\n---\n"
	object := `{"` + "k" + `": "` + mark + `", "n": 1}`
	tests := map[string]string{
		"YAML with a value for an alias":  "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\nstringData: {k: *" + mark + "}\n",
		"YAML with a value for a tag":     "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\nstringData: {k: !" + mark + " x, y}\n",
		"YAML that does not end":          "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\nstringData: {k: '" + mark + "\n",
		"YAML with a value for a map":     "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\nstringData: " + mark + "\n",
		"YAML with a map for a key":       "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\nstringData: {{" + mark + ": x}: y}\n",
		"YAML that is a value":            mark,
		"data that is not base64":         "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\ndata: {k: " + mark + "!}\n",
		"a list for a text":               "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\nstringData: {k: [" + mark + "]}\n",
		"a duration":                      external("x", "  refreshInterval: "+mark+"\n"+data("a=a")),
		"a fake value of the wrong type":  fakeStore("a", "1") + strings.Replace(fakeStore("b", mark), `"`+mark+`"`, "{a: "+mark+"}", 1),
		"not an object":                   fakeStore("a", mark) + external("x", "  dataFrom: [{extract: {key: a}}]"),
		"a property that is not there":    fakeStore("a", object) + external("x", "  data: [{secretKey: a, remoteRef: {key: a, property: z}}]"),
		"not decodable":                   fakeStore("a", mark+"!") + external("x", "  data: [{secretKey: a, remoteRef: {key: a, decodingStrategy: Base64}}]"),
		"a template that fails":           fakeStore("a", mark) + external("x", data("a=a")+"  target: {template: {data: {k: '{{ .a | fromJson }}'}}}"),
		"a template that says so":         fakeStore("a", mark) + external("x", data("a=a")+"  target: {template: {data: {k: '{{ fail .a }}'}}}"),
		"a template of keys and values":   fakeStore("a", mark) + external("x", data("a=a")+"  target: {template: {templateFrom: [{literal: '{{ .a }}'}]}}"),
		"a key made of a value":           fakeStore("a", object) + external("x", "  dataFrom: [{extract: {key: a}}]\n  target: {template: {data: {k: '{{ .z }}'}}}"),
		"a label made of a value":         fakeStore("a", mark+" !") + external("x", data("a=a")+"  target: {template: {metadata: {labels: {l: '{{ .a }}'}}}}"),
		"an immutable target":             held + fakeStore("k", mark+"2") + external("v", data("k=k")),
		"a name of no variable":           fakeStore("a", mark) + external("x", data("a.b=a")),
		"an object that is owned":         fakeStore("a", mark) + external("x", data("a=a")+"  target: {name: t}") + external("y", data("a=a")+"  target: {name: t}"),
		"another key of the credential":   held + webhookStore("SecretStore", "default", "      secrets: [{name: a, secretRef: {name: v, key: z}}]\n") + external("x", data("a=a")),
		"a credential that is not there":  webhookStore("SecretStore", "default", opened) + external("x", data("a=a")),
		"a generic target that is binary": fakeStore("a", "Q0FOQVJZ/w==") + external("x", "  data: [{secretKey: a, remoteRef: {key: a, decodingStrategy: Base64}}]\n  target: {manifest: {apiVersion: v1, kind: ConfigMap}}"),
	}
	for _, kind := range []string{"NotFound", "Unauthenticated", "Denied", "Invalid", "Conflict", "RateLimited", "Unavailable", "Internal"} {
		tests["a store that fails: "+kind] = held + webhookStore("SecretStore", "default", opened) + external("x", data("b=a", "a=fail/"+kind))
	}
	for name, manifests := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for _, args := range [][]string{{"--out", dir, "--format", "dotenv"}, {"--out", dir + "/s"}, {"--out", dir + "/s", "--dry-run"}, {"--out", dir + "/f", "--format", "files", "--quiet"}} {
				got := keyferry(t, manifests, append([]string{"sync", "-f", "-"}, args...)...)
				if strings.Contains(got.stdout+got.stderr, mark) {
					t.Errorf("%v: a value was printed: %+v", args, got)
				}
			}
			index, err := filepath.Glob(dir + "/*/.keyferry/*")
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range index {
				if strings.Contains(get(t, f), mark) {
					t.Errorf("%s holds a value", f)
				}
			}
		})
	}
}
