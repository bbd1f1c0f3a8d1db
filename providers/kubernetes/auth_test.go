package kubernetes

import (
	"errors"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"

	esv1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	esmeta "github.com/keyferry/keyferry/api/meta/v1"
	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/provider/providertest"
	"github.com/keyferry/keyferry/secret"
)

// user is somebody with a client certificate, kept in a Secret of the same name.
func (f fixture) user(name string) *rest.Config {
	f.Helper()
	config, err := f.cluster.User(name)
	if err != nil {
		f.Fatal(err)
	}
	f.env.Put("", providertest.Namespace, name, map[string]string{"cert": string(config.CertData), "key": string(config.KeyData)})
	return config
}

// kubeconfig keeps a kubeconfig in the Secret "kubeconfig".
func (f fixture) kubeconfig(cluster api.Cluster, user api.AuthInfo) {
	f.Helper()
	if cluster.Server == "" {
		cluster.Server = f.config.Host
	}
	if cluster.CertificateAuthorityData == nil {
		cluster.CertificateAuthorityData = f.config.CAData
	}
	b, err := clientcmd.Write(api.Config{
		CurrentContext: "here",
		Contexts:       map[string]*api.Context{"here": {Cluster: "c", AuthInfo: "u"}},
		Clusters:       map[string]*api.Cluster{"c": &cluster},
		AuthInfos:      map[string]*api.AuthInfo{"u": &user},
	})
	if err != nil {
		f.Fatal(err)
	}
	f.env.Put("", providertest.Namespace, "kubeconfig", map[string]string{"config": string(b)})
}

func (f fixture) byKubeconfig() *esv1.KubernetesProvider {
	authRef := ref("kubeconfig", "config")
	return &esv1.KubernetesProvider{RemoteNamespace: f.namespace, AuthRef: &authRef}
}

func TestAuthentication(t *testing.T) {
	f := newFixture(t)
	f.seed(t, providertest.Entry{Key: "db", Value: []byte("v")})
	f.token("kept", "reader")
	alice := f.user("alice")
	f.grant(rbacv1.Subject{Kind: rbacv1.UserKind, Name: "alice"}, rbacv1.PolicyRule{
		Verbs: []string{"get"}, APIGroups: []string{""}, Resources: []string{"secrets"}, ResourceNames: []string{"db"},
	})
	f.user("mallory")
	f.env.Put("", providertest.Namespace, "wrong", map[string]string{"token": "no-such-token"})
	token, err := f.issue(t.Context(), provider.TokenRequest{ServiceAccount: "reader", Audiences: []string{provider.ClusterAudience}})
	if err != nil {
		t.Fatal(err)
	}
	bundled := f.spec(byToken("kept"))
	bundled.Server = esv1.KubernetesServer{URL: strings.TrimPrefix(f.config.Host, "https://"), CABundle: f.config.CAData}
	for name, tc := range map[string]struct {
		spec    *esv1.KubernetesProvider
		prepare func()
		kind    secret.Kind
		check   secret.Kind
	}{
		"a service account":                             {spec: f.spec(byAccount("reader"))},
		"a service account without grant":               {spec: f.spec(byAccount("nobody")), kind: secret.Denied, check: secret.Denied},
		"a token for another audience":                  {spec: f.spec(byAccount("reader", "vault")), kind: secret.Unauthenticated, check: secret.Unauthenticated},
		"a named audience":                              {spec: f.spec(byAccount("reader", "https://kubernetes.default.svc"))},
		"a kept token":                                  {spec: f.spec(byToken("kept"))},
		"a wrong token":                                 {spec: f.spec(byToken("wrong")), kind: secret.Unauthenticated, check: secret.Unauthenticated},
		"a CA bundle, no scheme":                        {spec: bundled},
		"a certificate that may read this Secret alone": {spec: f.spec(byCert("alice"))},
		"a certificate without grant":                   {spec: f.spec(byCert("mallory")), kind: secret.Denied, check: secret.Denied},
		"a kubeconfig with a token": {spec: f.byKubeconfig(), prepare: func() {
			f.kubeconfig(api.Cluster{}, api.AuthInfo{Token: token})
		}},
		"a kubeconfig with a certificate": {spec: f.byKubeconfig(), prepare: func() {
			f.kubeconfig(api.Cluster{}, api.AuthInfo{ClientCertificateData: alice.CertData, ClientKeyData: alice.KeyData})
		}},
		"a kubeconfig with another server name": {spec: f.byKubeconfig(), prepare: func() {
			f.kubeconfig(api.Cluster{TLSServerName: "elsewhere.example"}, api.AuthInfo{Token: token})
		}, kind: secret.Invalid, check: secret.Invalid},
	} {
		t.Run(name, func(t *testing.T) {
			if tc.prepare != nil {
				tc.prepare()
			}
			f := f
			f.T = t
			s := f.open(tc.spec)
			got, err := s.Get(t.Context(), secret.Ref{Key: "db"})
			if secret.KindOf(err) != tc.kind {
				t.Errorf("get: %v, want kind %q", err, tc.kind)
			}
			if tc.kind == "" && string(field(got).Reveal()) != "v" {
				t.Errorf("the value is another")
			}
			if err := s.Check(t.Context()); secret.KindOf(err) != tc.check {
				t.Errorf("check: %v, want kind %q", err, tc.check)
			}
		})
	}
}

