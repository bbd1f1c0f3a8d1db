package kubernetes

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"sync"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	esv1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	esmeta "github.com/keyferry/keyferry/api/meta/v1"
	"github.com/keyferry/keyferry/internal/testenv"
	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/provider/providertest"
	"github.com/keyferry/keyferry/secret"
)

// fixture is a namespace of a real API server with three service accounts: "reader"
// may get and list its Secrets, "writer" may create, update and delete them too, and
// "nobody" may nothing.
type fixture struct {
	*testing.T
	cluster   *testenv.ControlPlane
	config    *rest.Config
	client    kubernetes.Interface
	namespace string
	env       *providertest.Env
}

func newFixture(t *testing.T) fixture {
	t.Helper()
	cluster := testenv.Cluster(t)
	f := fixture{T: t, cluster: cluster, config: cluster.Config(), namespace: cluster.Namespace(t), env: providertest.NewEnv(t)}
	var err error
	if f.client, err = kubernetes.NewForConfig(f.config); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"reader", "writer", "nobody"} {
		account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name}}
		if _, err := f.client.CoreV1().ServiceAccounts(f.namespace).Create(t.Context(), account, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	f.grant(rbacv1.Subject{Kind: rbacv1.ServiceAccountKind, Name: "reader", Namespace: f.namespace}, rbacv1.PolicyRule{
		Verbs: []string{"get", "list"}, APIGroups: []string{""}, Resources: []string{"secrets"},
	})
	f.grant(rbacv1.Subject{Kind: rbacv1.ServiceAccountKind, Name: "writer", Namespace: f.namespace}, rbacv1.PolicyRule{
		Verbs: []string{"get", "list", "create", "update", "delete"}, APIGroups: []string{""}, Resources: []string{"secrets"},
	})
	f.env.Put("ConfigMap", providertest.Namespace, "root-ca", map[string]string{"ca.crt": string(f.config.CAData)})
	f.env.Issue = f.issue
	return f
}

// grant returns when the API server goes by it, which learns of it a little later.
func (f fixture) grant(who rbacv1.Subject, what ...rbacv1.PolicyRule) {
	f.Helper()
	role := &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{GenerateName: "read-"}, Rules: what}
	role, err := f.client.RbacV1().Roles(f.namespace).Create(f.Context(), role, metav1.CreateOptions{})
	if err != nil {
		f.Fatal(err)
	}
	binding := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "read-"}, Subjects: []rbacv1.Subject{who},
		RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: role.Name},
	}
	if _, err := f.client.RbacV1().RoleBindings(f.namespace).Create(f.Context(), binding, metav1.CreateOptions{}); err != nil {
		f.Fatal(err)
	}
	for _, rule := range what {
		f.awaitGrant(who, rule)
	}
}

func (f fixture) awaitGrant(who rbacv1.Subject, rule rbacv1.PolicyRule) {
	f.Helper()
	first := func(list []string, instead string) string {
		if len(list) == 0 || list[0] == "*" {
			return instead
		}
		return list[0]
	}
	review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
		User: who.Name,
		ResourceAttributes: &authorizationv1.ResourceAttributes{
			Namespace: f.namespace, Verb: first(rule.Verbs, "get"), Group: first(rule.APIGroups, ""),
			Resource: first(rule.Resources, "secrets"), Name: first(rule.ResourceNames, ""),
		},
	}}
	if who.Kind == rbacv1.ServiceAccountKind {
		review.Spec.User = "system:serviceaccount:" + who.Namespace + ":" + who.Name
	}
	for {
		got, err := f.client.AuthorizationV1().SubjectAccessReviews().Create(f.Context(), review, metav1.CreateOptions{})
		if err != nil {
			f.Fatal(err)
		}
		if got.Status.Allowed {
			return
		}
	}
}

