package local

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"maps"
	"net/http"
	"sync"

	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/secret"
	"github.com/keyferry/keyferry/store"
)

// Surroundings gives stores what the manifests and the credentials hold. It is safe
// for concurrent use.
type Surroundings struct {
	credentials []Credential
	clients     func(provider.TLS) (*http.Client, error)

	mu      sync.Mutex
	objects map[name]store.Loaded
}

var _ store.Surroundings = (*Surroundings)(nil)

// NewSurroundings returns surroundings that hold nothing yet. Clients hands out HTTP
// clients.
func NewSurroundings(credentials []Credential, clients func(provider.TLS) (*http.Client, error)) *Surroundings {
	return &Surroundings{credentials: credentials, clients: clients}
}

// Set replaces what is held by what the manifests hold and the credentials are now,
// and returns what is different from before. If a credential cannot be read it
// changes nothing and fails with Invalid or Denied.
func (s *Surroundings) Set(m *Manifests) ([]store.Dependency, error) {
	next := map[name]store.Loaded{}
	for key, o := range m.secrets {
		next[key] = store.Loaded{Data: values(o.Data), Labels: o.Labels}
	}
	for key, o := range m.configMaps {
		data := values(o.BinaryData)
		for k, v := range o.Data {
			data[k] = secret.FromString(v)
		}
		next[key] = store.Loaded{Data: data, Labels: o.Labels}
	}
	for _, c := range s.credentials {
		v, err := c.read()
		if err != nil {
			return nil, err
		}
		loaded := next[c.secret]
		if loaded.Data == nil {
			loaded.Data = map[string]secret.Value{}
		}
		loaded.Data[c.key] = v
		next[c.secret] = loaded
	}
	for key, loaded := range next {
		loaded.Version = digest(loaded)
		next[key] = loaded
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	changed := differences(s.objects, next)
	s.objects = next
	return changed, nil
}

func differences(before, after map[name]store.Loaded) []store.Dependency {
	var out []store.Dependency
	all := maps.Clone(after)
	if all == nil {
		all = map[name]store.Loaded{}
	}
	for key := range before {
		if _, ok := after[key]; !ok {
			all[key] = store.Loaded{}
		}
	}
	for key, now := range all {
		if before[key].Version != now.Version {
			out = append(out, store.Dependency{Kind: key.Kind, Namespace: key.Namespace, Name: key.Name, Version: now.Version})
		}
	}
	return out
}

func values(data map[string][]byte) map[string]secret.Value {
	out := make(map[string]secret.Value, len(data))
	for k, v := range data {
		out[k] = secret.New(v)
	}
	return out
}

// digest is the version of an object. It stays in memory.
func digest(o store.Loaded) string {
	h := sha256.New()
	write := func(b []byte) {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(b)))) //nolint:gosec // a length is not negative
		h.Write(b)
	}
	for _, k := range secret.Keys(o.Data) {
		write([]byte(k))
		write(o.Data[k].Reveal())
	}
	write(nil)
	for _, k := range secret.Keys(o.Labels) {
		write([]byte(k))
		write([]byte(o.Labels[k]))
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Load implements store.Surroundings.
func (s *Surroundings) Load(_ context.Context, kind, namespace, object string) (store.Loaded, error) {
	if kind == "ServiceAccount" {
		return store.Loaded{}, refuse(secret.Unsupported, "service accounts need a cluster: log in with a credential from a Secret, and give it with --credential")
	}
	if kind != kindSecret && kind != kindConfigMap {
		return store.Loaded{}, invalid("kind %q: it must be Secret or ConfigMap", kind)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	loaded, ok := s.objects[name{kind, namespace, object}]
	switch {
	case ok:
		return loaded, nil
	case kind == kindSecret:
		return loaded, refuse(secret.NotFound, "is neither in the manifests nor given with --credential %s/%s/KEY", namespace, object)
	}
	return loaded, refuse(secret.NotFound, "is not in the manifests")
}

// Token implements store.Surroundings: there are no service accounts.
func (s *Surroundings) Token(context.Context, store.Account) (store.Issued, error) {
	return store.Issued{}, refuse(secret.Unsupported, "service account tokens need a cluster: log in with a credential from a Secret, and give it with --credential")
}

// HTTP implements store.Surroundings. Whoever runs the command is the administrator,
// whatever kind of store it is for.
func (s *Surroundings) HTTP(t provider.TLS, _ bool) (*http.Client, error) { return s.clients(t) }
