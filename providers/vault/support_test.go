package vault

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	esv1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	esmeta "github.com/keyferry/keyferry/api/meta/v1"
	"github.com/keyferry/keyferry/internal/testenv"
	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/provider/providertest"
	"github.com/keyferry/keyferry/secret"
)

type reading interface {
	provider.Store
	provider.Reader
	provider.Lister
	provider.Checker
}

type store interface {
	reading
	provider.Writer
	provider.Deleter
}

// fixture is a real server and the surroundings of a store.
type fixture struct {
	*testing.T
	bao *testenv.Bao
	env *providertest.Env
}

// newFixture is on the server that the tests share.
func newFixture(t *testing.T) fixture {
	t.Helper()
	return fixture{bao: testenv.OpenBao(t)}.in(t)
}

// ownFixture is on a server of the test's own: for mounts, and for versions that
// are counted.
func ownFixture(t *testing.T) fixture {
	t.Helper()
	return fixture{bao: testenv.StartOpenBao(t)}.in(t)
}

// in is the same server with surroundings for a test.
func (f fixture) in(t *testing.T) fixture {
	t.Helper()
	f.T, f.env = t, providertest.NewEnv(t)
	f.env.Put("", providertest.Namespace, "root", map[string]string{"token": f.bao.RootToken})
	return f
}

// do calls the server as root.
func (f fixture) do(method, path string, body any) []byte {
	f.Helper()
	b, err := f.bao.Do(f.Context(), method, path, body)
	if err != nil {
		f.Fatal(err)
	}
	return b
}

// put writes the fields of a KV v2 secret below the mount secret/.
func (f fixture) put(key string, fields any) {
	f.Helper()
	f.do(http.MethodPost, "secret/data/"+key, map[string]any{"data": fields})
}

// policy makes a policy of reading and listing what is below these paths.
func (f fixture) policy(name string, paths ...string) {
	f.Helper()
	var b strings.Builder
	for _, p := range paths {
		fmt.Fprintf(&b, "path %q { capabilities = [\"read\", \"list\"] }\n", p)
	}
	f.do(http.MethodPut, "sys/policies/acl/"+name, map[string]any{"policy": b.String()})
}

// token makes a token and puts it into a Secret of that name.
func (f fixture) token(name string, options map[string]any) string {
	f.Helper()
	var v struct {
		Auth struct {
			ClientToken string `json:"client_token"`
		}
	}
	if err := json.Unmarshal(f.do(http.MethodPost, "auth/token/create", options), &v); err != nil {
		f.Fatal(err)
	}
	f.env.Put("", providertest.Namespace, name, map[string]string{"token": v.Auth.ClientToken})
	return v.Auth.ClientToken
}

// sessions counts the tokens that a policy has been given to.
func (f fixture) sessions(policy string) int {
	f.Helper()
	var list struct{ Data struct{ Keys []string } }
	if err := json.Unmarshal(f.do("LIST", "auth/token/accessors", nil), &list); err != nil {
		f.Fatal(err)
	}
	n := 0
	for _, accessor := range list.Data.Keys {
		b, err := f.bao.Do(f.Context(), http.MethodPost, "auth/token/lookup-accessor", map[string]string{"accessor": accessor})
		if err != nil {
			continue // it ended since
		}
		var v struct{ Data struct{ Policies []string } }
		if err := json.Unmarshal(b, &v); err != nil {
			f.Fatal(err)
		}
		if slices.Contains(v.Data.Policies, policy) {
			n++
		}
	}
	return n
}

func (f fixture) open(s *esv1.VaultProvider) store {
	f.Helper()
	opened, err := Provider().Open(f.Context(), s, f.env)
	if err != nil {
		f.Fatal(err)
	}
	return opened.(store)
}

// spec is a store on secret/ with the root token.
func (f fixture) spec(changes ...func(*esv1.VaultProvider)) *esv1.VaultProvider {
	s := &esv1.VaultProvider{Server: f.bao.Address, Path: new("secret"), Auth: &esv1.VaultAuth{TokenSecretRef: ref("root", "token")}}
	for _, change := range changes {
		change(s)
	}
	return s
}

func (f fixture) counted(call string) int {
	n := 0
	for _, c := range f.env.Calls() {
		if c.Name == call {
			n++
		}
	}
	return n
}

func ref(name, key string) *esmeta.SecretKeySelector {
	return &esmeta.SecretKeySelector{Name: name, Key: key}
}

func withToken(name string) func(*esv1.VaultProvider) {
	return func(s *esv1.VaultProvider) { s.Auth = &esv1.VaultAuth{TokenSecretRef: ref(name, "token")} }
}

func wantKind(t *testing.T, err error, want secret.Kind) {
	t.Helper()
	if got := secret.KindOf(err); got != want {
		t.Errorf("kind %q, want %q: %v", got, want, err)
	}
}
