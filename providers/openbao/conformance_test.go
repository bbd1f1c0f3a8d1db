package openbao

import (
	"context"
	"net/http"
	"testing"
	"time"

	esv1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/provider/providertest"
	"github.com/keyferry/keyferry/secret"
)

// KV v2 itself turns numbers into float64, so that the values are texts here.
func TestConformance(t *testing.T) {
	const retryAfter = 7 * time.Second
	f := newFixture(t)
	proxy := providertest.NewProxy(t, f.bao.Address, nil, retryAfter)
	f.do(http.MethodPut, "sys/policies/acl/conformance", map[string]any{"policy": `path "secret/*" { capabilities = ["read", "list"] }`})
	f.do(http.MethodPost, "sys/auth/conformance", map[string]string{"type": "userpass"})
	for name, policy := range map[string]string{"conformer": "conformance", "weakling": "default", "stranger": "conformance"} {
		f.do(http.MethodPost, "auth/conformance/users/"+name, map[string]string{"password": "right-password", "token_policies": policy})
		f.credential(name, map[string]string{"password": "right-password"})
	}
	f.credential("stranger", map[string]string{"password": providertest.Mark})
	write := func(t providertest.T, method, path string, body any) {
		t.Helper()
		if _, err := f.bao.Do(t.Context(), method, path, body); err != nil {
			t.Fatalf("%s %s: %v", method, path, err)
		}
	}
	providertest.Run(t, providertest.Harness{
		Env: f.env, Reached: proxy.Reached(), RetryAfter: retryAfter, Payload: providertest.Text,
		Abilities: []providertest.Ability{
			providertest.Reader, providertest.Lister, providertest.Checker, providertest.Versions,
			providertest.Metadata, providertest.Paths, providertest.Tags,
		},
		Open: func(ctx context.Context, s providertest.Situation) (provider.Store, error) {
			name := "conformer"
			switch s {
			case providertest.BadCredential:
				name = "stranger"
			case providertest.Underprivileged:
				name = "weakling"
			}
			return Provider().Open(ctx, &esv1.OpenBaoProvider{
				Server: proxy.URL(s), Path: new("secret"),
				Auth: &esv1.OpenBaoAuth{UserPass: &esv1.OpenBaoUserPassAuth{Path: "conformance", Username: name, SecretRef: *ref(name, "password")}},
			}, f.env)
		},
		Seed: func(t providertest.T, entries ...providertest.Entry) {
			for _, e := range entries {
				write(t, http.MethodPost, "secret/data/"+e.Key, map[string]any{"data": map[string]string{"text": string(e.Value)}})
				if e.Tags != nil {
					write(t, http.MethodPost, "secret/metadata/"+e.Key, map[string]any{"custom_metadata": e.Tags})
				}
			}
		},
		Delete: func(t providertest.T, key string) { write(t, http.MethodDelete, "secret/data/"+key, nil) },
		Value: func(s secret.Secret) secret.Value {
			members, err := s.Value.Object()
			if err != nil {
				t.Errorf("no JSON object: %v", err)
			}
			return members["text"]
		},
		Without: map[string]string{"list/pages": "a listing has one page, however long"},
	})
}
