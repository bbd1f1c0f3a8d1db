package openbao

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	esv1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	esmeta "github.com/keyferry/keyferry/api/meta/v1"
	"github.com/keyferry/keyferry/internal/testenv"
	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/provider/providertest"
	"github.com/keyferry/keyferry/secret"
)

func ref(name, key string) *esmeta.SecretKeySelector {
	return &esmeta.SecretKeySelector{Name: name, Key: key}
}

func wantKind(t *testing.T, err error, want secret.Kind) {
	t.Helper()
	if got := secret.KindOf(err); got != want {
		t.Errorf("kind %q, want %q: %v", got, want, err)
	}
}

type fixture struct {
	*testing.T
	bao *testenv.Bao
	env *providertest.Env
}

// newFixture is a server of the test's own.
func newFixture(t *testing.T) fixture {
	t.Helper()
	f := fixture{t, testenv.StartOpenBao(t), providertest.NewEnv(t)}
	f.credential("root", map[string]string{"token": f.bao.RootToken})
	return f
}

func (f fixture) credential(name string, data map[string]string) {
	f.env.Put("", providertest.Namespace, name, data)
}

func (f fixture) do(method, path string, body any) []byte {
	f.Helper()
	b, err := f.bao.Do(f.Context(), method, path, body)
	if err != nil {
		f.Fatal(err)
	}
	return b
}

func (f fixture) open(auth esv1.OpenBaoAuth, changes ...func(*esv1.OpenBaoProvider)) provider.Store {
	f.Helper()
	s := &esv1.OpenBaoProvider{Server: f.bao.Address, Path: new("secret"), Auth: &auth}
	for _, change := range changes {
		change(s)
	}
	opened, err := Provider().Open(f.Context(), s, f.env)
	if err != nil {
		f.Fatal(err)
	}
	return opened
}

func TestAuthMethods(t *testing.T) {
	f := newFixture(t)
	f.do(http.MethodPost, "secret/data/auth/x", map[string]any{"data": map[string]string{"v": "1"}})
	f.do(http.MethodPut, "sys/policies/acl/reader", map[string]any{"policy": `path "secret/data/auth/*" { capabilities = ["read"] }`})
	f.do(http.MethodPost, "sys/auth/userpass", map[string]string{"type": "userpass"})
	f.do(http.MethodPost, "auth/userpass/users/ann", map[string]string{"password": "right-password", "token_policies": "reader"})
	f.do(http.MethodPost, "sys/auth/approle", map[string]string{"type": "approle"})
	f.do(http.MethodPost, "auth/approle/role/r", map[string]string{"token_policies": "reader", "role_id": "role-1"})
	var id struct {
		Data struct {
			SecretID string `json:"secret_id"`
		}
	}
	if err := json.Unmarshal(f.do(http.MethodPost, "auth/approle/role/r/secret-id", map[string]any{}), &id); err != nil {
		t.Fatal(err)
	}
	f.credential("good", map[string]string{"password": "right-password", "secret": id.Data.SecretID, "token": f.bao.RootToken})
	f.credential("bad", map[string]string{"password": "wrong-password", "secret": "wrong-secret", "token": "wrong-token"})

	for name, auth := range map[string]func(credential string) esv1.OpenBaoAuth{
		"token": func(c string) esv1.OpenBaoAuth { return esv1.OpenBaoAuth{TokenSecretRef: ref(c, "token")} },
		"userPass": func(c string) esv1.OpenBaoAuth {
			return esv1.OpenBaoAuth{UserPass: &esv1.OpenBaoUserPassAuth{Username: "ann", SecretRef: *ref(c, "password")}}
		},
		"appRole": func(c string) esv1.OpenBaoAuth {
			return esv1.OpenBaoAuth{AppRole: &esv1.OpenBaoAppRole{RoleID: "role-1", SecretRef: *ref(c, "secret")}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			good := f.open(auth("good"))
			if _, err := good.(provider.Reader).Get(t.Context(), secret.Ref{Key: "auth/x"}); err != nil {
				t.Error(err)
			}
			if err := good.(provider.Checker).Check(t.Context()); err != nil {
				t.Errorf("check: %v", err)
			}
			if err := good.Close(); err != nil {
				t.Error(err)
			}
			bad := f.open(auth("bad"))
			_, err := bad.(provider.Reader).Get(t.Context(), secret.Ref{Key: "auth/x"})
			wantKind(t, err, secret.Unauthenticated)
			wantKind(t, bad.(provider.Checker).Check(t.Context()), secret.Unauthenticated)
		})
	}
}

