package vault

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	josejwt "github.com/go-jose/go-jose/v4/jwt"

	esv1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	esmeta "github.com/keyferry/keyferry/api/meta/v1"
	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/provider/providertest"
	"github.com/keyferry/keyferry/secret"
)

// authCase is one auth method set up on the server, with tokens of this policy.
type authCase struct {
	policy string
	spec   *esv1.VaultProvider
	// spoil makes the credentials wrong.
	spoil func()
	given bool
}

func TestAuthMethods(t *testing.T) {
	f := ownFixture(t)
	f.put("auth/x", map[string]string{"v": "1"})
	for name, setUp := range map[string]func(fixture, string) authCase{
		"token":                      tokenCase,
		"appRole":                    appRoleCase,
		"kubernetes service account": kubernetesCase,
		"kubernetes secret":          kubernetesSecretCase,
		"jwt":                        jwtCase,
		"jwt service account":        jwtServiceAccountCase,
		"ldap":                       ldapCase,
		"userPass":                   userPassCase,
		"cert":                       certCase,
	} {
		t.Run(name, func(t *testing.T) {
			f := f.in(t)
			policy := "auth-" + strings.ToLower(strings.ReplaceAll(name, " ", "-"))
			f.policy(policy, "secret/data/auth/*")
			c := setUp(f, policy)
			s := f.open(c.spec)
			for range 3 {
				if _, err := s.Get(t.Context(), secret.Ref{Key: "auth/x"}); err != nil {
					t.Fatal(err)
				}
			}
			if err := s.Check(t.Context()); err != nil {
				t.Errorf("check: %v", err)
			}
			_, err := s.Get(t.Context(), secret.Ref{Key: "other/x"})
			wantKind(t, err, secret.Denied)
			if got := f.sessions(policy); got != 1 {
				t.Errorf("%d tokens for one store, want 1", got)
			}
			if err := s.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
			want := 0
			if c.given {
				want = 1
			}
			if got := f.sessions(policy); got != want {
				t.Errorf("%d tokens after the store is closed, want %d", got, want)
			}
			_, err = s.Get(t.Context(), secret.Ref{Key: "auth/x"})
			wantKind(t, err, secret.Unavailable)

			c.spoil()
			bad := f.open(c.spec)
			_, err = bad.Get(t.Context(), secret.Ref{Key: "auth/x"})
			wantKind(t, err, secret.Unauthenticated)
			wantKind(t, bad.Check(t.Context()), secret.Unauthenticated)
			if err := bad.Close(); err != nil {
				t.Errorf("close a store that never logged in: %v", err)
			}
		})
	}
}

func (f fixture) with(auth esv1.VaultAuth) *esv1.VaultProvider {
	return f.spec(func(s *esv1.VaultProvider) { s.Auth = &auth })
}

func (f fixture) credential(name string, data map[string]string) {
	f.env.Put("", providertest.Namespace, name, data)
}

func (f fixture) enable(mount, kind string) {
	f.Helper()
	f.do(http.MethodPost, "sys/auth/"+mount, map[string]string{"type": kind})
}

func tokenCase(f fixture, policy string) authCase {
	value := f.token("given", map[string]any{"policies": []string{policy}})
	f.credential("given", map[string]string{"token": value + "\n"})
	return authCase{
		policy: policy, given: true, spec: f.spec(withToken("given")),
		spoil: func() { f.credential("given", map[string]string{"token": "wrong-token"}) },
	}
}

func appRoleCase(f fixture, policy string) authCase {
	f.enable("role-mount", "approle")
	f.do(http.MethodPost, "auth/role-mount/role/r", map[string]any{"token_policies": policy})
	var id struct{ Data map[string]any }
	for field, path := range map[string]string{"role_id": "role-id", "secret_id": "secret-id"} {
		method := map[string]string{"role_id": http.MethodGet, "secret_id": http.MethodPost}[field]
		if err := json.Unmarshal(f.do(method, "auth/role-mount/role/r/"+path, map[string]any{}), &id); err != nil {
			f.Fatal(err)
		}
		f.credential(field, map[string]string{"id": id.Data[field].(string)})
	}
	return authCase{
		policy: policy,
		spec:   f.with(esv1.VaultAuth{AppRole: &esv1.VaultAppRole{Path: "role-mount", RoleRef: ref("role_id", "id"), SecretRef: *ref("secret_id", "id")}}),
		spoil:  func() { f.credential("secret_id", map[string]string{"id": "wrong-secret"}) },
	}
}

