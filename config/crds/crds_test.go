package crds_test

import (
	"encoding/json"
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"

	"github.com/keyferry/keyferry/config/crds"
)

func TestDefinitionsAreThoseOfTheGroup(t *testing.T) {
	got := map[string]string{}
	for _, crd := range all(t) {
		got[crd.Spec.Names.Kind] = crd.Labels["external-secrets.io/component"]
	}
	want := map[string]string{"ClusterSecretStore": "controller", "ExternalSecret": "controller", "SecretStore": "controller"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("kinds and their label (-want +got):\n%s", diff)
	}
}

// What kubectl shows and takes is what dashboards and habits rest on.
func TestNamesAndColumnsAreThoseOfESO(t *testing.T) {
	type face struct {
		ShortNames, Categories, Columns []string
		Scope                           apiextensionsv1.ResourceScope
	}
	store := []string{"AGE", "Status", "Capabilities", "Ready"}
	secret := []string{"StoreType", "Store", "Refresh Interval", "Status", "Ready", "Last Sync"}
	want := map[string]face{
		"clustersecretstores": {[]string{"css"}, []string{"external-secrets"}, store, "Cluster"},
		"secretstores":        {[]string{"ss"}, []string{"external-secrets"}, store, "Namespaced"},
		"externalsecrets":     {[]string{"es"}, []string{"external-secrets"}, secret, "Namespaced"},
	}
	got := map[string]face{}
	for _, crd := range all(t) {
		names := crd.Spec.Names
		f := face{ShortNames: names.ShortNames, Categories: names.Categories, Scope: crd.Spec.Scope}
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

func TestBothVersionsHaveOneSchema(t *testing.T) {
	type version struct{ Served, Storage, Deprecated, Warns, Status bool }
	want := map[string]version{
		"v1":      {Served: true, Storage: true, Status: true},
		"v1beta1": {Served: true, Deprecated: true, Warns: true, Status: true},
	}
	for _, crd := range all(t) {
		got := map[string]version{}
		for _, v := range crd.Spec.Versions {
			got[v.Name] = version{v.Served, v.Storage, v.Deprecated, v.DeprecationWarning != nil, v.Subresources.Status != nil}
			if diff := cmp.Diff(crd.Spec.Versions[0].Schema, v.Schema); diff != "" {
				t.Errorf("%s: the schemas of v1 and %s differ:\n%s", crd.Name, v.Name, diff)
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
	stores := map[string]string{
		".spec.provider.kubernetes.remoteNamespace":      `"default"`,
		".spec.provider.kubernetes.server.url":           `"kubernetes.default"`,
		".spec.provider.openBao.auth.appRole.path":       `"approle"`,
		".spec.provider.openBao.auth.userPass.path":      `"userpass"`,
		".spec.provider.openBao.version":                 `"v2"`,
		".spec.provider.vault.auth.appRole.path":         `"approle"`,
		".spec.provider.vault.auth.cert.path":            `"cert"`,
		".spec.provider.vault.auth.gcp.path":             `"gcp"`,
		".spec.provider.vault.auth.jwt.path":             `"jwt"`,
		".spec.provider.vault.auth.kubernetes.mountPath": `"kubernetes"`,
		".spec.provider.vault.auth.ldap.path":            `"ldap"`,
		".spec.provider.vault.auth.userPass.path":        `"userpass"`,
		".spec.provider.vault.version":                   `"v2"`,
	}
	want := map[string]map[string]string{
		"SecretStore":        stores,
		"ClusterSecretStore": stores,
		"ExternalSecret": {
			".spec.data[].sourceRef.generatorRef.apiVersion":                    `"generators.external-secrets.io/v1alpha1"`,
			".spec.dataFrom[].sourceRef.generatorRef.apiVersion":                `"generators.external-secrets.io/v1alpha1"`,
			".spec.dataFrom[].rewrite[].merge.conflictPolicy":                   `"Error"`,
			".spec.dataFrom[].rewrite[].merge.into":                             `""`,
			".spec.dataFrom[].rewrite[].merge.priorityPolicy":                   `"Strict"`,
			".spec.dataFrom[].rewrite[].merge.strategy":                         `"Extract"`,
			".spec.refreshInterval":                                             `"1h0m0s"`,
			".spec.target":                                                      `{"creationPolicy":"Owner","deletionPolicy":"Retain"}`,
			".spec.target.creationPolicy":                                       `"Owner"`,
			".spec.target.deletionPolicy":                                       `"Retain"`,
			".spec.target.template.engineVersion":                               `"v2"`,
			".spec.target.template.mergePolicy":                                 `"Replace"`,
			".spec.target.template.templateFrom[].configMap.items[].templateAs": `"Values"`,
			".spec.target.template.templateFrom[].secret.items[].templateAs":    `"Values"`,
			".spec.target.template.templateFrom[].target":                       `"Data"`,
			".status.binding.name":                                              `""`,
		},
	}
	for _, crd := range all(t) {
		got := map[string]string{}
		defaults(got, "", *crd.Spec.Versions[0].Schema.OpenAPIV3Schema)
		if diff := cmp.Diff(want[crd.Spec.Names.Kind], got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", crd.Name, diff)
		}
	}
}

func defaults(out map[string]string, path string, s apiextensionsv1.JSONSchemaProps) {
	if s.Default != nil {
		out[path] = string(s.Default.Raw)
	}
	if s.Items != nil {
		defaults(out, path+"[]", *s.Items.Schema)
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
