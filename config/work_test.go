package config_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	"github.com/keyferry/keyferry/api/externalsecrets/v1alpha1"
	generators "github.com/keyferry/keyferry/api/generators/v1alpha1"
	esmeta "github.com/keyferry/keyferry/api/meta/v1"
	"github.com/keyferry/keyferry/generator"
	"github.com/keyferry/keyferry/internal/testenv"
	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/secret"
)

// tenant is a namespace of a user whose objects exercise everything that needs a right.
type tenant struct {
	*testing.T
	client.Client
	namespace string
	plane     *testenv.ControlPlane
}

func (u tenant) put(objects ...client.Object) {
	u.Helper()
	for _, o := range objects {
		if o.GetNamespace() == "" {
			o.SetNamespace(u.namespace)
		}
		if err := u.Create(u.Context(), o); err != nil {
			u.Fatalf("create %s: %v", o.GetName(), err)
		}
	}
}

// reader is a service account that may read and write Secrets of the namespace, and
// the Secret that there is to read.
func (u tenant) reader() {
	u.Helper()
	u.put(
		&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "reader", Annotations: map[string]string{identity: "known"}}},
		&rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: "reader"}, Rules: []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"secrets"}, Verbs: []string{"get", "list", "create", "update", "delete"}}}},
		&rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: "reader"}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "reader"},
			Subjects: []rbacv1.Subject{{Kind: "ServiceAccount", Name: "reader", Namespace: u.namespace}},
		},
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "source"}, StringData: map[string]string{"password": "p"}},
	)
}

// provider is a store of the Secrets of the namespace, read as its service account.
func (u tenant) provider() v1.SecretStoreSpec {
	cfg := u.plane.Config()
	return v1.SecretStoreSpec{Provider: &v1.SecretStoreProvider{Kubernetes: &v1.KubernetesProvider{
		Server:          v1.KubernetesServer{URL: cfg.Host, CABundle: cfg.CAData},
		Auth:            &v1.KubernetesAuth{ServiceAccount: &esmeta.ServiceAccountSelector{Name: "reader"}},
		RemoteNamespace: u.namespace,
	}}}
}

// externalSecret has a template from a ConfigMap, and one from a Secret.
func (u tenant) externalSecret(kind, store string) *v1.ExternalSecret {
	from := func(name string) *v1.TemplateRef {
		return &v1.TemplateRef{Name: name, Items: []v1.TemplateRefItem{{Key: "url", TemplateAs: v1.TemplateScopeValues}}}
	}
	return &v1.ExternalSecret{
		ObjectMeta: metav1.ObjectMeta{Name: "app", Finalizers: []string{v1.ExternalSecretFinalizer}},
		Spec: v1.ExternalSecretSpec{
			SecretStoreRef: v1.SecretStoreRef{Kind: kind, Name: store},
			Target: v1.ExternalSecretTarget{Name: "first", Template: &v1.ExternalSecretTemplate{
				EngineVersion: v1.TemplateEngineV2,
				TemplateFrom:  []v1.TemplateFrom{{ConfigMap: from("templates")}, {Secret: from("templates")}},
			}},
			Data: []v1.ExternalSecretData{{SecretKey: "password", RemoteRef: v1.ExternalSecretDataRemoteRef{Key: "source", Property: "password"}}},
		},
	}
}

// written waits until the Secret has the value under the key url.
func (u tenant) written(name, url string) *corev1.Secret {
	u.Helper()
	s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: u.namespace, Name: name}}
	eventually(u.T, "Secret "+name+" holds "+url, func(ctx context.Context) bool {
		return u.Get(ctx, client.ObjectKeyFromObject(s), s) == nil && string(s.Data["url"]) == url
	})
	return s
}

func (u tenant) gone(o client.Object) {
	u.Helper()
	eventually(u.T, o.GetName()+" is gone", func(ctx context.Context) bool {
		return apierrors.IsNotFound(u.Get(ctx, client.ObjectKeyFromObject(o), o))
	})
}

func (u tenant) delete(o client.Object) {
	u.Helper()
	if err := u.Delete(u.Context(), o); err != nil {
		u.Fatal(err)
	}
	u.gone(o)
}

// patch changes an object that the controller writes too.
func (u tenant) patch(o client.Object, change string) {
	u.Helper()
	if err := u.Patch(u.Context(), o, client.RawPatch(types.MergePatchType, []byte(change))); err != nil {
		u.Fatal(err)
	}
}

// pull goes through all that the controller does for an ExternalSecret.
func (u tenant) pull(es *v1.ExternalSecret) {
	u.Helper()
	u.put(
		&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "templates"}, Data: map[string]string{"url": "config"}},
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "templates"}, StringData: map[string]string{"url": "https://u:{{ .password }}@host"}},
		es,
	)
	const url = "https://u:p@host"
	s := u.written("first", url)
	for _, name := range []string{"stray", "another-stray"} {
		u.put(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: s.Labels, OwnerReferences: s.OwnerReferences}})
	}
	u.patch(s, `{"data":{"url":"ZWRpdGVk"}}`)
	s = u.written("first", url)
	u.patch(es, `{"spec":{"target":{"name":"second"}}}`)
	u.written("second", url)
	u.gone(s)
	u.delete(es)
}

