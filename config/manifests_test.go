package config_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	v1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	"github.com/keyferry/keyferry/api/externalsecrets/v1alpha1"
	generators "github.com/keyferry/keyferry/api/generators/v1alpha1"
	"github.com/keyferry/keyferry/config/crds"
	"github.com/keyferry/keyferry/internal/cli" //nolint:depguard // what is written of the command is compared with it
	"github.com/keyferry/keyferry/internal/testenv"
)

const system = "keyferry"

// manifests returns the objects of kustomization.yaml in the order in which it names
// them.
func manifests(t *testing.T) []*unstructured.Unstructured {
	t.Helper()
	var k struct{ Resources []string }
	unmarshal(t, "kustomization.yaml", &k)
	var out []*unstructured.Unstructured
	for _, name := range k.Resources {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for documents := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(b))); ; {
			doc, err := documents.Read()
			if errors.Is(err, io.EOF) {
				break
			}
			u := &unstructured.Unstructured{}
			if err == nil {
				err = yaml.Unmarshal(doc, &u.Object)
			}
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			out = append(out, u)
		}
	}
	return out
}

func unmarshal(t *testing.T, name string, into any) {
	t.Helper()
	b, err := os.ReadFile(name)
	if err == nil {
		err = yaml.Unmarshal(b, into)
	}
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

// object returns the one manifest of a kind and name, as the type that into has.
func object[T any](t *testing.T, kind, name string) *T {
	t.Helper()
	for _, u := range manifests(t) {
		if u.GetKind() == kind && u.GetName() == name {
			out := new(T)
			if err := runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(u.Object, out, true); err != nil {
				t.Fatalf("%s %s: %v", kind, name, err)
			}
			return out
		}
	}
	t.Fatalf("kustomization.yaml has no %s %s", kind, name)
	return nil
}

// installed returns an administrator's client of a control plane that has all of the
// manifests.
func installed(t *testing.T) (client.Client, *testenv.ControlPlane) {
	t.Helper()
	plane := testenv.Cluster(t)
	definitions, err := crds.All()
	if err != nil {
		t.Fatal(err)
	}
	config := plane.Config()
	config.WarningHandler = rest.NoWarnings{} // v1beta1 is asked for to see that it is served
	if err := testenv.InstallCRDs(t.Context(), config, definitions); err != nil {
		t.Fatal(err)
	}
	admin := connect(t, plane.Config())
	for _, u := range manifests(t) {
		if u.GetKind() == "CustomResourceDefinition" {
			continue
		}
		body, err := u.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		name := u.GetKind() + " " + u.GetName()
		if err := admin.Patch(t.Context(), u, client.RawPatch(types.ApplyPatchType, body), client.FieldOwner("test"), client.ForceOwnership); err != nil {
			t.Fatalf("apply %s: %v", name, err)
		}
	}
	return admin, plane
}

func connect(t *testing.T, cfg *rest.Config) client.Client {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1.AddToScheme, v1alpha1.AddToScheme, generators.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	c, err := client.New(cfg, client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	return client.WithFieldValidation(c, metav1.FieldValidationStrict)
}

// eventually waits until ok is true: a real control plane takes its time.
func eventually(t *testing.T, what string, ok func(context.Context) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for !ok(ctx) {
		select {
		case <-ctx.Done():
			t.Fatalf("%s: not within a minute", what)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func TestAllManifestsAreInstalled(t *testing.T) {
	var listed []string
	for _, u := range manifests(t) {
		listed = append(listed, u.GetKind()+" "+u.GetName())
	}
	definitions, err := crds.All()
	if err != nil {
		t.Fatal(err)
	}
	for _, crd := range definitions {
		if !slices.Contains(listed, "CustomResourceDefinition "+crd.Name) {
			t.Errorf("kustomization.yaml does not list the definition of %s", crd.Name)
		}
	}
}

// TestPodIsAdmitted has the pod of the Deployment made in its namespace, where the
// API server enforces the restricted standard.
func TestPodIsAdmitted(t *testing.T) {
	admin, _ := installed(t)
	template := object[appsv1.Deployment](t, "Deployment", "keyferry").Spec.Template
	pod := &corev1.Pod{ObjectMeta: template.ObjectMeta, Spec: template.Spec}
	pod.Namespace, pod.GenerateName = system, "keyferry-"
	if err := admin.Create(t.Context(), pod.DeepCopy(), client.DryRunAll); err != nil {
		t.Errorf("the pod is refused: %v", err)
	}
	pod.Spec.Containers[0].SecurityContext = nil
	if err := admin.Create(t.Context(), pod, client.DryRunAll); err == nil {
		t.Error("a pod without a security context is admitted: the namespace does not enforce the restricted standard")
	}
}

func TestDeploymentUsesFlagsThatThereAre(t *testing.T) {
	root := cli.New(cli.Build{Clock: wallClock{}})
	c := object[appsv1.Deployment](t, "Deployment", "keyferry").Spec.Template.Spec.Containers[0]
	command, flags, err := root.Find(c.Args)
	if err != nil {
		t.Fatal(err)
	}
	if command.Name() != "controller" {
		t.Fatalf("the Deployment runs %q, want controller", command.Name())
	}
	if err := command.ParseFlags(flags); err != nil {
		t.Error(err)
	}
	for port, flag := range map[string]string{"metrics": "metrics-addr", "probes": "live-addr"} {
		checkPort(t, command, c, port, flag)
	}
}

func checkPort(t *testing.T, command *cobra.Command, c corev1.Container, port, flag string) {
	t.Helper()
	address := command.Flags().Lookup(flag).Value.String()
	i := slices.IndexFunc(c.Ports, func(p corev1.ContainerPort) bool { return p.Name == port })
	if i < 0 || address != fmt.Sprintf(":%d", c.Ports[i].ContainerPort) {
		t.Errorf("--%s is %s, and the port %s of the Deployment another", flag, address, port)
	}
}

// TestRightsInAllNamespaces fails when there are more: whoever adds one here says why
// in controller.yaml.
func TestRightsInAllNamespaces(t *testing.T) {
	want := map[string][]string{
		"external-secrets.io/externalsecrets":                   {"create", "delete", "list", "patch", "update", "watch"},
		"external-secrets.io/externalsecrets/finalizers":        {"update"},
		"external-secrets.io/externalsecrets/status":            {"patch"},
		"external-secrets.io/pushsecrets":                       {"create", "delete", "list", "patch", "update", "watch"},
		"external-secrets.io/pushsecrets/status":                {"patch"},
		"external-secrets.io/secretstores":                      {"list", "patch", "watch"},
		"external-secrets.io/secretstores/status":               {"patch"},
		"external-secrets.io/clustersecretstores":               {"list", "patch", "watch"},
		"external-secrets.io/clustersecretstores/status":        {"patch"},
		"external-secrets.io/clusterexternalsecrets":            {"list", "patch", "watch"},
		"external-secrets.io/clusterexternalsecrets/finalizers": {"update"},
		"external-secrets.io/clusterexternalsecrets/status":     {"patch"},
		"external-secrets.io/clusterpushsecrets":                {"list", "watch"},
		"external-secrets.io/clusterpushsecrets/finalizers":     {"update"},
		"external-secrets.io/clusterpushsecrets/status":         {"patch"},
		"generators.external-secrets.io/clustergenerators":      {"list", "watch"},
		"generators.external-secrets.io/generatorstates":        {"create", "delete", "list", "patch", "watch"},
		"generators.external-secrets.io/generatorstates/status": {"patch"},
		"/secrets":               {"create", "delete", "get", "list", "update", "watch"},
		"/configmaps":            {"get", "list", "watch"},
		"/namespaces":            {"get", "list", "patch", "watch"},
		"/serviceaccounts":       {"get"},
		"/serviceaccounts/token": {"create"},
		"events.k8s.io/events":   {"create", "patch"},
	}
	for _, kind := range generators.Kinds() {
		want["generators.external-secrets.io/"+strings.ToLower(kind)+"s"] = []string{"list", "watch"}
	}
	if diff := cmp.Diff(want, rights(object[rbacv1.ClusterRole](t, "ClusterRole", "keyferry-controller").Rules)); diff != "" {
		t.Errorf("ClusterRole keyferry-controller (-want +got):\n%s", diff)
	}
	var bound []string
	for _, u := range manifests(t) {
		if u.GetKind() == "ClusterRoleBinding" {
			bound = append(bound, u.GetName())
		}
	}
	if diff := cmp.Diff([]string{"keyferry-controller"}, bound); diff != "" {
		t.Errorf("ClusterRoleBindings (-want +got):\n%s", diff)
	}
}

// TestUsersMayUseEveryNamespacedKind fails for a kind that the roles of people forget.
// States of generators are the controller's alone to write.
func TestUsersMayUseEveryNamespacedKind(t *testing.T) {
	definitions, err := crds.All()
	if err != nil {
		t.Fatal(err)
	}
	view, edit := map[string][]string{}, map[string][]string{}
	for _, crd := range definitions {
		if name := crd.Spec.Group + "/" + crd.Spec.Names.Plural; crd.Spec.Scope == apiextensionsv1.NamespaceScoped {
			view[name] = []string{"get", "list", "watch"}
			edit[name] = []string{"create", "delete", "deletecollection", "patch", "update"}
		}
	}
	delete(edit, generators.Group+"/generatorstates")
	for role, want := range map[string]map[string][]string{"keyferry-view": view, "keyferry-edit": edit} {
		if diff := cmp.Diff(want, rights(object[rbacv1.ClusterRole](t, "ClusterRole", role).Rules)); diff != "" {
			t.Errorf("ClusterRole %s (-want +got):\n%s", role, diff)
		}
	}
}

// rights are the verbs of rules by "group/resource".
func rights(rules []rbacv1.PolicyRule) map[string][]string {
	out := map[string][]string{}
	for _, rule := range rules {
		for _, group := range rule.APIGroups {
			for _, resource := range rule.Resources {
				name := group + "/" + resource
				out[name] = append(out[name], rule.Verbs...)
				slices.Sort(out[name])
			}
		}
	}
	return out
}

type wallClock struct{}

func (wallClock) Now() time.Time                         { return time.Now() }
func (wallClock) After(d time.Duration) <-chan time.Time { return time.After(d) }
