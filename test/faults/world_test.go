package faults_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	esv1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	"github.com/keyferry/keyferry/api/externalsecrets/v1alpha1"
	genv1alpha1 "github.com/keyferry/keyferry/api/generators/v1alpha1"
	esmeta "github.com/keyferry/keyferry/api/meta/v1"
	"github.com/keyferry/keyferry/config/crds"
	"github.com/keyferry/keyferry/internal/testenv"
)

// world is a control plane with the definitions, and a namespace in it.
type world struct {
	t         *testing.T
	plane     *testenv.ControlPlane
	api       client.WithWatch
	namespace string
}

func newWorld(t *testing.T, plane *testenv.ControlPlane) *world {
	t.Helper()
	definitions, err := crds.All()
	if err != nil {
		t.Fatal(err)
	}
	config := plane.Config()
	config.WarningHandlerWithContext = rest.NoWarnings{}
	if err := testenv.InstallCRDs(t.Context(), config, definitions); err != nil {
		t.Fatal(err)
	}
	for _, add := range []func(*runtime.Scheme) error{esv1.AddToScheme, v1alpha1.AddToScheme, genv1alpha1.AddToScheme} {
		if err := add(scheme.Scheme); err != nil {
			t.Fatal(err)
		}
	}
	api, err := client.NewWithWatch(config, client.Options{Scheme: scheme.Scheme})
	if err != nil {
		t.Fatal(err)
	}
	return &world{t: t, plane: plane, api: api, namespace: plane.Namespace(t)}
}

// start runs a controller on the namespace of the world.
func (w *world) start(args ...string) *process {
	w.t.Helper()
	return startController(w.t, w.plane.Kubeconfig(), append([]string{"--namespace=" + w.namespace, "--egress-allow=127.0.0.0/8"}, args...)...)
}

func (w *world) create(objects ...client.Object) {
	w.t.Helper()
	for _, o := range objects {
		if err := w.api.Create(w.t.Context(), o); err != nil {
			w.t.Fatalf("create %T %s: %v", o, o.GetName(), err)
		}
	}
}

func (w *world) meta(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: w.namespace, Name: name}
}

// bao makes the SecretStore "bao", with its token in the Secret "bao-token".
func (w *world) bao(b *testenv.Bao, token string) {
	w.t.Helper()
	mount := "secret"
	w.create(
		&corev1.Secret{ObjectMeta: w.meta("bao-token"), StringData: map[string]string{"token": token}},
		&esv1.SecretStore{ObjectMeta: w.meta("bao"), Spec: esv1.SecretStoreSpec{Provider: &esv1.SecretStoreProvider{Vault: &esv1.VaultProvider{
			Server: b.Address, Path: &mount, Version: esv1.VaultKVStoreV2,
			Auth: &esv1.VaultAuth{TokenSecretRef: &esmeta.SecretKeySelector{Name: "bao-token", Key: "token"}},
		}}}},
	)
}

func objectName(i int) string { return fmt.Sprintf("app-%04d", i) }

// external is an ExternalSecret of the store "bao" that copies two properties.
func (w *world) external(name, key string) *esv1.ExternalSecret {
	es := &esv1.ExternalSecret{
		ObjectMeta: w.meta(name),
		Spec:       esv1.ExternalSecretSpec{SecretStoreRef: esv1.SecretStoreRef{Name: "bao", Kind: esv1.SecretStoreKind}},
	}
	for _, property := range []string{"user", "password"} {
		es.Spec.Data = append(es.Spec.Data, esv1.ExternalSecretData{
			SecretKey: property, RemoteRef: esv1.ExternalSecretDataRemoteRef{Key: key, Property: property},
		})
	}
	return es
}

// content is what put stores under a key.
func content(key string) map[string]string {
	return map[string]string{"user": "user of " + key, "password": "password of " + key}
}

func put(t *testing.T, b *testenv.Bao, key string, data map[string]string) {
	t.Helper()
	if _, err := b.Do(t.Context(), http.MethodPost, "secret/data/"+key, map[string]any{"data": data}); err != nil {
		t.Fatal(err)
	}
}

