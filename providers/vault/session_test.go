package vault

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	esv1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	"github.com/keyferry/keyferry/provider/providertest"
	"github.com/keyferry/keyferry/secret"
)

// user makes a user of that policy and returns the store of the user's.
func (f fixture) user(name, policy string, options map[string]any) *esv1.VaultProvider {
	f.Helper()
	if _, err := f.bao.Do(f.Context(), http.MethodGet, "sys/auth/users/tune", nil); err != nil {
		f.enable("users", "userpass")
	}
	user := map[string]any{"password": "right-password", "token_policies": policy}
	maps.Copy(user, options)
	f.do(http.MethodPost, "auth/users/users/"+name, user)
	f.credential(name, map[string]string{"password": "right-password"})
	return f.with(esv1.VaultAuth{UserPass: &esv1.VaultUserPassAuth{Path: "users", Username: name, SecretRef: *ref(name, "password")}})
}

func TestTheTokenIsRenewedAndReplaced(t *testing.T) {
	f := newFixture(t)
	f.put("life/x", map[string]string{"v": "1"})
	f.policy("life", "secret/data/life/*")
	for name, tc := range map[string]struct {
		options map[string]any
		after   time.Duration
		logins  int
		renewed int
	}{
		"not before two thirds of its life":        {options: map[string]any{"token_ttl": "1h"}, after: 39 * time.Minute, logins: 1},
		"renewed after two thirds of its life":     {options: map[string]any{"token_ttl": "1h"}, after: 41 * time.Minute, logins: 1, renewed: 1},
		"replaced after its life":                  {options: map[string]any{"token_ttl": "1h"}, after: 61 * time.Minute, logins: 2},
		"replaced, as it cannot be renewed":        {options: map[string]any{"token_ttl": "1h", "token_type": "batch"}, after: 41 * time.Minute, logins: 2},
		"renewed for as long as the server allows": {options: map[string]any{"token_ttl": "1h", "token_max_ttl": "1h"}, after: 41 * time.Minute, logins: 1, renewed: 1},
	} {
		t.Run(name, func(t *testing.T) {
			f := f.in(t)
			s := f.open(f.user(strings.NewReplacer(" ", "-", ",", "").Replace(name), "life", tc.options))
			for _, wait := range []time.Duration{0, tc.after, 0} {
				f.env.Time.Advance(wait)
				if _, err := s.Get(t.Context(), secret.Ref{Key: "life/x"}); err != nil {
					t.Fatal(err)
				}
			}
			if got := f.counted("Login"); got != tc.logins {
				t.Errorf("%d logins, want %d", got, tc.logins)
			}
			if got := f.counted("RenewSelf"); got != tc.renewed {
				t.Errorf("%d renewals, want %d", got, tc.renewed)
			}
			if err := s.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
		})
	}
}

