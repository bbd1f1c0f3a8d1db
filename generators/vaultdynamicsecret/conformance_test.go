package vaultdynamicsecret

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"

	esv1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	"github.com/keyferry/keyferry/api/generators/v1alpha1"
	esmeta "github.com/keyferry/keyferry/api/meta/v1"
	"github.com/keyferry/keyferry/generator/generatortest"
	"github.com/keyferry/keyferry/internal/testenv"
	"github.com/keyferry/keyferry/provider/providertest"
)

const retryAfter = 7 * time.Second

// fixture is a real server, with users who may make what the policy allows.
type fixture struct {
	*testing.T
	bao *testenv.Bao
	env *providertest.Env
}

func newFixture(t *testing.T, policy string) fixture {
	t.Helper()
	f := fixture{T: t, bao: testenv.StartOpenBao(t), env: providertest.NewEnv(t)}
	f.do(http.MethodPut, "sys/policies/acl/maker", map[string]any{"policy": policy})
	f.do(http.MethodPut, "sys/policies/acl/made", map[string]any{"policy": `path "secret/*" { capabilities = ["read"] }`})
	f.do(http.MethodPost, "sys/auth/users", map[string]string{"type": "userpass"})
	for user, policies := range map[string]string{"maker": "maker,made", "weakling": "default", "stranger": "maker"} {
		f.do(http.MethodPost, "auth/users/users/"+user, map[string]any{"password": "right-password", "token_policies": policies, "token_ttl": "4h", "token_max_ttl": "24h"})
		f.env.Put("", providertest.Namespace, user, map[string]string{"password": "right-password"})
	}
	f.env.Put("", providertest.Namespace, "stranger", map[string]string{"password": providertest.Mark})
	return f
}

func (f fixture) do(method, path string, body any) []byte {
	f.Helper()
	b, err := f.bao.Do(f.Context(), method, path, body)
	if err != nil {
		f.Fatal(err)
	}
	return b
}

// tokens returns the accessors of all tokens that carry the policy.
func (f fixture) tokens(t providertest.T, policy string) []string {
	t.Helper()
	var list struct{ Data struct{ Keys []string } }
	b, err := f.bao.Do(t.Context(), "LIST", "auth/token/accessors", nil)
	if err == nil {
		err = json.Unmarshal(b, &list)
	}
	if err != nil {
		t.Fatalf("list the tokens: %v", err)
	}
	return slices.DeleteFunc(list.Data.Keys, func(accessor string) bool {
		b, err := f.bao.Do(t.Context(), http.MethodPost, "auth/token/lookup-accessor", map[string]string{"accessor": accessor})
		var v struct{ Data struct{ Policies []string } }
		return err != nil || json.Unmarshal(b, &v) != nil || !slices.Contains(v.Data.Policies, policy)
	})
}

// leases returns the leases below a path.
func (f fixture) leases(t providertest.T, path string) []string {
	t.Helper()
	b, err := f.bao.Do(t.Context(), "LIST", "sys/leases/lookup/"+path, nil)
	if err != nil && strings.Contains(err.Error(), "404") {
		return nil
	}
	var list struct{ Data struct{ Keys []string } }
	if err != nil || json.Unmarshal(b, &list) != nil {
		t.Fatalf("list the leases: %v", err)
	}
	return list.Data.Keys
}