func userPassCase(f fixture, policy string) authCase {
	f.enable("userpass", "userpass")
	f.do(http.MethodPost, "auth/userpass/users/bob", map[string]string{"password": "right-password", "token_policies": policy})
	f.credential("bob", map[string]string{"password": "right-password"})
	return authCase{
		policy: policy,
		spec:   f.with(esv1.VaultAuth{UserPass: &esv1.VaultUserPassAuth{Username: "bob", SecretRef: *ref("bob", "password")}}),
		spoil:  func() { f.credential("bob", map[string]string{"password": "wrong-password"}) },
	}
}

func certCase(f fixture, policy string) authCase {
	f.enable("cert", "cert")
	f.do(http.MethodPost, "auth/cert/certs/client", map[string]any{"certificate": string(f.bao.CA), "token_policies": policy, "allowed_common_names": "right"})
	issue := func(name string) {
		cert, key, err := f.bao.ClientCert(name)
		if err != nil {
			f.Fatal(err)
		}
		f.credential("client", map[string]string{"crt": string(cert), "key": string(key)})
	}
	issue("right")
	s := f.with(esv1.VaultAuth{Cert: &esv1.VaultCertAuth{ClientCert: *ref("client", "crt"), SecretRef: *ref("client", "key"), VaultRole: "client"}})
	s.Server, s.CABundle = f.bao.TLSAddress, f.bao.CA
	return authCase{policy: policy, spec: s, spoil: func() { issue("wrong") }}
}

// signer makes JSON web tokens of a key of its own.
type signer struct {
	key *ecdsa.PrivateKey
}

func newSigner(f fixture) signer {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	return signer{key}
}

func (s signer) public(f fixture) string {
	der, err := x509.MarshalPKIXPublicKey(&s.key.PublicKey)
	if err != nil {
		f.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

func (s signer) sign(f fixture, claims map[string]any) string {
	sig, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: s.key}, nil)
	if err != nil {
		f.Fatal(err)
	}
	now := time.Now()
	all := map[string]any{"iss": "issuer", "iat": now.Unix() - 5, "nbf": now.Unix() - 5, "exp": now.Add(time.Hour).Unix()}
	maps.Copy(all, claims)
	token, err := josejwt.Signed(sig).Claims(all).Serialize()
	if err != nil {
		f.Fatal(err)
	}
	return token
}

func jwtMount(f fixture, mount, policy string) signer {
	s := newSigner(f)
	f.enable(mount, "jwt")
	f.do(http.MethodPost, "auth/"+mount+"/config", map[string]any{"jwt_validation_pubkeys": []string{s.public(f)}, "jwt_supported_algs": []string{"ES256"}})
	f.do(http.MethodPost, "auth/"+mount+"/role/r", map[string]any{
		"role_type": "jwt", "user_claim": "sub", "bound_audiences": []string{"vault"}, "token_policies": policy,
	})
	return s
}

func jwtCase(f fixture, policy string) authCase {
	right, wrong := jwtMount(f, "jwt", policy), newSigner(f)
	claims := map[string]any{"sub": "me", "aud": "vault"}
	f.credential("jwt", map[string]string{"jwt": right.sign(f, claims)})
	return authCase{
		policy: policy, spec: f.with(esv1.VaultAuth{Jwt: &esv1.VaultJwtAuth{Role: "r", SecretRef: ref("jwt", "jwt")}}),
		spoil: func() { f.credential("jwt", map[string]string{"jwt": wrong.sign(f, claims)}) },
	}
}

