package docs_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/keyferry/keyferry/config/crds"
	"github.com/keyferry/keyferry/internal/testenv"
)

// sample is one manifest and where it is.
type sample struct {
	where  string
	object map[string]any
}

// samples returns the manifests of all pages and examples.
func samples(t *testing.T) []sample {
	t.Helper()
	fence := regexp.MustCompile("(?ms)^```yaml\n(.*?)^```")
	var out []sample
	for _, root := range []string{".", "../examples", "../README.md"} {
		err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
			ext := filepath.Ext(path)
			if err != nil || ext != ".md" && ext != ".yaml" {
				return err
			}
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			if ext == ".yaml" {
				out = append(out, documents(t, path, b)...)
				return nil
			}
			for _, m := range fence.FindAllSubmatchIndex(b, -1) {
				where := fmt.Sprintf("%s:%d", path, 1+bytes.Count(b[:m[2]], []byte("\n")))
				out = append(out, documents(t, where, b[m[2]:m[3]])...)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return out
}

func documents(t *testing.T, where string, b []byte) []sample {
	t.Helper()
	var out []sample
	for reader := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(b))); ; {
		doc, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return out
		}
		s := sample{where: where}
		if err == nil {
			err = yaml.Unmarshal(doc, &s.object)
		}
		if err != nil {
			t.Fatalf("%s: %v", where, err)
		}
		out = append(out, s.completed())
	}
}

// whole makes an object of a part of a spec: of a PushSecret if a field says so, else of
// an ExternalSecret.
func whole(spec map[string]any) map[string]any {
	pushes := slices.ContainsFunc([]string{"secretStoreRefs", "selector", "dataTo", "template", "updatePolicy", "deletionPolicy"}, func(field string) bool {
		return spec[field] != nil
	})
	version, kind, all := "v1", "ExternalSecret", map[string]any{
		"secretStoreRef": map[string]any{"name": "sample"},
		"dataFrom":       []any{map[string]any{"extract": map[string]any{"key": "sample"}}},
	}
	if pushes {
		version, kind, all = "v1alpha1", "PushSecret", map[string]any{
			"secretStoreRefs": []any{map[string]any{"name": "sample"}},
			"selector":        map[string]any{"secret": map[string]any{"name": "sample"}},
		}
	}
	maps.Copy(all, spec)
	return map[string]any{
		"apiVersion": "external-secrets.io/" + version, "kind": kind, "metadata": map[string]any{"name": "sample"}, "spec": all,
	}
}

// login makes a store of the page's provider that logs in as a sample shows.
func login(page string, auth any) map[string]any {
	name, spec := page, map[string]any{"server": "https://store.example.com", "auth": auth}
	switch page {
	case "openbao":
		name = "openBao"
	case "aws":
		spec = map[string]any{"service": "SecretsManager", "region": "eu-central-1", "auth": auth}
	}
	return map[string]any{
		"apiVersion": "external-secrets.io/v1", "kind": "SecretStore", "metadata": map[string]any{"name": "sample"},
		"spec": map[string]any{"provider": map[string]any{name: spec}},
	}
}

// completed makes an object of a sample that shows a part of one: the spec of an
// ExternalSecret or a PushSecret, or how a provider's store logs in.
func (s sample) completed() sample {
	if s.object["kind"] != nil {
		return s
	}
	if auth, ok := s.object["auth"]; ok {
		s.object = login(strings.TrimSuffix(filepath.Base(s.where[:strings.LastIndex(s.where, ":")]), ".md"), auth)
		return s
	}
	spec, ok := s.object["spec"].(map[string]any)
	if !ok {
		return s
	}
	s.object = whole(spec)
	return s
}

func TestSamplesAreTaken(t *testing.T) {
	plane := testenv.Cluster(t)
	definitions, err := crds.All()
	if err != nil {
		t.Fatal(err)
	}
	cfg := plane.Config()
	cfg.WarningHandler = rest.NoWarnings{}
	if err := testenv.InstallCRDs(t.Context(), cfg, definitions); err != nil {
		t.Fatal(err)
	}
	plain, err := client.New(cfg, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	c := client.WithFieldValidation(plain, metav1.FieldValidationStrict)
	namespace := plane.Namespace(t)
	list := samples(t)
	if len(list) < 20 {
		t.Fatalf("%d samples were found", len(list))
	}
	for _, s := range list {
		u := &unstructured.Unstructured{Object: s.object}
		namespaced, err := c.IsObjectNamespaced(u)
		if err != nil {
			t.Errorf("%s: %v", s.where, err)
			continue
		}
		if namespaced {
			u.SetNamespace(namespace)
		}
		if err := c.Create(t.Context(), u, client.DryRunAll); err != nil {
			t.Errorf("%s: %v", s.where, err)
		}
	}
}

// TestSamplesThatAreWrongAreRefused shows that the test above can fail.
func TestSamplesThatAreWrongAreRefused(t *testing.T) {
	for _, text := range []string{
		"spec:\n  targt: {}\n",
		"spec:\n  updatePolicy: Sometimes\n",
		"auth:\n  appRole: {}\n",
	} {
		s := documents(t, "provider/vault.md:1", []byte(text))[0]
		plane := testenv.Cluster(t)
		plain, err := client.New(plane.Config(), client.Options{})
		if err != nil {
			t.Fatal(err)
		}
		u := &unstructured.Unstructured{Object: s.object}
		u.SetNamespace(plane.Namespace(t))
		if err := client.WithFieldValidation(plain, metav1.FieldValidationStrict).Create(t.Context(), u, client.DryRunAll); err == nil {
			t.Errorf("taken:\n%s", text)
		}
	}
}
