package quay

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
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

const robot = "team+puller"

// server is Quay: it has one robot account, which is federated with the service account
// "puller".
type server struct {
	clock  *providertest.Clock
	made   atomic.Int64
	answer string // instead of a token, if set
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet || r.URL.Path != "/oauth2/federation/robot/token" {
		http.Error(w, "no such page", http.StatusNotFound)
		return
	}
	user, token, ok := r.BasicAuth()
	switch {
	case !ok || user != robot || !strings.HasPrefix(token, "token of "):
		http.Error(w, "not federated "+token, http.StatusUnauthorized)
		return
	case !strings.HasPrefix(token, "token of puller "):
		http.Error(w, "not this one "+token, http.StatusForbidden)
		return
	}
	if s.answer != "" {
		_, _ = fmt.Fprint(w, s.answer)
		return
	}
	_ = json.NewEncoder(w).Encode(map[string]string{"token": resttest.JWT(map[string]any{
		"sub": robot, "exp": s.clock.Now().Add(time.Hour).Unix(), "number": s.made.Add(1),
	})})
}

func good() *v1alpha1.QuayAccessTokenSpec {
	return &v1alpha1.QuayAccessTokenSpec{RobotAccount: robot, ServiceAccountRef: esmeta.ServiceAccountSelector{Name: "puller"}}
}

func change(f func(*v1alpha1.QuayAccessTokenSpec)) *v1alpha1.QuayAccessTokenSpec {
	s := good()
	f(s)
	return s
}

func TestConformance(t *testing.T) {
	env, _ := resttest.Accounts(t)
	w := resttest.NewWorld(t, map[string]http.Handler{"quay.io": &server{clock: env.Time}})
	generatortest.Run(t, generatortest.Harness{
		Env: env, Generator: Generator(), Secret: []string{"auth"}, Public: []string{"registry", "expiry"}, Lasts: time.Hour,
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
			"spec.url":                    change(func(s *v1alpha1.QuayAccessTokenSpec) { s.URL = "http://quay.io" }),
			"spec.robotAccount":           change(func(s *v1alpha1.QuayAccessTokenSpec) { s.RobotAccount = "a:b" }),
			"spec.serviceAccountRef.name": change(func(s *v1alpha1.QuayAccessTokenSpec) { s.ServiceAccountRef.Name = "" }),
		},
	})
}

func TestOutput(t *testing.T) {
	cases := map[string]struct {
		spec      *v1alpha1.QuayAccessTokenSpec
		registry  string
		audiences []string
	}{
		"of quay.io": {good(), "quay.io", []string{"quay.io"}},
		"of a registry of one's own": {
			change(func(s *v1alpha1.QuayAccessTokenSpec) { s.URL = "https://quay.example.com/" }), "quay.example.com", []string{"quay.example.com"},
		},
		"for an audience": {
			change(func(s *v1alpha1.QuayAccessTokenSpec) { s.ServiceAccountRef.Audiences = []string{"quay-federation"} }), "quay.io", []string{"quay-federation"},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			env, audiences := resttest.Accounts(t)
			w := resttest.NewWorld(t, map[string]http.Handler{c.registry: &server{clock: env.Time}})
			out, err := Generator().Generate(t.Context(), c.spec, w.Env(env))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.audiences, audiences()); diff != "" {
				t.Error(diff)
			}
			expires := env.Time.Now().Add(time.Hour)
			auth, err := base64.StdEncoding.DecodeString(string(out.Values["auth"].Reveal()))
			if err != nil || !strings.HasPrefix(string(auth), robot+":ey") {
				t.Errorf("auth is not a user and a token: %v", err)
			}
			if got := string(out.Values["expiry"].Reveal()); got != strconv.FormatInt(expires.Unix(), 10) {
				t.Errorf("expiry %s", got)
			}
			if got := string(out.Values["registry"].Reveal()); got != c.registry || !out.Life.Expires.Equal(expires) {
				t.Errorf("registry %s until %v", got, out.Life.Expires)
			}
		})
	}
}

func TestStrangeAnswers(t *testing.T) {
	for name, answer := range map[string]string{"a page": "<html>", "no token": `{}`, "a token without an end": `{"token":"` + resttest.JWT(nil) + `"}`} {
		t.Run(name, func(t *testing.T) {
			env, _ := resttest.Accounts(t)
			w := resttest.NewWorld(t, map[string]http.Handler{"quay.io": &server{clock: env.Time, answer: answer}})
			if _, err := Generator().Generate(t.Context(), good(), w.Env(env)); secret.KindOf(err) != secret.Unavailable {
				t.Errorf("got %v", err)
			}
		})
	}
}
