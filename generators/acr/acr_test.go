package acr

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keyferry/keyferry/api/generators/v1alpha1"
	esmeta "github.com/keyferry/keyferry/api/meta/v1"
	"github.com/keyferry/keyferry/generator/generatortest"
	"github.com/keyferry/keyferry/internal/httpx"
	"github.com/keyferry/keyferry/internal/restapi/resttest"
	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/provider/providertest"
	"github.com/keyferry/keyferry/secret"
)

const (
	registryHost = "example.azurecr.io"
	tenant       = "7a1f0c6e-0000-4000-8000-000000000001"
	puller       = "7a1f0c6e-0000-4000-8000-000000000002"
	stranger     = "7a1f0c6e-0000-4000-8000-000000000003" // may not use the registry
	nodes        = "7a1f0c6e-0000-4000-8000-000000000004"
	password     = "the password of the principal"
)

// azure is Entra ID, the metadata service of a node, and one registry.
type azure struct {
	clock *providertest.Clock

	mu    sync.Mutex
	made  int
	forms []url.Values // what was asked for, less what is secret
}

func refuse(w http.ResponseWriter, status int, code string) {
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, `{"error":%q,"error_description":%q}`, code, providertest.Mark)
}

// form returns the body of a POST, and keeps it.
func (a *azure) form(w http.ResponseWriter, r *http.Request) url.Values {
	if r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/x-www-form-urlencoded" || r.ParseForm() != nil {
		refuse(w, http.StatusMethodNotAllowed, "method")
		return nil
	}
	kept := url.Values{"": {r.Host + r.URL.Path}}
	for k, v := range r.PostForm {
		if !strings.HasSuffix(k, "_token") && k != "client_secret" && k != "client_assertion" {
			kept[k] = v
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.forms = append(a.forms, kept)
	return r.PostForm
}

// directory answers logins of the tenant.
func (a *azure) directory(w http.ResponseWriter, r *http.Request) {
	f := a.form(w, r)
	good := false
	switch {
	case f == nil:
		return
	case r.URL.Path != "/"+tenant+"/oauth2/v2.0/token" || f.Get("grant_type") != "client_credentials":
		refuse(w, http.StatusBadRequest, "invalid_request")
		return
	case f.Has("client_secret"):
		good = f.Get("client_secret") == password
	case f.Get("client_assertion_type") == "urn:ietf:params:oauth:client-assertion-type:jwt-bearer":
		good = strings.HasPrefix(f.Get("client_assertion"), "token of puller for [api://AzureADTokenExchange")
	}
	switch {
	case !good && f.Get("client_secret") == "mistyped": // what it answers depends on the error
		refuse(w, http.StatusBadRequest, "invalid_grant")
	case !good:
		refuse(w, http.StatusUnauthorized, "invalid_client")
	default:
		_, _ = fmt.Fprintf(w, `{"token_type":"Bearer","expires_in":3599,"access_token":"identity %s %s"}`, f.Get("client_id"), f.Get("scope"))
	}
}

// metadata answers requests of the node.
func (a *azure) metadata(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	switch {
	case r.Method != http.MethodGet || r.URL.Path != "/metadata/identity/oauth2/token" || r.Header.Get("Metadata") != "true" || q.Get("api-version") == "":
		refuse(w, http.StatusNotFound, "not_found")
	case q.Get("client_id") != "" && q.Get("client_id") != nodes, q.Get("msi_res_id") != "" && !strings.HasSuffix(q.Get("msi_res_id"), "/node"):
		refuse(w, http.StatusBadRequest, "identity_not_found")
	default:
		_, _ = fmt.Fprintf(w, `{"access_token":"identity %s %s.default","expires_on":"1"}`, nodes, q.Get("resource"))
	}
}

// registry exchanges tokens.
func (a *azure) registry(w http.ResponseWriter, r *http.Request) {
	f := a.form(w, r)
	switch {
	case f == nil:
		return
	case f.Get("service") != registryHost:
		refuse(w, http.StatusBadRequest, "service")
	case r.URL.Path == "/oauth2/exchange" && f.Get("grant_type") == "access_token":
		a.exchange(w, f)
	case r.URL.Path == "/oauth2/token" && f.Get("grant_type") == "refresh_token":
		switch {
		case !strings.HasPrefix(f.Get("refresh_token"), "ey"):
			refuse(w, http.StatusUnauthorized, "UNAUTHORIZED")
		case !strings.HasPrefix(f.Get("scope"), "repository:"):
			refuse(w, http.StatusBadRequest, "scope")
		default:
			_ = json.NewEncoder(w).Encode(map[string]string{"access_token": a.token("access", 75*time.Minute)})
		}
	default:
		refuse(w, http.StatusNotFound, "path")
	}
}

func (a *azure) exchange(w http.ResponseWriter, f url.Values) {
	switch f.Get("access_token") {
	case "identity " + puller + " https://management.azure.com/.default", "identity " + nodes + " https://management.azure.com/.default":
		_ = json.NewEncoder(w).Encode(map[string]string{"refresh_token": a.token("refresh", 3*time.Hour)})
	case "identity " + stranger + " https://management.azure.com/.default":
		refuse(w, http.StatusForbidden, "DENIED")
	default:
		refuse(w, http.StatusUnauthorized, "UNAUTHORIZED")
	}
}

func (a *azure) token(kind string, life time.Duration) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.made++
	return resttest.JWT(map[string]any{"exp": a.clock.Now().Add(life).Unix(), "kind": kind, "number": a.made})
}

