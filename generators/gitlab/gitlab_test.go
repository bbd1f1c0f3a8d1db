package gitlab

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/keyferry/keyferry/api/generators/v1alpha1"
	esmeta "github.com/keyferry/keyferry/api/meta/v1"
	"github.com/keyferry/keyferry/generator/generatortest"
	"github.com/keyferry/keyferry/internal/restapi/resttest"
	"github.com/keyferry/keyferry/provider/providertest"
	"github.com/keyferry/keyferry/secret"
)

const (
	maintainer = "glpat-maintainer-0001"
	guest      = "glpat-guest-0002"
)

// deployToken is what the server keeps of one.
type deployToken struct {
	Place, Name, Username, Expires string
	Scopes                         []string
}

// server is GitLab: it keeps deploy tokens of the project 42, of group/project and of the group 7.
type server struct {
	mu      sync.Mutex
	next    int
	tokens  map[int]deployToken
	answer  func(id int) string // instead of the token, if set
	deleted []int
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	refuse := func(status int) {
		w.WriteHeader(status)
		_, _ = fmt.Fprintf(w, `{"message":%q}`, http.StatusText(status)+providertest.Mark)
	}
	switch r.Header.Get("PRIVATE-TOKEN") {
	case maintainer:
	case guest:
		refuse(http.StatusForbidden)
		return
	default:
		refuse(http.StatusUnauthorized)
		return
	}
	place, id, ok := strings.Cut(strings.TrimPrefix(r.URL.EscapedPath(), "/api/v4/"), "/deploy_tokens")
	if !ok || !slices.Contains([]string{"projects/42", "projects/group%2Fproject", "groups/7"}, place) {
		refuse(http.StatusNotFound)
		return
	}
	switch {
	case r.Method == http.MethodPost && id == "":
		s.create(w, r, place, refuse)
	case r.Method == http.MethodDelete:
		n, _ := strconv.Atoi(strings.TrimPrefix(id, "/"))
		if s.tokens[n].Place != place {
			refuse(http.StatusNotFound)
			return
		}
		delete(s.tokens, n)
		s.deleted = append(s.deleted, n)
		w.WriteHeader(http.StatusNoContent)
	default:
		refuse(http.StatusMethodNotAllowed)
	}
}

func (s *server) create(w http.ResponseWriter, r *http.Request, place string, refuse func(int)) {
	var order struct {
		Name      string   `json:"name"`
		Username  string   `json:"username"`
		ExpiresAt string   `json:"expires_at"`
		Scopes    []string `json:"scopes"`
	}
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	if d.Decode(&order) != nil || order.Name == "" || len(order.Scopes) == 0 || r.Header.Get("Content-Type") != "application/json" {
		refuse(http.StatusBadRequest)
		return
	}
	s.next++
	if order.Username == "" {
		order.Username = fmt.Sprintf("gitlab+deploy-token-%d", s.next)
	}
	if s.tokens == nil {
		s.tokens = map[int]deployToken{}
	}
	s.tokens[s.next] = deployToken{place, order.Name, order.Username, order.ExpiresAt, order.Scopes}
	w.WriteHeader(http.StatusCreated)
	if s.answer != nil {
		_, _ = fmt.Fprint(w, s.answer(s.next))
		return
	}
	answer := map[string]any{
		"id": s.next, "name": order.Name, "username": order.Username, "scopes": order.Scopes, "expires_at": nil,
		"token": fmt.Sprintf("gldt-token-number-%d", s.next), "revoked": false, "expired": false,
	}
	if order.ExpiresAt != "" {
		answer["expires_at"] = order.ExpiresAt
	}
	_ = json.NewEncoder(w).Encode(answer)
}

func (s *server) live(providertest.T) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.tokens)
}

func (s *server) lose(providertest.T) {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.tokens)
}

func good() *v1alpha1.GitlabDeployTokenSpec {
	s := &v1alpha1.GitlabDeployTokenSpec{ProjectID: "42", Name: "reader", Scopes: []v1alpha1.GitlabDeployTokenScope{"read_registry"}}
	s.Auth.Token.SecretRef = esmeta.SecretKeySelector{Name: "gitlab", Key: "maintainer"}
	return s
}

func change(f func(*v1alpha1.GitlabDeployTokenSpec)) *v1alpha1.GitlabDeployTokenSpec {
	s := good()
	f(s)
	return s
}

func newEnv(t *testing.T) *providertest.Env {
	t.Helper()
	env := providertest.NewEnv(t)
	env.Put("Secret", providertest.Namespace, "gitlab", map[string]string{"maintainer": maintainer + "\n", "guest": guest, "wrong": providertest.Mark})
	return env
}