func TestCheckLooksAtTheMount(t *testing.T) {
	f := newFixture(t)
	f.do(http.MethodPut, "sys/policies/acl/elsewhere", map[string]any{"policy": `path "kv1/*" { capabilities = ["read"] }`})
	var made struct {
		Auth struct {
			ClientToken string `json:"client_token"`
		}
	}
	if err := json.Unmarshal(f.do(http.MethodPost, "auth/token/create", map[string]any{"policies": []string{"elsewhere"}}), &made); err != nil {
		t.Fatal(err)
	}
	f.credential("elsewhere", map[string]string{"token": made.Auth.ClientToken})
	for name, tc := range map[string]struct {
		path    *string
		version esv1.OpenBaoKVStoreVersion
		token   string
		kind    secret.Kind
	}{
		"KV v2":                        {path: new("secret")},
		"KV v1":                        {path: new("kv1/"), version: "v1"},
		"no mount, nothing to look at": {},
		"v1 where v2 is":               {path: new("secret"), version: "v1", kind: secret.Invalid},
		"v2 where v1 is":               {path: new("kv1"), version: "v2", kind: secret.Invalid},
		"another engine":               {path: new("cubbyhole"), kind: secret.Invalid},
		"nothing there":                {path: new("nowhere"), kind: secret.Denied},
		"the mount of somebody else":   {path: new("secret"), token: "elsewhere", kind: secret.Denied},
		"a mount that a policy names":  {path: new("kv1"), version: "v1", token: "elsewhere"},
	} {
		t.Run(name, func(t *testing.T) {
			token := "root"
			if tc.token != "" {
				token = tc.token
			}
			s := f.open(esv1.OpenBaoAuth{TokenSecretRef: ref(token, "token")}, func(s *esv1.OpenBaoProvider) {
				s.Path, s.Version = tc.path, tc.version
			})
			wantKind(t, s.(provider.Checker).Check(t.Context()), tc.kind)
		})
	}
}

func TestNamespacesAndTLS(t *testing.T) {
	f := newFixture(t)
	f.do(http.MethodPost, "sys/namespaces/team", map[string]any{})
	f.do(http.MethodPost, "team/sys/mounts/kv", map[string]any{"type": "kv", "options": map[string]string{"version": "1"}})
	f.do(http.MethodPost, "team/kv/x", map[string]string{"v": "team"})
	f.do(http.MethodPut, "sys/policies/acl/team", map[string]any{"policy": `path "team/kv/*" { capabilities = ["read"] }`})
	f.do(http.MethodPost, "sys/auth/people", map[string]string{"type": "userpass"})
	f.do(http.MethodPost, "auth/people/users/ann", map[string]string{"password": "right-password", "token_policies": "team"})
	f.credential("ann", map[string]string{"password": "right-password"})
	f.env.Put("ConfigMap", providertest.Namespace, "ca", map[string]string{"ca.crt": string(f.bao.CA)})

	s := f.open(esv1.OpenBaoAuth{Namespace: new(""), UserPass: &esv1.OpenBaoUserPassAuth{Path: "people", Username: "ann", SecretRef: *ref("ann", "password")}},
		func(s *esv1.OpenBaoProvider) {
			s.Server, s.CAProvider = f.bao.TLSAddress, &esv1.CAProvider{Type: "ConfigMap", Name: "ca", Key: "ca.crt"}
			s.Path, s.Version, s.Namespace = new("kv"), "v1", new("team")
		})
	got, err := s.(provider.Reader).Get(t.Context(), secret.Ref{Key: "x"})
	if err != nil {
		t.Fatal(err)
	}
	if string(got.Value.Reveal()) != `{"v":"team"}` {
		t.Error("another secret was read")
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestValidate(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*esv1.OpenBaoProvider)
		fields []string
	}{
		"no server":              {change: func(s *esv1.OpenBaoProvider) { s.Server = "bao:8200" }, fields: []string{"openBao.server"}},
		"a path that climbs out": {change: func(s *esv1.OpenBaoProvider) { s.Path = new("../sys") }, fields: []string{"openBao.path"}},
		"another version":        {change: func(s *esv1.OpenBaoProvider) { s.Version = "2" }, fields: []string{"openBao.version"}},
		"two bundles": {
			change: func(s *esv1.OpenBaoProvider) {
				s.CABundle, s.CAProvider = []byte("x"), &esv1.CAProvider{Name: "ca", Key: "k"}
			},
			fields: []string{"openBao.caBundle", "openBao.caProvider"},
		},
		"a bundle without a key": {change: func(s *esv1.OpenBaoProvider) { s.CAProvider = &esv1.CAProvider{Name: "ca"} }, fields: []string{"openBao.caProvider"}},
		"no auth":                {change: func(s *esv1.OpenBaoProvider) { s.Auth = nil }, fields: []string{"openBao.auth"}},
		"two methods": {
			change: func(s *esv1.OpenBaoProvider) {
				s.Auth.UserPass = &esv1.OpenBaoUserPassAuth{Username: "u", SecretRef: *ref("s", "k")}
			},
			fields: []string{"openBao.auth.tokenSecretRef", "openBao.auth.userPass"},
		},
		"two roles": {
			change: func(s *esv1.OpenBaoProvider) {
				s.Auth = &esv1.OpenBaoAuth{AppRole: &esv1.OpenBaoAppRole{RoleID: "r", RoleRef: ref("s", "r"), SecretRef: *ref("s", "k")}}
			},
			fields: []string{"roleId", "roleRef"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := &esv1.OpenBaoProvider{Server: "https://bao.test", Auth: &esv1.OpenBaoAuth{TokenSecretRef: ref("s", "k")}}
			if err := Provider().Validate(s); err != nil {
				t.Fatalf("before the change: %v", err)
			}
			tc.change(s)
			err := Provider().Validate(s)
			wantKind(t, err, secret.Invalid)
			for _, field := range tc.fields {
				if !strings.Contains(err.Error(), field) {
					t.Errorf("the error does not name %s: %v", field, err)
				}
			}
		})
	}
}