// identity is an annotation of a service account, as clouds have them.
const identity = "example.com/identity"

// identified is a provider, under the name of the fake one, that asks who a service
// account is, as those of the clouds do. All that it holds is the answer.
func identified() provider.Provider {
	return provider.Define(provider.Definition[v1.FakeProvider]{
		Name: "fake", Label: "identified",
		Open: func(ctx context.Context, _ *v1.FakeProvider, env provider.Env) (provider.Store, error) {
			is, err := env.Credential(ctx, provider.CredentialRef{Kind: "ServiceAccount", Name: "reader", Key: identity, Field: "spec.provider.fake"})
			return identifiedStore{is}, err
		},
	})
}

type identifiedStore struct{ is secret.Value }

func (s identifiedStore) Get(context.Context, secret.Ref) (secret.Secret, error) {
	return secret.Secret{Value: s.is}, nil
}

func (identifiedStore) Close() error { return nil }

// identify reads from a store that asks who a service account is.
func (u tenant) identify() {
	u.Helper()
	u.put(
		&v1.SecretStore{ObjectMeta: metav1.ObjectMeta{Name: "identified"}, Spec: v1.SecretStoreSpec{Provider: &v1.SecretStoreProvider{Fake: &v1.FakeProvider{Data: []v1.FakeProviderData{}}}}},
		&v1.ExternalSecret{
			ObjectMeta: metav1.ObjectMeta{Name: "identity"},
			Spec: v1.ExternalSecretSpec{
				SecretStoreRef: v1.SecretStoreRef{Name: "identified"},
				Data:           []v1.ExternalSecretData{{SecretKey: "url", RemoteRef: v1.ExternalSecretDataRemoteRef{Key: "me"}}},
			},
		})
	u.written("identity", "known")
}

// pushSecret writes a key of the Secret source to a Secret of its own name.
func (u tenant) pushSecret(name string, stores ...v1alpha1.PushSecretStoreRef) *v1alpha1.PushSecret {
	return &v1alpha1.PushSecret{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: v1alpha1.PushSecretSpec{
			SecretStoreRefs: stores, DeletionPolicy: v1alpha1.PushSecretDeletionPolicyDelete,
			Selector: v1alpha1.PushSecretSelector{Secret: &v1alpha1.PushSecretSecret{Name: "source"}},
			Data: []v1alpha1.PushSecretData{{Match: v1alpha1.PushSecretMatch{
				SecretKey: "password", RemoteRef: v1alpha1.PushSecretRemoteRef{RemoteKey: name, Property: "url"},
			}}},
		},
	}
}

// push goes through all that the controller does for a PushSecret: to a store that is
// kept while it holds what was pushed, and to one that is gone.
func (u tenant) push(seen *traffic, stores ...v1alpha1.PushSecretStoreRef) {
	u.Helper()
	for i, ref := range stores {
		ps := u.pushSecret(fmt.Sprintf("pushed-%d", i), ref)
		u.put(ps)
		s := u.written(ps.Name, "p")
		u.delete(ps)
		u.gone(s)
	}
	lost := &v1.SecretStore{ObjectMeta: metav1.ObjectMeta{Name: "lost"}, Spec: u.provider()}
	ps := u.pushSecret("stays", v1alpha1.PushSecretStoreRef{Name: lost.Name})
	u.put(lost, ps)
	u.written(ps.Name, "p")
	eventually(u.T, "the store is kept for what it holds", func(ctx context.Context) bool {
		return u.Get(ctx, client.ObjectKeyFromObject(lost), lost) == nil && len(lost.Finalizers) > 0
	})
	if err := u.Delete(u.Context(), lost); err != nil {
		u.Fatal(err)
	}
	u.patch(lost, `{"metadata":{"finalizers":[]}}`)
	u.gone(lost)
	if err := u.Delete(u.Context(), ps); err != nil {
		u.Fatal(err)
	}
	eventually(u.T, "the controller looks whether the namespace is going", func(context.Context) bool { return seen.saw("/namespaces get") })
	u.patch(ps, `{"metadata":{"annotations":{"`+v1alpha1.AnnotationForgetStores+`":"true"}}}`)
	u.gone(ps)
}