func TestConformance(t *testing.T) {
	env, s := newEnv(t), &server{}
	w := resttest.NewWorld(t, map[string]http.Handler{"gitlab.com": s})
	generatortest.Run(t, generatortest.Harness{
		Env: env, Generator: Generator(), Secret: []string{"token"}, Public: []string{"username"},
		Transport: w.Transport, Reached: w.Reached(), RetryAfter: resttest.RetryAfter, Live: s.live, Lose: s.lose,
		Spec: func(s providertest.Situation) any {
			spec := good()
			switch s {
			case providertest.BadCredential:
				spec.Auth.Token.SecretRef.Key = "wrong"
			case providertest.Underprivileged:
				spec.Auth.Token.SecretRef.Key = "guest"
			}
			return spec
		},
		Invalid: map[string]any{
			"spec.url":                  change(func(s *v1alpha1.GitlabDeployTokenSpec) { s.URL = "gitlab.example.com" }),
			"spec.projectID":            change(func(s *v1alpha1.GitlabDeployTokenSpec) { s.GroupID = "7" }),
			"spec.groupID":              change(func(s *v1alpha1.GitlabDeployTokenSpec) { s.ProjectID = "" }),
			"spec.name":                 change(func(s *v1alpha1.GitlabDeployTokenSpec) { s.Name = "" }),
			"spec.scopes":               change(func(s *v1alpha1.GitlabDeployTokenSpec) { s.Scopes = nil }),
			"spec.auth.token.secretRef": change(func(s *v1alpha1.GitlabDeployTokenSpec) { s.Auth.Token.SecretRef.Name = "" }),
		},
	})
}

func TestWhatIsMade(t *testing.T) {
	until := metav1.NewTime(time.Date(2031, 1, 1, 0, 0, 0, 0, time.UTC))
	cases := map[string]struct {
		spec    *v1alpha1.GitlabDeployTokenSpec
		want    deployToken
		state   string
		expires time.Time
	}{
		"of a project": {
			good(),
			deployToken{Place: "projects/42", Name: "reader", Username: "gitlab+deploy-token-1", Scopes: []string{"read_registry"}},
			`{"url":"","projectID":"42","tokenID":1}`,
			time.Time{},
		},
		"of a project by its path, until a day": {
			change(func(s *v1alpha1.GitlabDeployTokenSpec) { s.ProjectID, s.ExpiresAt = "group/project", &until }),
			deployToken{Place: "projects/group%2Fproject", Name: "reader", Username: "gitlab+deploy-token-1", Scopes: []string{"read_registry"}, Expires: "2031-01-01T00:00:00Z"},
			`{"url":"","projectID":"group/project","tokenID":1}`, until.Time,
		},
		"of a group, at a server of one's own, with a user": {
			change(func(s *v1alpha1.GitlabDeployTokenSpec) {
				s.ProjectID, s.GroupID, s.URL, s.Username = "", "7", "http://git.example.com/", "ci"
			}),
			deployToken{Place: "groups/7", Name: "reader", Username: "ci", Scopes: []string{"read_registry"}},
			`{"url":"http://git.example.com/","groupID":"7","tokenID":1}`,
			time.Time{},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			s := &server{}
			w := resttest.NewWorld(t, map[string]http.Handler{"gitlab.com": s, "git.example.com": s})
			env := w.Env(newEnv(t))
			out, err := Generator().Generate(t.Context(), c.spec, env)
			if err != nil || string(out.State) != c.state || !out.Life.Expires.Equal(c.expires) {
				t.Fatalf("got state %s, life %v, %v", out.State, out.Life, err)
			}
			if diff := cmp.Diff(map[int]deployToken{1: c.want}, s.tokens); diff != "" {
				t.Error(diff)
			}
			if got := string(out.Values["username"].Reveal()); got != c.want.Username {
				t.Errorf("the user is %q", got)
			}
			if err := Generator().Cleanup(t.Context(), c.spec, env, out.State); err != nil || s.live(t) != 0 {
				t.Errorf("%d are left, %v", s.live(t), err)
			}
		})
	}
}

func TestAnAnswerWithoutATokenLeavesNone(t *testing.T) {
	s := &server{answer: func(id int) string { return fmt.Sprintf(`{"id":%d,"username":"u"}`, id) }}
	w := resttest.NewWorld(t, map[string]http.Handler{"gitlab.com": s})
	_, err := Generator().Generate(t.Context(), good(), w.Env(newEnv(t)))
	if secret.KindOf(err) != secret.Unavailable || s.live(t) != 0 || !slices.Equal(s.deleted, []int{1}) {
		t.Errorf("%v, and deleted are %v", err, s.deleted)
	}
}

// TestTheStateDoesNotSendTheCredentialElsewhere: who may write a GeneratorState is not
// whom the credential is for.
func TestTheStateDoesNotSendTheCredentialElsewhere(t *testing.T) {
	for name, state := range map[string]string{
		"another server":  `{"url":"http://evil.example.com","projectID":"42","tokenID":1}`,
		"another project": `{"url":"","projectID":"43","tokenID":1}`,
		"a group":         `{"url":"","groupID":"7","tokenID":1}`,
		"no state":        `[]`,
	} {
		t.Run(name, func(t *testing.T) {
			w := resttest.NewWorld(t, nil) // whoever is asked fails the test
			err := Generator().Cleanup(t.Context(), good(), w.Env(newEnv(t)), json.RawMessage(state))
			if secret.KindOf(err) != secret.Invalid {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestAPlaceThatIsNotThere(t *testing.T) {
	w := resttest.NewWorld(t, map[string]http.Handler{"gitlab.com": &server{}})
	spec := change(func(s *v1alpha1.GitlabDeployTokenSpec) { s.ProjectID = ".." })
	_, err := Generator().Generate(t.Context(), spec, w.Env(newEnv(t)))
	if secret.KindOf(err) != secret.Invalid || !strings.Contains(err.Error(), "spec.projectID") {
		t.Errorf("got %v", err)
	}
}
