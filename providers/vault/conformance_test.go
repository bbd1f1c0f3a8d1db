package vault

import (
	"context"
	"encoding/json"
	"net/http"
	"testing"
	"time"

	esv1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/provider/providertest"
	"github.com/keyferry/keyferry/secret"
)

const retryAfter = 7 * time.Second

// harness is what both versions of the KV engine have in common.
func harness(f fixture, path string, version esv1.VaultKVStoreVersion) providertest.Harness {
	f.policy("conformance", path+"/*")
	f.user("conformer", "conformance", nil)
	f.user("weakling", "default", nil)
	f.user("stranger", "conformance", nil) // of its own: wrong passwords lock a user out
	f.credential("stranger", map[string]string{"password": providertest.Mark})
	proxy := providertest.NewProxy(f, f.bao.Address, nil, retryAfter)
	return providertest.Harness{
		Env: f.env, Reached: proxy.Reached(), RetryAfter: retryAfter,
		Open: func(ctx context.Context, s providertest.Situation) (provider.Store, error) {
			name := "conformer"
			switch s {
			case providertest.BadCredential:
				name = "stranger"
			case providertest.Underprivileged:
				name = "weakling"
			}
			return Provider().Open(ctx, &esv1.VaultProvider{
				Server: proxy.URL(s), Path: &path, Version: version,
				Auth: &esv1.VaultAuth{UserPass: &esv1.VaultUserPassAuth{Path: "users", Username: name, SecretRef: *ref(name, "password")}},
			}, f.env)
		},
		Without: map[string]string{"list/pages": "a listing has one page, however long"},
	}
}

// write calls the server as root.
func (f fixture) write(t providertest.T, method, path string, body any) {
	t.Helper()
	if _, err := f.bao.Do(t.Context(), method, path, body); err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
}

func TestConformanceOfKV1(t *testing.T) {
	f := ownFixture(t)
	h := harness(f, "kv1", esv1.VaultKVStoreV1)
	h.Payload = providertest.Objects
	h.Abilities = []providertest.Ability{providertest.Reader, providertest.Lister, providertest.Checker, providertest.Paths}
	h.Seed = func(t providertest.T, entries ...providertest.Entry) {
		for _, e := range entries {
			f.write(t, http.MethodPost, "kv1/"+e.Key, json.RawMessage(e.Value))
		}
	}
	h.Delete = func(t providertest.T, key string) { f.write(t, http.MethodDelete, "kv1/"+key, nil) }
	h.Without["get/empty value"] = "the server keeps no secret without data"
	providertest.Run(t, h)
}

// KV v2 itself turns numbers into float64, so that the values are texts here.
func TestConformanceOfKV2(t *testing.T) {
	f := ownFixture(t)
	h := harness(f, "secret", esv1.VaultKVStoreV2)
	h.Payload = providertest.Text
	h.Abilities = []providertest.Ability{
		providertest.Reader, providertest.Lister, providertest.Checker, providertest.Versions,
		providertest.Metadata, providertest.Paths, providertest.Tags,
	}
	h.Seed = func(t providertest.T, entries ...providertest.Entry) {
		for _, e := range entries {
			f.write(t, http.MethodPost, "secret/data/"+e.Key, map[string]any{"data": map[string]string{"text": string(e.Value)}})
			if e.Tags != nil {
				f.write(t, http.MethodPost, "secret/metadata/"+e.Key, map[string]any{"custom_metadata": e.Tags})
			}
		}
	}
	h.Delete = func(t providertest.T, key string) { f.write(t, http.MethodDelete, "secret/data/"+key, nil) }
	h.Value = func(s secret.Secret) secret.Value {
		members, err := s.Value.Object()
		if err != nil {
			t.Errorf("no JSON object: %v", err)
		}
		return members["text"]
	}
	providertest.Run(t, h)
}