func TestKubeconfigsThatAreRefused(t *testing.T) {
	f := newFixture(t)
	token := api.AuthInfo{Token: "t"}
	for name, tc := range map[string]struct {
		cluster api.Cluster
		user    api.AuthInfo
		names   string
	}{
		"a program":                    {user: api.AuthInfo{Exec: &api.ExecConfig{Command: "sh", APIVersion: "client.authentication.k8s.io/v1", InteractiveMode: api.NeverExecInteractiveMode}}, names: "exec"},
		"a plugin":                     {user: api.AuthInfo{AuthProvider: &api.AuthProviderConfig{Name: "oidc"}}, names: "auth-provider"},
		"a token file":                 {user: api.AuthInfo{TokenFile: "/etc/hostname"}, names: "tokenFile"},
		"a certificate file":           {user: api.AuthInfo{ClientCertificate: "/etc/hostname"}, names: "client-certificate"},
		"a key file":                   {user: api.AuthInfo{ClientCertificateData: []byte("c"), ClientKey: "/etc/hostname"}, names: "client-key"},
		"a certificate without key":    {user: api.AuthInfo{ClientCertificateData: []byte("c")}, names: "client-key-data"},
		"a password":                   {user: api.AuthInfo{Username: "u", Password: "p"}, names: "username"},
		"somebody else":                {user: api.AuthInfo{Token: "t", Impersonate: "system:admin"}, names: "as"},
		"nobody":                       {names: "token"},
		"any server":                   {cluster: api.Cluster{InsecureSkipTLSVerify: true}, user: token, names: "insecure-skip-tls-verify"},
		"a CA file":                    {cluster: api.Cluster{CertificateAuthority: "/etc/hostname"}, user: token, names: "certificate-authority"},
		"a proxy":                      {cluster: api.Cluster{ProxyURL: "http://proxy.example"}, user: token, names: "proxy-url"},
		"a server with a password":     {cluster: api.Cluster{Server: "https://u:p@host"}, user: token, names: "server"},
		"a server of no known scheme":  {cluster: api.Cluster{Server: "unix:///sock"}, user: token, names: "server"},
		"a certificate that is no PEM": {user: api.AuthInfo{ClientCertificateData: []byte("c"), ClientKeyData: []byte("k")}, names: "certificate"},
	} {
		t.Run(name, func(t *testing.T) {
			f.kubeconfig(tc.cluster, tc.user)
			_, err := Provider().Open(t.Context(), f.byKubeconfig(), f.env)
			if !errors.Is(err, secret.Invalid) || !strings.Contains(err.Error(), tc.names) {
				t.Errorf("error %v, want Invalid that names %q", err, tc.names)
			}
		})
	}
	for name, content := range map[string]string{
		"no kubeconfig":      "password: [" + providertest.Mark,
		"no context":         "apiVersion: v1\nkind: Config\ncurrent-context: none\n",
		"a dangling context": "apiVersion: v1\nkind: Config\ncurrent-context: a\ncontexts: [{name: a, context: {cluster: c, user: u}}]\n",
		"no server": "apiVersion: v1\nkind: Config\ncurrent-context: a\ncontexts: [{name: a, context: {cluster: c, user: u}}]\n" +
			"clusters: [{name: c, cluster: {}}]\nusers: [{name: u, user: {token: t}}]\n",
	} {
		t.Run(name, func(t *testing.T) {
			f.env.Put("", providertest.Namespace, "kubeconfig", map[string]string{"config": content})
			_, err := Provider().Open(t.Context(), f.byKubeconfig(), f.env)
			if !errors.Is(err, secret.Invalid) || !strings.Contains(err.Error(), "authRef") || strings.Contains(err.Error(), providertest.Mark) {
				t.Errorf("error %v, want Invalid that names authRef and quotes nothing", err)
			}
		})
	}
}

