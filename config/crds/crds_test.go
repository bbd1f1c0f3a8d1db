package crds_test

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"

	"github.com/keyferry/keyferry/api/generators/v1alpha1"
	"github.com/keyferry/keyferry/config/crds"
)

// What kubectl shows and takes is what dashboards and habits rest on.
func TestNamesAndColumnsAreThoseOfESO(t *testing.T) {
	type face struct {
		Group, Label                    string
		ShortNames, Categories, Columns []string
		Scope                           apiextensionsv1.ResourceScope
	}
	es, gen := []string{"external-secrets"}, []string{"external-secrets", "external-secrets-generators"}
	const esGroup, genGroup = "external-secrets.io", "generators.external-secrets.io"
	store := []string{"AGE", "Status", "Capabilities", "Ready"}
	want := map[string]face{
		"clustersecretstores":    {esGroup, "controller", []string{"css"}, es, store, "Cluster"},
		"secretstores":           {esGroup, "controller", []string{"ss"}, es, store, "Namespaced"},
		"externalsecrets":        {esGroup, "controller", []string{"es"}, es, []string{"StoreType", "Store", "Refresh Interval", "Status", "Ready", "Last Sync"}, "Namespaced"},
		"clusterexternalsecrets": {esGroup, "controller", []string{"ces"}, es, []string{"Store", "Refresh Interval", "Ready"}, "Cluster"},
		"pushsecrets":            {esGroup, "controller", []string{"ps"}, es, []string{"AGE", "Status", "Last Sync"}, "Namespaced"},
		"clusterpushsecrets":     {esGroup, "controller", nil, es, []string{"AGE", "Status"}, "Cluster"},
		"clustergenerators":      {genGroup, "controller", nil, gen, nil, "Cluster"},
		"generatorstates":        {genGroup, "controller", []string{"gs"}, gen, []string{"GC Deadline", "Age"}, "Namespaced"},
	}
	for _, kind := range v1alpha1.Kinds() {
		want[strings.ToLower(kind)+"s"] = face{genGroup, "controller", nil, gen, nil, "Namespaced"}
	}
	got := map[string]face{}
	for _, crd := range all(t) {
		names := crd.Spec.Names
		f := face{crd.Spec.Group, crd.Labels["external-secrets.io/component"], names.ShortNames, names.Categories, nil, crd.Spec.Scope}
		for _, c := range crd.Spec.Versions[0].AdditionalPrinterColumns {
			f.Columns = append(f.Columns, c.Name)
		}
		got[names.Plural] = f
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("names and columns (-want +got):\n%s", diff)
	}
}

// kubectl apply puts the whole definition into an annotation, and all annotations
// of an object together may take 256 KiB.
func TestDefinitionsFitIntoAnAnnotation(t *testing.T) {
	for _, crd := range all(t) {
		b, err := json.Marshal(crd)
		if err != nil {
			t.Fatal(err)
		}
		if len(b) > 250<<10 {
			t.Errorf("%s takes %d bytes: kubectl apply would fail", crd.Name, len(b))
		}
	}
}

