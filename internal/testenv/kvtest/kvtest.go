package kvtest

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/keyferry/keyferry/internal/testenv"
	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/provider/providertest"
	"github.com/keyferry/keyferry/secret"
)

const (
	retryAfter = 7 * time.Second
	// users is where the method userpass is mounted.
	users = "conformance"
)

// Login says where a store is, and whose. The password is in the Secret that has the name
// of the user, under "password".
type Login struct {
	Server string
	// Path and Version are those of the KV engine.
	Path, Version string
	// Mount is where the method userpass is.
	Mount, User string
}

// Open opens a store of the provider that is held to the contract.
type Open func(context.Context, Login, provider.Env) (provider.Store, error)

// server is a real one of the test's own: versions are counted there.
type server struct{ *testenv.Bao }

// V1 returns the harness of a provider on a KV engine of version 1.
func V1(t providertest.T, open Open) providertest.Harness {
	t.Helper()
	s, h := start(t, Login{Path: "kv1", Version: "v1"}, open)
	h.Payload = providertest.Objects
	h.Seed = func(t providertest.T, entries ...providertest.Entry) {
		for _, e := range entries {
			s.do(t, http.MethodPost, "kv1/"+e.Key, json.RawMessage(e.Value))
		}
	}
	h.Delete = func(t providertest.T, key string) { s.do(t, http.MethodDelete, "kv1/"+key, nil) }
	h.Held = func(t providertest.T, key string) ([]byte, int, bool) {
		var data json.RawMessage
		exists := s.held(t, "kv1/"+key, &data)
		return data, -1, exists
	}
	h.Without["get/empty value"] = "the server keeps no secret without data"
	return h
}

// V2 returns the harness of a provider on a KV engine of version 2. The engine itself turns
// numbers into float64, so that the values are texts here.
func V2(t providertest.T, open Open) providertest.Harness {
	t.Helper()
	s, h := start(t, Login{Path: "secret", Version: "v2"}, open)
	h.Payload = providertest.Text
	h.Abilities = append(h.Abilities, providertest.Versions, providertest.Metadata, providertest.Tags,
		providertest.CompareAndSet, providertest.Marks, providertest.MarksRequired)
	h.Seed = func(t providertest.T, entries ...providertest.Entry) {
		for _, e := range entries {
			s.do(t, http.MethodPost, "secret/data/"+e.Key, map[string]any{"data": map[string]string{"text": string(e.Value)}})
			if e.Tags != nil {
				s.do(t, http.MethodPost, "secret/metadata/"+e.Key, map[string]any{"custom_metadata": e.Tags})
			}
		}
	}
	h.Delete = func(t providertest.T, key string) { s.do(t, http.MethodDelete, "secret/data/"+key, nil) }
	h.Foreign = func(t providertest.T, key string, value []byte) {
		h.Seed(t, providertest.Entry{Key: key, Value: value, Tags: map[string]string{"managed-by": "somebody"}})
	}
	h.Held = func(t providertest.T, key string) ([]byte, int, bool) {
		var v struct {
			Data     struct{ Text string }
			Metadata struct{ Version int }
		}
		exists := s.held(t, "secret/data/"+key, &v)
		return []byte(v.Data.Text), v.Metadata.Version, exists
	}
	h.Content = func(value []byte) secret.Secret {
		return secret.Secret{Value: secret.Secret{Fields: map[string]secret.Value{"text": secret.New(value)}}.Whole()}
	}
	h.Value = func(got secret.Secret) secret.Value {
		members, err := got.Value.Object()
		if err != nil {
			t.Errorf("no JSON object: %v", err)
		}
		return members["text"]
	}
	return h
}

// start is what both versions have in common. The stranger is a user of its own: wrong
// passwords lock one out.
func start(t providertest.T, l Login, open Open) (server, providertest.Harness) {
	t.Helper()
	s, env := server{testenv.StartOpenBao(t)}, providertest.NewEnv(t)
	proxy := providertest.NewProxy(t, s.Address, nil, retryAfter)
	s.do(t, http.MethodPut, "sys/policies/acl/conformance", map[string]string{"policy": `path "` + l.Path + `/*" { capabilities = ["create", "read", "update", "delete", "list"] }`})
	s.do(t, http.MethodPost, "sys/auth/"+users, map[string]string{"type": "userpass"})
	for name, policy := range map[string]string{"conformer": "conformance", "weakling": "default", "stranger": "conformance"} {
		s.do(t, http.MethodPost, "auth/"+users+"/users/"+name, map[string]string{"password": "right-password", "token_policies": policy})
		env.Put("", providertest.Namespace, name, map[string]string{"password": "right-password"})
	}
	env.Put("", providertest.Namespace, "stranger", map[string]string{"password": providertest.Mark})
	return s, providertest.Harness{
		Env: env, Reached: proxy.Reached(), RetryAfter: retryAfter,
		Open: func(ctx context.Context, situation providertest.Situation) (provider.Store, error) {
			as := Login{Server: proxy.URL(situation), Path: l.Path, Version: l.Version, Mount: users, User: "conformer"}
			switch situation {
			case providertest.BadCredential:
				as.User = "stranger"
			case providertest.Underprivileged:
				as.User = "weakling"
			}
			return open(ctx, as, env)
		},
		Abilities: []providertest.Ability{
			providertest.Reader, providertest.Lister, providertest.Checker, providertest.Paths, providertest.Writer, providertest.Deleter,
		},
		Without: map[string]string{"list/pages": "a listing has one page, however long"},
	}
}

// do calls the server as root.
func (s server) do(t providertest.T, method, path string, body any) {
	t.Helper()
	if _, err := s.Do(t.Context(), method, path, body); err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
}

// held reads the data of a path as root, and says whether there are any.
func (s server) held(t providertest.T, path string, into any) bool {
	t.Helper()
	b, err := s.Do(t.Context(), http.MethodGet, path, nil)
	if err != nil && strings.Contains(err.Error(), "404") {
		return false
	}
	var v struct{ Data json.RawMessage }
	if err == nil {
		err = errors.Join(json.Unmarshal(b, &v), json.Unmarshal(v.Data, into))
	}
	if err != nil {
		t.Fatalf("look at %s: %v", path, err)
	}
	return true
}
