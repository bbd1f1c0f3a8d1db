package cloudsmith

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keyferry/keyferry/api/generators/v1alpha1"
	esmeta "github.com/keyferry/keyferry/api/meta/v1"
	"github.com/keyferry/keyferry/generator/generatortest"
	"github.com/keyferry/keyferry/internal/restapi/resttest"
	"github.com/keyferry/keyferry/provider/providertest"
	"github.com/keyferry/keyferry/secret"
)

// server is Cloudsmith: the organization acme has the service puller-x1, which trusts
// the service account "puller".
type server struct {
	clock *providertest.Clock
	made  atomic.Int64
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost || r.URL.Path != "/openid/acme/" {
		http.Error(w, "no such organization", http.StatusNotFound)
		return
	}
	var order struct {
		Token   string `json:"oidc_token"`
		Service string `json:"service_slug"`
	}
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	switch err := d.Decode(&order); {
	case err != nil || order.Service != "puller-x1" || r.Header.Get("Content-Type") != "application/json":
		http.Error(w, "the body "+order.Token, http.StatusUnprocessableEntity)
	case !strings.HasPrefix(order.Token, "token of "):
		http.Error(w, "no token "+order.Token, http.StatusUnauthorized)
	case !strings.HasPrefix(order.Token, "token of puller "):
		http.Error(w, "the claims do not match "+order.Token, http.StatusForbidden)
	default:
		w.WriteHeader(http.StatusCreated)
		_ = json.NewEncoder(w).Encode(map[string]string{"token": resttest.JWT(map[string]any{
			"exp": s.clock.Now().Add(2 * time.Hour).Unix(), "number": s.made.Add(1),
		})})
	}
}

func good() *v1alpha1.CloudsmithAccessTokenSpec {
	return &v1alpha1.CloudsmithAccessTokenSpec{
		OrgSlug: "acme", ServiceSlug: "puller-x1", ServiceAccountRef: esmeta.ServiceAccountSelector{Name: "puller"},
	}
}

func change(f func(*v1alpha1.CloudsmithAccessTokenSpec)) *v1alpha1.CloudsmithAccessTokenSpec {
	s := good()
	f(s)
	return s
}

func TestConformance(t *testing.T) {
	env, _ := resttest.Accounts(t)
	w := resttest.NewWorld(t, map[string]http.Handler{"api.cloudsmith.io": &server{clock: env.Time}})
	generatortest.Run(t, generatortest.Harness{
		Env: env, Generator: Generator(), Secret: []string{"auth"}, Public: []string{"expiry"}, Lasts: 2 * time.Hour,
		Transport: w.Transport, Reached: w.Reached(), RetryAfter: resttest.RetryAfter,
		Spec: func(s providertest.Situation) any {
			spec := good()
			switch s {
			case providertest.BadCredential:
				spec.ServiceAccountRef.Name = "wrong"
			case providertest.Underprivileged:
				spec.ServiceAccountRef.Name = "another"
			}
			return spec
		},
		Invalid: map[string]any{
			"spec.apiUrl":                 change(func(s *v1alpha1.CloudsmithAccessTokenSpec) { s.APIURL = "api.cloudsmith.io" }),
			"spec.orgSlug":                change(func(s *v1alpha1.CloudsmithAccessTokenSpec) { s.OrgSlug = "" }),
			"spec.serviceSlug":            change(func(s *v1alpha1.CloudsmithAccessTokenSpec) { s.ServiceSlug = "" }),
			"spec.serviceAccountRef.name": change(func(s *v1alpha1.CloudsmithAccessTokenSpec) { s.ServiceAccountRef.Name = "" }),
		},
	})
}

func TestOutput(t *testing.T) {
	cases := map[string]struct {
		spec      *v1alpha1.CloudsmithAccessTokenSpec
		host      string
		audiences []string
	}{
		"of cloudsmith.io": {good(), "api.cloudsmith.io", []string{"https://api.cloudsmith.io"}},
		"of another address, for an audience": {change(func(s *v1alpha1.CloudsmithAccessTokenSpec) {
			s.APIURL, s.ServiceAccountRef.Audiences = "https://cloudsmith.example.com/", []string{"acme"}
		}), "cloudsmith.example.com", []string{"acme"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			env, audiences := resttest.Accounts(t)
			w := resttest.NewWorld(t, map[string]http.Handler{c.host: &server{clock: env.Time}})
			out, err := Generator().Generate(t.Context(), c.spec, w.Env(env))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.audiences, audiences()); diff != "" {
				t.Error(diff)
			}
			auth, err := base64.StdEncoding.DecodeString(string(out.Values["auth"].Reveal()))
			if err != nil || !strings.HasPrefix(string(auth), "token:ey") {
				t.Errorf("auth is not a user and a token: %v", err)
			}
			expires := env.Time.Now().Add(2 * time.Hour)
			if got := string(out.Values["expiry"].Reveal()); got != strconv.FormatInt(expires.Unix(), 10) || !out.Life.Expires.Equal(expires) {
				t.Errorf("expiry %s, ends %v", got, out.Life.Expires)
			}
		})
	}
}

func TestAnOrganizationThatIsNotThere(t *testing.T) {
	env, _ := resttest.Accounts(t)
	w := resttest.NewWorld(t, map[string]http.Handler{"api.cloudsmith.io": &server{clock: env.Time}})
	spec := change(func(s *v1alpha1.CloudsmithAccessTokenSpec) { s.OrgSlug = "acme/../other" })
	_, err := Generator().Generate(t.Context(), spec, w.Env(env))
	if secret.KindOf(err) != secret.Invalid || !strings.Contains(err.Error(), "spec.orgSlug") {
		t.Errorf("got %v", err)
	}
}