func TestVersions(t *testing.T) {
	type version struct{ Served, Storage, Deprecated, Warns, Status bool }
	stable := map[string]version{
		"v1":      {Served: true, Storage: true, Status: true},
		"v1beta1": {Served: true, Deprecated: true, Warns: true, Status: true},
	}
	alpha := map[string]version{"v1alpha1": {Served: true, Storage: true, Status: true}}
	for _, crd := range all(t) {
		want := alpha
		if slices.Contains([]string{"ExternalSecret", "ClusterExternalSecret", "SecretStore", "ClusterSecretStore"}, crd.Spec.Names.Kind) {
			want = stable
		}
		got := map[string]version{}
		for _, v := range crd.Spec.Versions {
			got[v.Name] = version{v.Served, v.Storage, v.Deprecated, v.DeprecationWarning != nil, v.Subresources.Status != nil}
			if diff := cmp.Diff(crd.Spec.Versions[0].Schema, v.Schema); diff != "" {
				t.Errorf("%s: the schemas of %s and %s differ:\n%s", crd.Name, crd.Spec.Versions[0].Name, v.Name, diff)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: versions (-want +got):\n%s", crd.Name, diff)
		}
	}
}

// A default is written into every object that is stored, where a GitOps tool sees
// it as a difference: these are all that External Secrets Operator has.
func TestDefaultsAreThoseOfESO(t *testing.T) {
	want := wantedDefaults()
	for _, crd := range all(t) {
		got := map[string]string{}
		defaults(got, "", *crd.Spec.Versions[0].Schema.OpenAPIV3Schema)
		if diff := cmp.Diff(want[crd.Spec.Names.Kind], got, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", crd.Name, diff)
		}
	}
}

// wantedDefaults are by kind and by path.
func wantedDefaults() map[string]map[string]string {
	vault := map[string]string{
		".auth.appRole.path":         `"approle"`,
		".auth.cert.path":            `"cert"`,
		".auth.gcp.path":             `"gcp"`,
		".auth.jwt.path":             `"jwt"`,
		".auth.kubernetes.mountPath": `"kubernetes"`,
		".auth.ldap.path":            `"ldap"`,
		".auth.userPass.path":        `"userpass"`,
		".version":                   `"v2"`,
	}
	template := map[string]string{
		".engineVersion": `"v2"`,
		".mergePolicy":   `"Replace"`,
		".templateFrom[].configMap.items[].templateAs": `"Values"`,
		".templateFrom[].secret.items[].templateAs":    `"Values"`,
		".templateFrom[].target":                       `"Data"`,
	}
	stores := below(".spec.provider.vault", vault)
	maps.Copy(stores, map[string]string{
		".spec.provider.aws.sessionTagsPolicy":      `"None"`,
		".spec.provider.kubernetes.remoteNamespace": `"default"`,
		".spec.provider.kubernetes.server.url":      `"kubernetes.default"`,
		".spec.provider.openBao.auth.appRole.path":  `"approle"`,
		".spec.provider.openBao.auth.userPass.path": `"userpass"`,
		".spec.provider.openBao.version":            `"v2"`,
	})
	externalSecret := below(".target.template", template)
	maps.Copy(externalSecret, map[string]string{
		".data[].sourceRef.generatorRef.apiVersion":     `"generators.external-secrets.io/v1alpha1"`,
		".dataFrom[].sourceRef.generatorRef.apiVersion": `"generators.external-secrets.io/v1alpha1"`,
		".dataFrom[].rewrite[].merge.conflictPolicy":    `"Error"`,
		".dataFrom[].rewrite[].merge.into":              `""`,
		".dataFrom[].rewrite[].merge.priorityPolicy":    `"Strict"`,
		".dataFrom[].rewrite[].merge.strategy":          `"Extract"`,
		".refreshInterval":                              `"1h0m0s"`,
		".target":                                       `{"creationPolicy":"Owner","deletionPolicy":"Retain"}`,
		".target.creationPolicy":                        `"Owner"`,
		".target.deletionPolicy":                        `"Retain"`,
	})
	pushSecret := below(".template", template)
	maps.Copy(pushSecret, map[string]string{
		".data[].conversionStrategy":        `"None"`,
		".dataTo[].conversionStrategy":      `"None"`,
		".dataTo[].storeRef.kind":           `"SecretStore"`,
		".deletionPolicy":                   `"None"`,
		".refreshInterval":                  `"1h0m0s"`,
		".secretStoreRefs[].kind":           `"SecretStore"`,
		".selector.generatorRef.apiVersion": `"generators.external-secrets.io/v1alpha1"`,
		".updatePolicy":                     `"Replace"`,
	})
	out := generatorDefaults(vault)
	out["SecretStore"], out["ClusterSecretStore"] = stores, stores
	out["ExternalSecret"] = below(".spec", externalSecret)
	out["ExternalSecret"][".status.binding.name"] = `""`
	out["ClusterExternalSecret"] = below(".spec.externalSecretSpec", externalSecret)
	out["PushSecret"] = below(".spec", pushSecret)
	out["PushSecret"][".status.syncedPushSecrets{}{}.conversionStrategy"] = `"None"`
	out["ClusterPushSecret"] = below(".spec.pushSecretSpec", pushSecret)
	return out
}

func generatorDefaults(vault map[string]string) map[string]map[string]string {
	dynamic := below(".provider", vault)
	maps.Copy(dynamic, map[string]string{".allowEmptyResponse": `false`, ".resultType": `"Data"`})
	specs := map[string]map[string]string{
		"ACRAccessToken":     {".environmentType": `"PublicCloud"`},
		"Password":           {".allowRepeat": `false`, ".encoding": `"raw"`, ".length": `24`, ".noUpper": `false`},
		"SSHKey":             {".keyType": `"rsa"`},
		"VaultDynamicSecret": dynamic,
	}
	out := map[string]map[string]string{"ClusterGenerator": {}}
	for kind, member := range map[string]string{
		"ACRAccessToken": "acrAccessTokenSpec", "Password": "passwordSpec", "SSHKey": "sshKeySpec", "VaultDynamicSecret": "vaultDynamicSecretSpec",
	} {
		out[kind] = below(".spec", specs[kind])
		maps.Copy(out["ClusterGenerator"], below(".spec.generator."+member, specs[kind]))
	}
	return out
}

// below puts a path before each of the paths.
func below(path string, paths map[string]string) map[string]string {
	out := map[string]string{}
	for at, value := range paths {
		out[path+at] = value
	}
	return out
}

func defaults(out map[string]string, path string, s apiextensionsv1.JSONSchemaProps) {
	if s.Default != nil {
		out[path] = string(s.Default.Raw)
	}
	if s.Items != nil {
		defaults(out, path+"[]", *s.Items.Schema)
	}
	if s.AdditionalProperties != nil {
		defaults(out, path+"{}", *s.AdditionalProperties.Schema)
	}
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		defaults(out, path+"."+name, s.Properties[name])
	}
}

func TestAllReturnsCopies(t *testing.T) {
	all(t)[0].Name = "changed"
	if all(t)[0].Name == "changed" {
		t.Error("a caller changed what the next one gets")
	}
}

func all(t *testing.T) []*apiextensionsv1.CustomResourceDefinition {
	t.Helper()
	definitions, err := crds.All()
	if err != nil {
		t.Fatal(err)
	}
	return definitions
}