func TestEveryTokenOfALoginIsRevoked(t *testing.T) {
	f := newFixture(t)
	f.put("revoke/x", map[string]string{"v": "1"})
	f.policy("revoke", "secret/data/revoke/*")
	// A user of renewable tokens becomes one of tokens that are replaced in mid-life.
	s := f.open(f.user("revoked", "revoke", map[string]any{"token_ttl": "1h"}))
	read := func() {
		if _, err := s.Get(t.Context(), secret.Ref{Key: "revoke/x"}); err != nil {
			t.Fatal(err)
		}
	}
	read()
	f.do(http.MethodPost, "auth/users/users/revoked", map[string]any{"token_policies": "revoke,more"})
	f.env.Time.Advance(41 * time.Minute) // the changed policies make the renewal fail
	read()
	if logins, live := f.counted("Login"), f.sessions("revoke"); logins != 2 || live != 2 {
		t.Fatalf("%d logins and %d tokens before the end, want 2 and 2", logins, live)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if live := f.sessions("revoke"); live != 0 {
		t.Errorf("%d tokens live on", live)
	}
}

func TestConcurrentCallsShareOneLogin(t *testing.T) {
	f := newFixture(t)
	f.put("shared/x", map[string]string{"v": "1"})
	f.policy("shared", "secret/data/shared/*")
	s := f.open(f.user("shared", "shared", nil))
	var calls sync.WaitGroup
	for range 50 {
		calls.Go(func() {
			if _, err := s.Get(t.Context(), secret.Ref{Key: "shared/x"}); err != nil {
				t.Error(err)
			}
		})
	}
	calls.Wait()
	if got := f.counted("Login"); got != 1 {
		t.Errorf("%d logins, want 1", got)
	}
}

func TestATokenThatTheServerRevokedIsReplaced(t *testing.T) {
	f := newFixture(t)
	f.put("again/x", map[string]string{"v": "1"})
	f.policy("again", "secret/data/again/*")
	s := f.open(f.user("again", "again", nil))
	if _, err := s.Get(t.Context(), secret.Ref{Key: "again/x"}); err != nil {
		t.Fatal(err)
	}
	f.do(http.MethodPost, "sys/leases/revoke-prefix/auth/users/login/again", nil)
	if _, err := s.Get(t.Context(), secret.Ref{Key: "again/x"}); err != nil {
		t.Error(err)
	}
	if got := f.counted("Login"); got != 2 {
		t.Errorf("%d logins, want 2", got)
	}
}

func TestDeniedIsToldFromABadToken(t *testing.T) {
	f := newFixture(t)
	f.put("denied/x", map[string]string{"v": "1"})
	f.policy("other", "secret/data/other/*")
	f.token("weak", map[string]any{"policies": []string{"other"}})
	f.token("weaker", map[string]any{"policies": []string{"other"}, "no_default_policy": true})
	f.token("batch", map[string]any{"policies": []string{"other"}, "type": "batch"})
	f.credential("wrong", map[string]string{"token": "hvs.nobody-knows-it"})
	revoked := f.token("revoked", map[string]any{"policies": []string{"other"}})
	f.do(http.MethodPost, "auth/token/revoke", map[string]string{"token": revoked})
	f.credential("odd", map[string]string{"token": "two\nlines"})
	f.credential("empty", map[string]string{"token": " \n"})

	for name, tc := range map[string]struct {
		read, check secret.Kind
	}{
		"root":    {},
		"weak":    {read: secret.Denied},
		"weaker":  {read: secret.Denied}, // may not even look itself up
		"batch":   {read: secret.Denied},
		"wrong":   {read: secret.Unauthenticated, check: secret.Unauthenticated},
		"revoked": {read: secret.Unauthenticated, check: secret.Unauthenticated},
		"empty":   {read: secret.Unauthenticated, check: secret.Unauthenticated},
		"odd":     {read: secret.Unauthenticated, check: secret.Unauthenticated},
		"absent":  {read: secret.Unauthenticated, check: secret.Unauthenticated},
	} {
		t.Run(name, func(t *testing.T) {
			s := f.open(f.spec(withToken(name)))
			_, err := s.Get(t.Context(), secret.Ref{Key: "denied/x"})
			wantKind(t, err, tc.read)
			wantKind(t, s.Check(t.Context()), tc.check)
		})
	}
}

func TestNamespaces(t *testing.T) {
	f := ownFixture(t)
	f.do(http.MethodPost, "sys/namespaces/team", map[string]any{})
	f.do(http.MethodPost, "team/sys/namespaces/sub", map[string]any{})
	f.do(http.MethodPost, "team/sub/sys/mounts/kv", map[string]any{"type": "kv", "options": map[string]string{"version": "2"}})
	f.do(http.MethodPost, "team/sub/kv/data/x", map[string]any{"data": map[string]string{"v": "sub"}})
	f.do(http.MethodPut, "team/sys/policies/acl/ns", map[string]any{"policy": `path "sub/kv/*" { capabilities = ["read", "list"] }`})
	f.do(http.MethodPost, "team/sys/auth/userpass", map[string]string{"type": "userpass"})
	f.do(http.MethodPost, "team/auth/userpass/users/ann", map[string]any{"password": "right-password", "token_policies": "ns", "token_ttl": "1h"})
	f.credential("ann", map[string]string{"password": "right-password"})

	s := f.with(esv1.VaultAuth{Namespace: new("team"), UserPass: &esv1.VaultUserPassAuth{Username: "ann", SecretRef: *ref("ann", "password")}})
	s.Path, s.Namespace = new("kv"), new("team/sub")
	open := f.open(s)
	read := func() {
		got, err := open.Get(t.Context(), secret.Ref{Key: "x"})
		if err != nil {
			t.Fatal(err)
		}
		if string(got.Value.Reveal()) != `{"v":"sub"}` {
			t.Error("another secret was read")
		}
	}
	read()
	if err := open.Check(t.Context()); err != nil {
		t.Errorf("check: %v", err)
	}
	f.env.Time.Advance(41 * time.Minute)
	read()
	if got := f.counted("RenewSelf"); got != 1 || f.counted("Login") != 1 {
		t.Errorf("%d renewals and %d logins, want one each", got, f.counted("Login"))
	}
	before := f.accessors("team/")
	if err := open.Close(); err != nil {
		t.Error(err)
	}
	if after := f.accessors("team/"); before != 1 || after != 0 {
		t.Errorf("tokens in the namespace: %d before and %d after the end, want 1 and 0", before, after)
	}

	s.Auth.Namespace = nil // the user is not known in the namespace of the secrets
	_, err := f.open(s).Get(t.Context(), secret.Ref{Key: "x"})
	wantKind(t, err, secret.Unauthenticated)
}

// accessors counts the tokens of a namespace.
func (f fixture) accessors(namespace string) int {
	b, err := f.bao.Do(f.Context(), "LIST", namespace+"auth/token/accessors", nil)
	if err != nil {
		return 0 // an empty list is an answer of 404
	}
	var v struct{ Data struct{ Keys []string } }
	if err := json.Unmarshal(b, &v); err != nil {
		f.Fatal(err)
	}
	return len(v.Data.Keys)
}

func TestTLS(t *testing.T) {
	f := newFixture(t)
	f.put("tls/x", map[string]string{"v": "1"})
	cert, key, err := f.bao.ClientCert("client")
	if err != nil {
		t.Fatal(err)
	}
	f.credential("client", map[string]string{"crt": string(cert), "key": string(key)})
	f.env.Put("ConfigMap", providertest.Namespace, "ca", map[string]string{"ca.crt": string(f.bao.CA)})
	f.credential("ca", map[string]string{"ca.crt": string(f.bao.CA)})
	bundle := func(s *esv1.VaultProvider) { s.Server, s.CABundle = f.bao.TLSAddress, f.bao.CA }
	from := func(kind esv1.CAProviderType) func(*esv1.VaultProvider) {
		return func(s *esv1.VaultProvider) {
			s.Server, s.CAProvider = f.bao.TLSAddress, &esv1.CAProvider{Type: kind, Name: "ca", Key: "ca.crt"}
		}
	}
	mutual := func(s *esv1.VaultProvider) {
		s.Server, s.CABundle = f.bao.MutualTLSAddress, f.bao.CA
		s.ClientTLS = esv1.VaultClientTLS{CertSecretRef: ref("client", "crt"), KeySecretRef: ref("client", "key")}
	}
	for name, tc := range map[string]struct {
		change func(*esv1.VaultProvider)
		kinds  []secret.Kind
	}{
		"a bundle in the manifest":         {change: bundle},
		"a bundle of a ConfigMap":          {change: from("ConfigMap")},
		"a bundle of a Secret":             {change: from("Secret")},
		"without the bundle it is refused": {change: func(s *esv1.VaultProvider) { s.Server = f.bao.TLSAddress }, kinds: []secret.Kind{secret.Invalid}},
		"a client certificate":             {change: mutual},
		"without a client certificate": {
			// Whether the server's alert or the end of the connection comes first is a race.
			change: func(s *esv1.VaultProvider) { mutual(s); s.ClientTLS = esv1.VaultClientTLS{} },
			kinds:  []secret.Kind{secret.Unauthenticated, secret.Unavailable},
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := f.open(f.spec(tc.change)).Get(t.Context(), secret.Ref{Key: "tls/x"})
			if got := secret.KindOf(err); got != "" || tc.kinds != nil {
				if !slices.Contains(tc.kinds, got) {
					t.Errorf("kind %q, want one of %q: %v", got, tc.kinds, err)
				}
			}
		})
	}
}

func TestAServerThatIsAwayIsUnavailableUntilItIsBack(t *testing.T) {
	f := ownFixture(t)
	f.put("away/x", map[string]string{"v": "1"})
	s := f.open(f.spec())
	read := func(want secret.Kind) {
		_, err := s.Get(t.Context(), secret.Ref{Key: "away/x"})
		wantKind(t, err, want)
		if err != nil && !strings.Contains(err.Error(), strings.TrimPrefix(f.bao.Address, "http://")) {
			t.Errorf("the error does not say which server: %v", err)
		}
	}
	read("")
	f.bao.Stop()
	read(secret.Unavailable)
	wantKind(t, s.Check(t.Context()), secret.Unavailable)
	if err := f.bao.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	read("")
	f.do(http.MethodPut, "sys/seal", nil)
	read(secret.Unavailable)
}