// issueFrom makes the surroundings issue service account tokens, and keeps what
// was asked for.
func issueFrom(f fixture, s *signer) {
	f.env.Issue = func(_ context.Context, r provider.TokenRequest) (string, error) {
		return s.sign(f, map[string]any{
			"sub": "system:serviceaccount:" + *r.Namespace + ":" + r.ServiceAccount, "aud": r.Audiences,
			"kubernetes.io": map[string]any{"namespace": *r.Namespace, "serviceaccount": map[string]string{"name": r.ServiceAccount, "uid": "uid-1"}},
		}), nil
	}
}

func jwtServiceAccountCase(f fixture, policy string) authCase {
	s, other := jwtMount(f, "jwt-sa", policy), newSigner(f)
	issueFrom(f, &s)
	return authCase{
		policy: policy,
		spec: f.with(esv1.VaultAuth{Jwt: &esv1.VaultJwtAuth{Path: "jwt-sa", Role: "r", KubernetesServiceAccountToken: &esv1.VaultKubernetesServiceAccountTokenAuth{
			ServiceAccountRef: esmeta.ServiceAccountSelector{Name: "reader"},
		}}}),
		spoil: func() { s = other },
	}
}

// tokenReview is the part of an API server that the kubernetes method asks.
func tokenReview(f fixture, accept func(token string) bool) string {
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var review struct {
			Spec struct{ Token string }
		}
		if r.URL.Path != "/apis/authentication.k8s.io/v1/tokenreviews" || json.NewDecoder(r.Body).Decode(&review) != nil {
			http.NotFound(w, r)
			return
		}
		status := map[string]any{"authenticated": false, "error": "unknown token"}
		if accept(review.Spec.Token) {
			status = map[string]any{"authenticated": true, "user": map[string]any{"username": "system:serviceaccount:team:reader", "uid": "uid-1"}, "audiences": []string{"vault"}}
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusCreated)
		_ = json.NewEncoder(w).Encode(map[string]any{"kind": "TokenReview", "apiVersion": "authentication.k8s.io/v1", "status": status})
	}))
	f.Cleanup(api.Close)
	return api.URL
}

func kubernetesMount(f fixture, mount, policy string, accept func(string) bool) {
	f.enable(mount, "kubernetes")
	f.do(http.MethodPost, "auth/"+mount+"/config", map[string]any{
		"kubernetes_host": tokenReview(f, accept), "disable_local_ca_jwt": true, "kubernetes_ca_cert": string(f.bao.CA), "token_reviewer_jwt": "reviewer",
	})
	f.do(http.MethodPost, "auth/"+mount+"/role/r", map[string]any{
		"bound_service_account_names": "reader", "bound_service_account_namespaces": "team", "audience": "vault", "token_policies": policy,
	})
}

func kubernetesCase(f fixture, policy string) authCase {
	s, known := newSigner(f), true
	issueFrom(f, &s)
	kubernetesMount(f, "kubernetes", policy, func(string) bool { return known })
	return authCase{
		policy: policy,
		spec:   f.with(esv1.VaultAuth{Kubernetes: &esv1.VaultKubernetesAuth{Role: "r", ServiceAccountRef: &esmeta.ServiceAccountSelector{Name: "reader", Audiences: []string{"vault"}}}}),
		spoil:  func() { known = false },
	}
}

func kubernetesSecretCase(f fixture, policy string) authCase {
	s := newSigner(f)
	issueFrom(f, &s)
	token, err := f.env.Issue(f.Context(), provider.TokenRequest{Namespace: new("team"), ServiceAccount: "reader", Audiences: []string{"vault"}})
	if err != nil {
		f.Fatal(err)
	}
	kubernetesMount(f, "kubernetes-secret", policy, func(got string) bool { return got == token })
	f.credential("sa", map[string]string{"token": token})
	return authCase{
		policy: policy,
		spec:   f.with(esv1.VaultAuth{Kubernetes: &esv1.VaultKubernetesAuth{Path: "kubernetes-secret", Role: "r", SecretRef: &esmeta.SecretKeySelector{Name: "sa"}}}),
		spoil:  func() { f.credential("sa", map[string]string{"token": token + "x"}) },
	}
}