func newWorld(t *testing.T, env *providertest.Env) (*azure, *resttest.World) {
	t.Helper()
	a := &azure{clock: env.Time}
	return a, resttest.NewWorld(t, map[string]http.Handler{
		"login.microsoftonline.com": http.HandlerFunc(a.directory),
		"169.254.169.254":           http.HandlerFunc(a.metadata),
		registryHost:                http.HandlerFunc(a.registry),
	})
}

func newEnv(t *testing.T) *providertest.Env {
	t.Helper()
	env := providertest.NewEnv(t)
	env.Put("Secret", providertest.Namespace, "principal", map[string]string{
		"id": puller, "stranger": stranger, "password": password + "\n", "wrong": providertest.Mark, "mistyped": "mistyped",
	})
	env.Put("ServiceAccount", providertest.Namespace, "puller", map[string]string{clientAnnotation: puller, tenantAnnotation: tenant})
	env.Put("ServiceAccount", providertest.Namespace, "stranger", map[string]string{clientAnnotation: puller, tenantAnnotation: tenant})
	env.Put("ServiceAccount", providertest.Namespace, "tenantless", map[string]string{clientAnnotation: puller})
	env.Put("ServiceAccount", providertest.Namespace, "plain", map[string]string{"a": "b"})
	env.Issue = func(_ context.Context, req provider.TokenRequest) (string, error) {
		name := req.ServiceAccount
		if name == "tenantless" {
			name = "puller"
		}
		return fmt.Sprintf("token of %s for %v", name, req.Audiences), nil
	}
	return env
}

func good() *v1alpha1.ACRAccessTokenSpec {
	s := &v1alpha1.ACRAccessTokenSpec{TenantID: tenant, ACRRegistry: registryHost, Scope: "repository:app:pull"}
	s.Auth.ServicePrincipal = &v1alpha1.AzureACRServicePrincipalAuth{}
	s.Auth.ServicePrincipal.SecretRef.ClientID = esmeta.SecretKeySelector{Name: "principal", Key: "id"}
	s.Auth.ServicePrincipal.SecretRef.ClientSecret = esmeta.SecretKeySelector{Name: "principal", Key: "password"}
	return s
}

func change(f func(*v1alpha1.ACRAccessTokenSpec)) *v1alpha1.ACRAccessTokenSpec {
	s := good()
	f(s)
	return s
}

func workload(account string) func(*v1alpha1.ACRAccessTokenSpec) {
	return func(s *v1alpha1.ACRAccessTokenSpec) {
		s.TenantID = ""
		s.Auth = v1alpha1.ACRAuth{WorkloadIdentity: &v1alpha1.AzureACRWorkloadIdentityAuth{ServiceAccountRef: &esmeta.ServiceAccountSelector{Name: account}}}
	}
}

func managed(id string) func(*v1alpha1.ACRAccessTokenSpec) {
	return func(s *v1alpha1.ACRAccessTokenSpec) {
		s.TenantID, s.Scope = "", ""
		s.Auth = v1alpha1.ACRAuth{ManagedIdentity: &v1alpha1.AzureACRManagedIdentityAuth{IdentityID: id}}
	}
}