// each calls f for 0 to n-1, some at once.
func each(t *testing.T, n int, f func(context.Context, int) error) {
	t.Helper()
	g, ctx := errgroup.WithContext(t.Context())
	g.SetLimit(16)
	for i := range n {
		g.Go(func() error { return f(ctx, i) })
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
}

// populate makes n ExternalSecrets, and the values that they read.
func (w *world) populate(b *testenv.Bao, n int, change func(i int, es *esv1.ExternalSecret)) {
	w.t.Helper()
	each(w.t, n, func(ctx context.Context, i int) error {
		key := w.namespace + "/" + objectName(i)
		if _, err := b.Do(ctx, http.MethodPost, "secret/data/"+key, map[string]any{"data": content(key)}); err != nil {
			return err
		}
		es := w.external(objectName(i), key)
		if change != nil {
			change(i, es)
		}
		return w.api.Create(ctx, es)
	})
}

func (w *world) externals() []esv1.ExternalSecret {
	w.t.Helper()
	var list esv1.ExternalSecretList
	if err := w.api.List(w.t.Context(), &list, client.InNamespace(w.namespace)); err != nil {
		w.t.Fatal(err)
	}
	return list.Items
}

// targets returns the Secrets that the controller wrote, by name.
func (w *world) targets() map[string]corev1.Secret {
	w.t.Helper()
	var list corev1.SecretList
	if err := w.api.List(w.t.Context(), &list, client.InNamespace(w.namespace), client.HasLabels{esv1.LabelManaged}); err != nil {
		w.t.Fatal(err)
	}
	out := map[string]corev1.Secret{}
	for _, s := range list.Items {
		out[s.Name] = s
	}
	return out
}

func ready(es *esv1.ExternalSecret) esv1.ExternalSecretStatusCondition {
	for _, c := range es.Status.Conditions {
		if c.Type == esv1.ExternalSecretReady {
			return c
		}
	}
	return esv1.ExternalSecretStatusCondition{Status: "missing"}
}

func isReady(es *esv1.ExternalSecret) bool {
	return ready(es).Status == corev1.ConditionTrue && es.Status.ObservedGeneration == es.Generation
}

// notReady says which ExternalSecrets are not Ready, or not as accepted says.
func (w *world) notReady(n int, accepted func(*esv1.ExternalSecret) bool) string {
	w.t.Helper()
	all := w.externals()
	var missing []string
	for i := range all {
		if !accepted(&all[i]) {
			missing = append(missing, fmt.Sprintf("%s: %s %s", all[i].Name, ready(&all[i]).Status, ready(&all[i]).Message))
		}
	}
	if len(all) == n && len(missing) == 0 {
		return ""
	}
	return fmt.Sprintf("%d of %d ExternalSecrets, %d not as they should be: %s", len(all), n, len(missing), strings.Join(missing[:min(3, len(missing))], "; "))
}

// sameData fails unless there is exactly one Secret for each ExternalSecret, owned
// by it, with the data that the store has under want's key.
func (w *world) sameData(want func(i int) map[string]string) {
	w.t.Helper()
	owners := map[string]string{}
	for _, es := range w.externals() {
		owners[es.Name] = string(es.UID)
	}
	targets := w.targets()
	if len(targets) != len(owners) {
		w.t.Errorf("%d Secrets for %d ExternalSecrets", len(targets), len(owners))
	}
	for i := range len(owners) {
		s := targets[objectName(i)]
		owner := metav1.GetControllerOf(&s)
		if owner == nil || string(owner.UID) != owners[s.Name] {
			w.t.Errorf("Secret %s is owned by %v", objectName(i), owner)
		}
		for k, v := range want(i) {
			if string(s.Data[k]) != v {
				w.t.Errorf("Secret %s has another %s than the store: %q, want %q", s.Name, k, s.Data[k], v)
			}
		}
	}
}
