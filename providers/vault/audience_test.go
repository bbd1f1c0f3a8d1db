package vault

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	esv1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	esmeta "github.com/keyferry/keyferry/api/meta/v1"
	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/provider/providertest"
	"github.com/keyferry/keyferry/secret"
)

func TestServiceAccountTokensAreForNamedAudiences(t *testing.T) {
	reader := func(audiences ...string) esmeta.ServiceAccountSelector {
		return esmeta.ServiceAccountSelector{Name: "reader", Audiences: audiences}
	}
	kubernetes := func(sa esmeta.ServiceAccountSelector) esv1.VaultAuth {
		return esv1.VaultAuth{Kubernetes: &esv1.VaultKubernetesAuth{Role: "r", ServiceAccountRef: &sa}}
	}
	jwt := func(token esv1.VaultKubernetesServiceAccountTokenAuth) esv1.VaultAuth {
		return esv1.VaultAuth{Jwt: &esv1.VaultJwtAuth{KubernetesServiceAccountToken: &token}}
	}
	for name, tc := range map[string]struct {
		auth      esv1.VaultAuth
		audiences []string
		lifetime  time.Duration
	}{
		"kubernetes":                {auth: kubernetes(reader()), audiences: []string{provider.ClusterAudience}},
		"kubernetes with audiences": {auth: kubernetes(reader("a", "b")), audiences: []string{"a", "b"}},
		"jwt":                       {auth: jwt(esv1.VaultKubernetesServiceAccountTokenAuth{ServiceAccountRef: reader()}), audiences: []string{"vault"}},
		"jwt with more audiences":   {auth: jwt(esv1.VaultKubernetesServiceAccountTokenAuth{ServiceAccountRef: reader("a")}), audiences: []string{"a", "vault"}},
		"jwt with the older fields": {
			auth:      jwt(esv1.VaultKubernetesServiceAccountTokenAuth{ServiceAccountRef: reader(), Audiences: &[]string{"b"}, ExpirationSeconds: new(int64(1200))}),
			audiences: []string{"b"}, lifetime: 20 * time.Minute,
		},
	} {
		t.Run(name, func(t *testing.T) {
			env := providertest.NewEnv(t)
			var got provider.TokenRequest
			env.Issue = func(_ context.Context, r provider.TokenRequest) (string, error) {
				got = r
				return "", &secret.Error{Kind: secret.NotFound, Op: "token"}
			}
			s, err := Provider().Open(t.Context(), &esv1.VaultProvider{Server: "https://vault.test", Auth: &tc.auth}, env)
			if err != nil {
				t.Fatal(err)
			}
			// A service account that is gone is not a secret that is gone.
			_, err = s.(provider.Reader).Get(t.Context(), secret.Ref{Key: "kv/x"})
			wantKind(t, err, secret.Unauthenticated)
			if diff := cmp.Diff(tc.audiences, got.Audiences); diff != "" || got.Lifetime != tc.lifetime || got.ServiceAccount != "reader" {
				t.Errorf("asked for %+v (-want +got):\n%s", got, diff)
			}
		})
	}
}