func TestConformance(t *testing.T) {
	env := newEnv(t)
	_, w := newWorld(t, env)
	generatortest.Run(t, generatortest.Harness{
		Env: env, Generator: Generator(), Secret: []string{"password"}, Public: []string{"username"}, Lasts: 75 * time.Minute,
		Transport: w.Transport, Reached: w.Reached(), RetryAfter: resttest.RetryAfter,
		Spec: func(s providertest.Situation) any {
			spec := good()
			switch s {
			case providertest.BadCredential:
				spec.Auth.ServicePrincipal.SecretRef.ClientSecret.Key = "wrong"
			case providertest.Underprivileged:
				spec.Auth.ServicePrincipal.SecretRef.ClientID.Key = "stranger"
			}
			return spec
		},
		Invalid: map[string]any{
			"spec.registry":        change(func(s *v1alpha1.ACRAccessTokenSpec) { s.ACRRegistry = "https://example.azurecr.io" }),
			"spec.environmentType": change(func(s *v1alpha1.ACRAccessTokenSpec) { s.EnvironmentType = v1alpha1.AzureEnvironmentAzureStackCloud }),
			"spec.auth": change(func(s *v1alpha1.ACRAccessTokenSpec) {
				s.Auth.ManagedIdentity = &v1alpha1.AzureACRManagedIdentityAuth{}
			}),
			"spec.tenantId": change(func(s *v1alpha1.ACRAccessTokenSpec) { s.TenantID = "" }),
			"spec.auth.servicePrincipal.secretRef.clientId": change(func(s *v1alpha1.ACRAccessTokenSpec) {
				s.Auth.ServicePrincipal.SecretRef.ClientID.Key = ""
			}),
			"spec.auth.servicePrincipal.secretRef.clientSecret": change(func(s *v1alpha1.ACRAccessTokenSpec) {
				s.Auth.ServicePrincipal.SecretRef.ClientSecret.Name = ""
			}),
			"spec.auth.workloadIdentity.serviceAccountRef": change(func(s *v1alpha1.ACRAccessTokenSpec) {
				s.Auth = v1alpha1.ACRAuth{WorkloadIdentity: &v1alpha1.AzureACRWorkloadIdentityAuth{}}
			}),
		},
	})
}

func TestWhatIsAskedFor(t *testing.T) {
	scope := "https://management.azure.com/.default"
	assertion := "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
	login := "login.microsoftonline.com/" + tenant + "/oauth2/v2.0/token"
	access := url.Values{"": {registryHost + "/oauth2/token"}, "grant_type": {"refresh_token"}, "service": {registryHost}, "scope": {"repository:app:pull"}}
	exchange := func(tenants ...string) url.Values {
		v := url.Values{"": {registryHost + "/oauth2/exchange"}, "grant_type": {"access_token"}, "service": {registryHost}}
		if len(tenants) > 0 {
			v["tenant"] = tenants
		}
		return v
	}
	cases := map[string]struct {
		spec *v1alpha1.ACRAccessTokenSpec
		want []url.Values
		life time.Duration
	}{
		"service principal": {good(), []url.Values{
			{"": {login}, "grant_type": {"client_credentials"}, "client_id": {puller}, "scope": {scope}}, exchange(tenant), access,
		}, 75 * time.Minute},
		"service principal, all that it may": {change(func(s *v1alpha1.ACRAccessTokenSpec) { s.Scope = "" }), []url.Values{
			{"": {login}, "grant_type": {"client_credentials"}, "client_id": {puller}, "scope": {scope}}, exchange(tenant),
		}, 3 * time.Hour},
		"workload identity": {change(workload("puller")), []url.Values{
			{"": {login}, "grant_type": {"client_credentials"}, "client_id": {puller}, "client_assertion_type": {assertion}, "scope": {scope}}, exchange(), access,
		}, 75 * time.Minute},
		"workload identity, of the tenant of the spec": {change(func(s *v1alpha1.ACRAccessTokenSpec) {
			workload("tenantless")(s)
			s.TenantID = tenant
		}), []url.Values{
			{"": {login}, "grant_type": {"client_credentials"}, "client_id": {puller}, "client_assertion_type": {assertion}, "scope": {scope}}, exchange(tenant), access,
		}, 75 * time.Minute},
		"the node's identity":                 {change(managed("")), []url.Values{exchange()}, 3 * time.Hour},
		"one of the node's identities":        {change(managed(nodes)), []url.Values{exchange()}, 3 * time.Hour},
		"one of the node's, by its full name": {change(managed("/subscriptions/1/node")), []url.Values{exchange()}, 3 * time.Hour},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			env := newEnv(t)
			a, w := newWorld(t, env)
			out, err := Generator().Generate(t.Context(), c.spec, w.Env(env))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, a.forms); diff != "" {
				t.Error(diff)
			}
			if got := string(out.Values["username"].Reveal()); got != user || !out.Life.Expires.Equal(env.Time.Now().Add(c.life)) {
				t.Errorf("user %s, ends %v", got, out.Life.Expires)
			}
		})
	}
}