// Every reference goes to the Env as the manifest has it.
func TestReferencesAreResolvedByTheEnv(t *testing.T) {
	other := "other"
	in := func(name, key string) esmeta.SecretKeySelector {
		return esmeta.SecretKeySelector{Name: name, Key: key, Namespace: &other}
	}
	authRef, authRefIn := ref("kubeconfig", "config"), in("kubeconfig", "config")
	token := &esv1.KubernetesAuth{Token: &esv1.TokenAuth{BearerToken: in("t", "token")}}
	for field, tc := range map[string]struct{ bare, named *esv1.KubernetesProvider }{
		"server.caProvider": {
			bare:  &esv1.KubernetesProvider{Auth: token, Server: esv1.KubernetesServer{CAProvider: &esv1.CAProvider{Type: "Secret", Name: "ca", Key: "k"}}},
			named: &esv1.KubernetesProvider{Auth: token, Server: esv1.KubernetesServer{CAProvider: &esv1.CAProvider{Type: "Secret", Name: "ca", Key: "k", Namespace: &other}}},
		},
		"authRef": {
			bare:  &esv1.KubernetesProvider{AuthRef: &authRef},
			named: &esv1.KubernetesProvider{AuthRef: &authRefIn},
		},
		"auth.token.bearerToken": {
			bare:  &esv1.KubernetesProvider{Auth: byToken("t")},
			named: &esv1.KubernetesProvider{Auth: &esv1.KubernetesAuth{Token: &esv1.TokenAuth{BearerToken: in("x", "token")}}},
		},
		"auth.cert.clientCert": {
			bare:  &esv1.KubernetesProvider{Auth: byCert("c")},
			named: &esv1.KubernetesProvider{Auth: &esv1.KubernetesAuth{Cert: &esv1.CertAuth{ClientCert: in("x", "cert"), ClientKey: in("x", "key")}}},
		},
		"auth.cert.clientKey": {
			bare:  &esv1.KubernetesProvider{Auth: &esv1.KubernetesAuth{Cert: &esv1.CertAuth{ClientCert: in("c", "cert"), ClientKey: ref("c", "key")}}},
			named: &esv1.KubernetesProvider{Auth: &esv1.KubernetesAuth{Cert: &esv1.CertAuth{ClientCert: in("c", "cert"), ClientKey: in("x", "key")}}},
		},
		"auth.serviceAccount": {
			bare:  &esv1.KubernetesProvider{Auth: byAccount("sa")},
			named: &esv1.KubernetesProvider{Auth: &esv1.KubernetesAuth{ServiceAccount: &esmeta.ServiceAccountSelector{Name: "sa", Namespace: &other}}},
		},
	} {
		t.Run(field, func(t *testing.T) {
			env := providertest.NewEnv(t)
			env.Referent = true
			env.Put("", other, "t", map[string]string{"token": "t"})
			env.Put("", other, "c", map[string]string{"cert": "c"})
			first := func(spec *esv1.KubernetesProvider) error {
				s, err := Provider().Open(t.Context(), spec, env)
				if err != nil {
					return err
				}
				_, err = s.(provider.Reader).Get(t.Context(), secret.Ref{Key: "k"})
				return err
			}
			if err := first(tc.bare); !errors.Is(err, provider.ErrReferent) || !strings.Contains(err.Error(), root+field) {
				t.Errorf("without a namespace: %v, want provider.ErrReferent that names the field", err)
			}
			if err := first(tc.named); errors.Is(err, provider.ErrReferent) || !strings.Contains(err.Error(), root+field) {
				t.Errorf("with a namespace: %v, want what is wrong there, with the field", err)
			}
		})
	}
}

func TestTokensThatAreNone(t *testing.T) {
	env := providertest.NewEnv(t)
	for name, value := range map[string]string{"empty": " \n", "two lines": "a\nb", "not ASCII": "tok\u00e9n"} {
		t.Run(name, func(t *testing.T) {
			env.Put("", providertest.Namespace, "t", map[string]string{"token": value})
			_, err := Provider().Open(t.Context(), &esv1.KubernetesProvider{Auth: byToken("t")}, env)
			if !errors.Is(err, secret.Unauthenticated) || !strings.Contains(err.Error(), "bearerToken") {
				t.Errorf("error %v, want Unauthenticated that names the field", err)
			}
		})
	}
}