// spread goes through all that the controller does for the cluster-wide kinds in one
// namespace, where External Secrets Operator was before.
func (u tenant) spread(store string) {
	u.Helper()
	here := []*metav1.LabelSelector{{MatchLabels: map[string]string{corev1.LabelMetadataName: u.namespace}}}
	es := u.externalSecret(v1.ClusterSecretStoreKind, store)
	es.Spec.Target.Name, es.Spec.Target.Template = "spread", nil
	ces := &v1.ClusterExternalSecret{
		ObjectMeta: metav1.ObjectMeta{Name: u.namespace, Finalizers: []string{v1.ClusterExternalSecretFinalizer}},
		Spec:       v1.ClusterExternalSecretSpec{ExternalSecretSpec: es.Spec, NamespaceSelectors: here},
	}
	cps := &v1alpha1.ClusterPushSecret{
		ObjectMeta: metav1.ObjectMeta{Name: u.namespace},
		Spec: v1alpha1.ClusterPushSecretSpec{
			PushSecretSpec:     u.pushSecret("spread-further", v1alpha1.PushSecretStoreRef{Kind: v1.ClusterSecretStoreKind, Name: store}).Spec,
			NamespaceSelectors: here,
		},
	}
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: u.namespace}}
	u.patch(namespace, `{"metadata":{"finalizers":["`+v1.NamespaceFinalizerPrefix+u.namespace+`"]}}`)
	for _, tc := range []struct {
		parent, child client.Object
		prefix        string
	}{
		{ces, &v1.ExternalSecret{}, "externalSecret"},
		{cps, &v1alpha1.PushSecret{}, "pushSecret"},
	} {
		if err := u.Create(u.Context(), tc.parent); err != nil {
			u.Fatal(err)
		}
		u.child(tc.child, u.namespace, "")
		u.patch(tc.parent, `{"spec":{"`+tc.prefix+`Metadata":{"labels":{"team":"a"}}}}`)
		u.child(tc.child, u.namespace, "a")
		u.patch(tc.parent, `{"spec":{"`+tc.prefix+`Name":"renamed"}}`)
		u.gone(tc.child)
		u.child(tc.child, "renamed", "a")
		eventually(u.T, "the namespace is in the status", func(ctx context.Context) bool {
			return u.Get(ctx, client.ObjectKeyFromObject(tc.parent), tc.parent) == nil && slices.Equal(provisioned(tc.parent), []string{u.namespace})
		})
		u.delete(tc.parent)
	}
	eventually(u.T, "the namespace is released", func(ctx context.Context) bool {
		return u.Get(ctx, client.ObjectKeyFromObject(namespace), namespace) == nil && len(namespace.Finalizers) == 0
	})
}

// child waits until there is a child of that name, with the label.
func (u tenant) child(o client.Object, name, team string) {
	u.Helper()
	eventually(u.T, "child "+name, func(ctx context.Context) bool {
		return u.Get(ctx, client.ObjectKey{Namespace: u.namespace, Name: name}, o) == nil && o.GetLabels()["team"] == team
	})
}

func provisioned(parent client.Object) []string {
	switch o := parent.(type) {
	case *v1.ClusterExternalSecret:
		return o.Status.ProvisionedNamespaces
	case *v1alpha1.ClusterPushSecret:
		return o.Status.ProvisionedNamespaces
	}
	return nil
}

// leaving is a generator, under the kind of the fake one, whose values have to be ended.
func leaving() generator.Generator {
	return generator.Define(generator.Definition[generators.FakeSpec]{
		Kind: "Fake",
		Generate: func(_ context.Context, spec *generators.FakeSpec, _ provider.Env) (generator.Output, error) {
			return generator.Output{Values: map[string]secret.Value{"url": secret.FromString(spec.Data["url"])}, State: json.RawMessage(`{"id":"1"}`)}, nil
		},
		Cleanup: func(context.Context, *generators.FakeSpec, provider.Env, json.RawMessage) error { return nil },
	})
}

// generate goes through all that the controller does for generators: one whose values
// are replaced and then have to be ended, and one of each other kind that is not there.
func (u tenant) generate(kinds ...string) {
	u.Helper()
	from := func(kind string) *v1.ExternalSecret {
		ref := &v1.StoreGeneratorSourceRef{GeneratorRef: &v1.GeneratorRef{Kind: kind, Name: "it"}}
		return &v1.ExternalSecret{
			ObjectMeta: metav1.ObjectMeta{Name: "generated-" + strings.ToLower(kind)},
			Spec:       v1.ExternalSecretSpec{DataFrom: []v1.ExternalSecretDataFromRemoteRef{{SourceRef: ref}}},
		}
	}
	fake := &generators.Fake{ObjectMeta: metav1.ObjectMeta{Name: "it"}, Spec: generators.FakeSpec{Data: map[string]string{"url": "made"}}}
	es := from("Fake")
	u.put(fake, es)
	u.written(es.Name, "made")
	states := func(ctx context.Context) []generators.GeneratorState {
		var list generators.GeneratorStateList
		if err := u.List(ctx, &list, client.InNamespace(u.namespace)); err != nil {
			u.Error(err)
		}
		return list.Items
	}
	first := states(u.Context())
	if len(first) != 1 {
		u.Fatalf("%d GeneratorStates, want 1", len(first))
	}
	u.patch(fake, `{"spec":{"data":{"url":"made anew"}}}`)
	u.written(es.Name, "made anew")
	u.gone(&first[0])
	u.delete(es)
	eventually(u.T, "nothing is left behind", func(ctx context.Context) bool { return len(states(ctx)) == 0 })
	for _, kind := range kinds {
		u.put(from(kind))
	}
}