// harness is what all harnesses have in common; the path, the parameters and the type
// of the result are theirs.
func (f fixture) harness(spec v1alpha1.VaultDynamicSecretSpec) generatortest.Harness {
	proxy := providertest.NewProxy(f, f.bao.Address, nil, retryAfter)
	with := func(change func(*v1alpha1.VaultDynamicSecretSpec), s providertest.Situation) *v1alpha1.VaultDynamicSecretSpec {
		out := spec.DeepCopy()
		user := "maker"
		switch s {
		case providertest.BadCredential:
			user = "stranger"
		case providertest.Underprivileged:
			user = "weakling"
		}
		out.Provider = &esv1.VaultProvider{
			Server: proxy.URL(s),
			Auth:   &esv1.VaultAuth{UserPass: &esv1.VaultUserPassAuth{Path: "users", Username: user, SecretRef: esmeta.SecretKeySelector{Name: user, Key: "password"}}},
		}
		if change != nil {
			change(out)
		}
		return out
	}
	bad := func(change func(*v1alpha1.VaultDynamicSecretSpec)) any { return with(change, providertest.Good) }
	return generatortest.Harness{
		Env: f.env, Generator: Generator(), Reached: proxy.Reached(), RetryAfter: retryAfter,
		Spec: func(s providertest.Situation) any { return with(nil, s) },
		Invalid: map[string]any{
			"spec.provider":        bad(func(s *v1alpha1.VaultDynamicSecretSpec) { s.Provider = nil }),
			"spec.provider.server": bad(func(s *v1alpha1.VaultDynamicSecretSpec) { s.Provider.Server = "vault" }),
			"spec.provider.auth":   bad(func(s *v1alpha1.VaultDynamicSecretSpec) { s.Provider.Auth = nil }),
			"spec.path":            bad(func(s *v1alpha1.VaultDynamicSecretSpec) { s.Path = "/" }),
			"spec.resultType":      bad(func(s *v1alpha1.VaultDynamicSecretSpec) { s.ResultType = "All" }),
			"spec.parameters":      bad(func(s *v1alpha1.VaultDynamicSecretSpec) { s.Parameters = &apiextensionsv1.JSON{Raw: []byte(`[1]`)} }),
			"spec.retrySettings.maxRetries": bad(func(s *v1alpha1.VaultDynamicSecretSpec) {
				s.RetrySettings = &esv1.SecretStoreRetrySettings{MaxRetries: new(int32(-1))}
			}),
			"spec.retrySettings.retryInterval": bad(func(s *v1alpha1.VaultDynamicSecretSpec) {
				s.RetrySettings = &esv1.SecretStoreRetrySettings{RetryInterval: new("often")}
			}),
		},
	}
}

const cleaning = `
path "sys/leases/revoke" {
  capabilities = ["update"]
}
path "auth/token/revoke-accessor" {
  capabilities = ["update"]
}
path "auth/token/renew-accessor" {
  capabilities = ["update"]
}
`

// Tokens can be renewed. Those of the logins count as alive too.
func TestConformanceOfTokens(t *testing.T) {
	f := newFixture(t, cleaning+`path "auth/token/create" { capabilities = ["update"] }`)
	h := f.harness(v1alpha1.VaultDynamicSecretSpec{
		Path: "auth/token/create", Method: "POST", ResultType: v1alpha1.VaultDynamicSecretResultTypeAuth,
		Parameters: &apiextensionsv1.JSON{Raw: []byte(`{"policies":["made"],"ttl":"1h","metadata":{"for":"a test"}}`)},
	})
	h.Secret = []string{"client_token"}
	h.Public = []string{
		"accessor", "policies", "token_policies", "metadata", "lease_duration", "renewable", "entity_id", "token_type", "orphan", "num_uses", "mfa_requirement",
	}
	h.Lasts, h.Renews = time.Hour, true
	h.Live = func(t generatortest.T) int { return len(f.tokens(t, "made")) }
	h.Lose = func(generatortest.T) { f.end("made") }
	generatortest.Run(t, h)
}

// Certificates with leases end with them, and cannot be renewed.
func TestConformanceOfCertificates(t *testing.T) {
	f := newFixture(t, cleaning+`path "pki/issue/web" { capabilities = ["update"] }`)
	f.pki("")
	h := f.harness(v1alpha1.VaultDynamicSecretSpec{
		Path: "/pki/issue/web", Method: "PUT", Parameters: &apiextensionsv1.JSON{Raw: []byte(`{"common_name":"web.test"}`)},
	})
	h.Secret = []string{"private_key", "certificate", "serial_number"}
	h.Public = []string{"issuing_ca", "private_key_type", "expiration", "not_before", "ca_chain"}
	h.Lasts = time.Hour
	h.Live = func(t generatortest.T) int { return len(f.leases(t, "pki/issue/web")) + len(f.tokens(t, "maker")) }
	h.Lose = func(t generatortest.T) {
		if _, err := f.bao.Do(t.Context(), http.MethodPut, "sys/leases/revoke-prefix/pki/issue/web", map[string]any{"sync": true}); err != nil {
			t.Errorf("revoke: %v", err)
		}
		f.end("maker")
	}
	generatortest.Run(t, h)
}

// What has no lease leaves nothing behind, and the login neither.
func TestConformanceOfWhatHasNoLease(t *testing.T) {
	f := newFixture(t, `path "sys/tools/random/*" { capabilities = ["update"] }`)
	h := f.harness(v1alpha1.VaultDynamicSecretSpec{Path: "sys/tools/random/32", Method: "POST"})
	h.Secret = []string{"random_bytes"}
	generatortest.Run(t, h)
	if left := f.tokens(t, "maker"); len(left) > 0 {
		t.Errorf("%d logins are left", len(left))
	}
}