// issue asks the API server for a token of an account in the fixture's namespace.
func (f fixture) issue(ctx context.Context, req provider.TokenRequest) (string, error) {
	spec := authenticationv1.TokenRequestSpec{Audiences: req.Audiences}
	if slices.Contains(req.Audiences, provider.ClusterAudience) {
		spec.Audiences = nil
	}
	got, err := f.client.CoreV1().ServiceAccounts(f.namespace).CreateToken(ctx, req.ServiceAccount, &authenticationv1.TokenRequest{Spec: spec}, metav1.CreateOptions{})
	if err != nil {
		return "", err
	}
	return got.Status.Token, nil
}

// token keeps a token of an account as the key "token" of a Secret of the Env.
func (f fixture) token(name, account string) {
	f.Helper()
	token, err := f.issue(f.Context(), provider.TokenRequest{ServiceAccount: account, Audiences: []string{provider.ClusterAudience}})
	if err != nil {
		f.Fatal(err)
	}
	f.env.Put("", providertest.Namespace, name, map[string]string{"token": token + "\n"})
}

func (f fixture) seed(t providertest.T, entries ...providertest.Entry) {
	t.Helper()
	var group sync.WaitGroup
	slots := make(chan struct{}, 16)
	for _, e := range entries {
		slots <- struct{}{}
		group.Go(func() {
			defer func() { <-slots }()
			f.apply(t, e)
		})
	}
	group.Wait()
}

// apply creates the Secret or replaces it.
func (f fixture) apply(t providertest.T, e providertest.Entry) {
	obj := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: e.Key, Labels: maps.Clone(e.Tags)},
		Data:       map[string][]byte{"value": e.Value},
	}
	secrets := f.client.CoreV1().Secrets(f.namespace)
	_, err := secrets.Create(t.Context(), obj, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		_, err = secrets.Update(t.Context(), obj, metav1.UpdateOptions{})
	}
	if err != nil {
		t.Errorf("seed %s: %v", e.Key, err)
	}
}

// spec is that of a store on the fixture's namespace.
func (f fixture) spec(auth *esv1.KubernetesAuth) *esv1.KubernetesProvider {
	return &esv1.KubernetesProvider{
		Server: esv1.KubernetesServer{
			URL:        f.config.Host,
			CAProvider: &esv1.CAProvider{Type: esv1.CAProviderTypeConfigMap, Name: "root-ca", Key: "ca.crt"},
		},
		RemoteNamespace: f.namespace,
		Auth:            auth,
	}
}

func (f fixture) open(spec *esv1.KubernetesProvider) *store {
	f.Helper()
	s, err := Provider().Open(f.Context(), spec, f.env)
	if err != nil {
		f.Fatal(err)
	}
	return s.(*store)
}

func ref(name, key string) esmeta.SecretKeySelector {
	return esmeta.SecretKeySelector{Name: name, Key: key}
}

func byToken(name string) *esv1.KubernetesAuth {
	return &esv1.KubernetesAuth{Token: &esv1.TokenAuth{BearerToken: ref(name, "token")}}
}

func byAccount(name string, audiences ...string) *esv1.KubernetesAuth {
	return &esv1.KubernetesAuth{ServiceAccount: &esmeta.ServiceAccountSelector{Name: name, Audiences: audiences}}
}

func byCert(name string) *esv1.KubernetesAuth {
	return &esv1.KubernetesAuth{Cert: &esv1.CertAuth{ClientCert: ref(name, "cert"), ClientKey: ref(name, "key")}}
}

func field(s secret.Secret) secret.Value { return s.Fields["value"] }

func withField(value []byte) secret.Secret {
	return secret.Secret{Fields: map[string]secret.Value{"value": secret.New(value)}}
}

// held looks at a Secret as an administrator. Its resource version grows with each
// write.
func (f fixture) held(t providertest.T, key string) (value []byte, writes int, exists bool) {
	t.Helper()
	got, err := f.client.CoreV1().Secrets(f.namespace).Get(t.Context(), key, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, 0, false
	}
	if err == nil {
		writes, err = strconv.Atoi(got.ResourceVersion)
	}
	if err != nil {
		t.Fatalf("look at %s: %v", key, err)
	}
	return got.Data["value"], writes, true
}