func TestRefusals(t *testing.T) {
	cases := map[string]struct {
		spec *v1alpha1.ACRAccessTokenSpec
		want secret.Kind
		in   string
	}{
		"an annotation is missing":       {change(workload("plain")), secret.Unauthenticated, clientAnnotation},
		"a tenant is missing":            {change(workload("tenantless")), secret.Unauthenticated, tenantAnnotation},
		"an account that is not trusted": {change(workload("stranger")), secret.Unauthenticated, "spec.auth.workloadIdentity"},
		"a refusal as a bad request": {change(func(s *v1alpha1.ACRAccessTokenSpec) {
			s.Auth.ServicePrincipal.SecretRef.ClientSecret.Key = "mistyped"
		}), secret.Unauthenticated, "spec.auth.servicePrincipal"},
		"an identity that the node has not": {change(managed(puller)), secret.Invalid, "spec.auth.managedIdentity"},
		"a scope that is none":              {change(func(s *v1alpha1.ACRAccessTokenSpec) { s.Scope = "everything" }), secret.Invalid, "spec.scope"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			env := newEnv(t)
			_, w := newWorld(t, env)
			_, err := Generator().Generate(t.Context(), c.spec, w.Env(env))
			if secret.KindOf(err) != c.want || !strings.Contains(err.Error(), c.in) || strings.Contains(err.Error(), providertest.Mark) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestClouds(t *testing.T) {
	for environment, want := range map[v1alpha1.AzureEnvironmentType]string{
		"":                                   "login.microsoftonline.com https://management.azure.com/.default",
		v1alpha1.AzureEnvironmentPublicCloud: "login.microsoftonline.com https://management.azure.com/.default",
		v1alpha1.AzureEnvironmentUSGovernmentCloud: "login.microsoftonline.us https://management.usgovcloudapi.net/.default",
		v1alpha1.AzureEnvironmentChinaCloud:        "login.chinacloudapi.cn https://management.chinacloudapi.cn/.default",
		v1alpha1.AzureEnvironmentGermanCloud:       "login.microsoftonline.de https://management.microsoftazure.de/.default",
	} {
		t.Run(string(environment), func(t *testing.T) {
			env := newEnv(t)
			got := ""
			hosts := map[string]http.Handler{}
			for _, host := range []string{"login.microsoftonline.com", "login.microsoftonline.us", "login.chinacloudapi.cn", "login.microsoftonline.de"} {
				hosts[host] = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					got = r.Host + " " + r.FormValue("scope")
					w.WriteHeader(http.StatusUnauthorized)
				})
			}
			w := resttest.NewWorld(t, hosts)
			spec := change(func(s *v1alpha1.ACRAccessTokenSpec) { s.EnvironmentType = environment })
			if _, err := Generator().Generate(t.Context(), spec, w.Env(env)); secret.KindOf(err) != secret.Unauthenticated || got != want {
				t.Errorf("asked %q, %v", got, err)
			}
		})
	}
}

// tenantEnv has the transport and the egress policy of tenants.
type tenantEnv struct{ *providertest.Env }

func (tenantEnv) HTTP(m provider.TLS) (*http.Client, error) {
	return httpx.New(httpx.Policy{}, httpx.Options{Proxy: func(*http.Request) (*url.URL, error) { return nil, nil }}).Client(m)
}

func TestTheNodesIdentityIsNotForTenants(t *testing.T) {
	_, err := Generator().Generate(t.Context(), change(managed("")), tenantEnv{newEnv(t)})
	if secret.KindOf(err) != secret.Denied || !strings.Contains(err.Error(), "--egress-allow") {
		t.Errorf("got %v", err)
	}
}
