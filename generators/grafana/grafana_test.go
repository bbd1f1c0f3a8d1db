package grafana

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keyferry/keyferry/api/generators/v1alpha1"
	"github.com/keyferry/keyferry/generator/generatortest"
	"github.com/keyferry/keyferry/internal/restapi/resttest"
	"github.com/keyferry/keyferry/provider/providertest"
	"github.com/keyferry/keyferry/secret"
)

const (
	host   = "grafana.example.com"
	admin  = "glsa_admin-0001"
	viewer = "glsa_viewer-0002"
)

// serverAccount is what the server keeps of a service account.
type serverAccount struct {
	id         int64
	name, role string
	tokens     map[int64]serverToken
}

type serverToken struct {
	name    string
	seconds int64
}

// server is Grafana, as far as service accounts go.
type server struct {
	mux *http.ServeMux

	mu       sync.Mutex
	next     int64
	accounts map[int64]*serverAccount
	calls    []string
	// keyless makes tokens without showing their keys.
	keyless bool
	// hidden answers searches as if nobody had made an account yet.
	hidden int
}

func newServer() *server {
	s := &server{mux: http.NewServeMux(), accounts: map[int64]*serverAccount{}}
	for pattern, handle := range map[string]func(http.ResponseWriter, *http.Request){
		"GET /api/serviceaccounts/search":                 s.search,
		"POST /api/serviceaccounts":                       s.create,
		"DELETE /api/serviceaccounts/{id}":                s.remove,
		"GET /api/serviceaccounts/{id}/tokens":            s.list,
		"POST /api/serviceaccounts/{id}/tokens":           s.createToken,
		"DELETE /api/serviceaccounts/{id}/tokens/{token}": s.removeToken,
	} {
		s.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.calls = append(s.calls, r.Method+" "+r.URL.Path)
			handle(w, r)
		})
	}
	return s
}

func refuse(w http.ResponseWriter, status int) {
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, `{"message":%q}`, http.StatusText(status)+providertest.Mark)
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	user, password, _ := r.BasicAuth()
	switch {
	case r.Header.Get("Authorization") == "Bearer "+admin, user == "root" && password == admin:
		s.mux.ServeHTTP(w, r)
	case r.Header.Get("Authorization") == "Bearer "+viewer:
		refuse(w, http.StatusForbidden)
	default:
		refuse(w, http.StatusUnauthorized)
	}
}

func reply(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

func (a *serverAccount) shown() map[string]any {
	return map[string]any{"id": a.id, "name": a.name, "login": "sa-1-" + a.name, "orgId": 1, "role": a.role, "tokens": len(a.tokens)}
}

func (s *server) search(w http.ResponseWriter, r *http.Request) {
	page, _ := strconv.Atoi(r.URL.Query().Get("page"))
	perPage, _ := strconv.Atoi(r.URL.Query().Get("perpage"))
	found := []map[string]any{}
	for _, id := range slices.Sorted(maps.Keys(s.accounts)) {
		if s.hidden == 0 && strings.Contains(s.accounts[id].name, r.URL.Query().Get("query")) {
			found = append(found, s.accounts[id].shown())
		}
	}
	s.hidden = max(0, s.hidden-1)
	total := len(found)
	from := min((page-1)*perPage, total)
	reply(w, http.StatusOK, map[string]any{"totalCount": total, "page": page, "perPage": perPage, "serviceAccounts": found[from:min(from+perPage, total)]})
}

func (s *server) create(w http.ResponseWriter, r *http.Request) {
	var form struct{ Name, Role string }
	if json.NewDecoder(r.Body).Decode(&form) != nil || !slices.Contains([]string{"None", "Viewer", "Editor", "Admin"}, form.Role) {
		refuse(w, http.StatusBadRequest)
		return
	}
	for _, a := range s.accounts {
		if a.name == form.Name {
			refuse(w, http.StatusBadRequest)
			return
		}
	}
	a := s.add(form.Name, form.Role)
	reply(w, http.StatusCreated, a.shown())
}

func (s *server) add(name, role string) *serverAccount {
	s.next++
	s.accounts[s.next] = &serverAccount{id: s.next, name: name, role: role, tokens: map[int64]serverToken{}}
	return s.accounts[s.next]
}

func (s *server) account(w http.ResponseWriter, r *http.Request) *serverAccount {
	id, _ := strconv.ParseInt(r.PathValue("id"), 10, 64)
	if s.accounts[id] == nil {
		refuse(w, http.StatusNotFound)
	}
	return s.accounts[id]
}

func (s *server) remove(w http.ResponseWriter, r *http.Request) {
	if a := s.account(w, r); a != nil {
		delete(s.accounts, a.id)
		reply(w, http.StatusOK, map[string]string{"message": "Service account deleted"})
	}
}

func (s *server) list(w http.ResponseWriter, r *http.Request) {
	a := s.account(w, r)
	if a == nil {
		return
	}
	shown := []map[string]any{}
	for id, t := range a.tokens {
		shown = append(shown, map[string]any{"id": id, "name": t.name, "hasExpired": false})
	}
	reply(w, http.StatusOK, shown)
}

func (s *server) createToken(w http.ResponseWriter, r *http.Request) {
	a := s.account(w, r)
	if a == nil {
		return
	}
	var form struct {
		Name          string
		SecondsToLive int64
	}
	if json.NewDecoder(r.Body).Decode(&form) != nil || form.Name == "" {
		refuse(w, http.StatusBadRequest)
		return
	}
	for _, other := range s.accounts {
		for _, t := range other.tokens {
			if t.name == form.Name {
				refuse(w, http.StatusConflict)
				return
			}
		}
	}
	s.next++
	a.tokens[s.next] = serverToken{form.Name, form.SecondsToLive}
	key := fmt.Sprintf("glsa_token-number-%d", s.next)
	if s.keyless {
		key = ""
	}
	reply(w, http.StatusOK, map[string]any{"id": s.next, "name": form.Name, "key": key})
}

func (s *server) removeToken(w http.ResponseWriter, r *http.Request) {
	a := s.account(w, r)
	if a == nil {
		return
	}
	id, _ := strconv.ParseInt(r.PathValue("token"), 10, 64)
	if _, ok := a.tokens[id]; !ok {
		refuse(w, http.StatusNotFound)
		return
	}
	delete(a.tokens, id)
	reply(w, http.StatusOK, map[string]string{"message": "Service account token deleted"})
}

// state is what is there: accounts, each with the number of its tokens that can be used.
func (s *server) state() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := map[string]int{}
	for _, a := range s.accounts {
		out[a.name] = 0
		for _, t := range a.tokens {
			if t.seconds != markLife {
				out[a.name]++
			}
		}
	}
	return out
}

// live counts accounts and tokens.
func (s *server) live(providertest.T) int {
	n := 0
	for _, tokens := range s.state() {
		n += 1 + tokens
	}
	return n
}

func (s *server) lose(providertest.T) {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.accounts)
}

func good() *v1alpha1.GrafanaSpec {
	return &v1alpha1.GrafanaSpec{
		URL: "https://" + host, ServiceAccount: v1alpha1.GrafanaServiceAccount{Name: "dashboards", Role: "Viewer"},
		Auth: v1alpha1.GrafanaAuth{Token: &v1alpha1.SecretKeySelector{Name: "grafana", Key: "admin"}},
	}
}

func change(f func(*v1alpha1.GrafanaSpec)) *v1alpha1.GrafanaSpec {
	s := good()
	f(s)
	return s
}

func newEnv(t *testing.T) *providertest.Env {
	t.Helper()
	env := providertest.NewEnv(t)
	env.Put("Secret", providertest.Namespace, "grafana", map[string]string{"admin": admin + "\n", "viewer": viewer, "wrong": providertest.Mark})
	return env
}

func TestConformance(t *testing.T) {
	env, s := newEnv(t), newServer()
	w := resttest.NewWorld(t, map[string]http.Handler{host: s})
	generatortest.Run(t, generatortest.Harness{
		Env: env, Generator: Generator(), Secret: []string{"token"}, Public: []string{"login"},
		Transport: w.Transport, Reached: w.Reached(), RetryAfter: resttest.RetryAfter, Live: s.live, Lose: s.lose,
		Spec: func(s providertest.Situation) any {
			spec := good()
			switch s {
			case providertest.BadCredential:
				spec.Auth.Token.Key = "wrong"
			case providertest.Underprivileged:
				spec.Auth.Token.Key = "viewer"
			}
			return spec
		},
		Invalid: map[string]any{
			"spec.url":                 change(func(s *v1alpha1.GrafanaSpec) { s.URL = "https://user:password@" + host }),
			"spec.serviceAccount.name": change(func(s *v1alpha1.GrafanaSpec) { s.ServiceAccount.Name = "" }),
			"spec.serviceAccount.role": change(func(s *v1alpha1.GrafanaSpec) { s.ServiceAccount.Role = "" }),
			"spec.auth":                change(func(s *v1alpha1.GrafanaSpec) { s.Auth.Token = nil }),
			"spec.auth.token":          change(func(s *v1alpha1.GrafanaSpec) { s.Auth.Token.Name = "" }),
			"spec.auth.basic.username": change(func(s *v1alpha1.GrafanaSpec) {
				s.Auth = v1alpha1.GrafanaAuth{Basic: &v1alpha1.GrafanaBasicAuth{}}
			}),
			"spec.auth.basic.password": change(func(s *v1alpha1.GrafanaSpec) {
				s.Auth = v1alpha1.GrafanaAuth{Basic: &v1alpha1.GrafanaBasicAuth{Username: "root"}}
			}),
		},
	})
}

// step is one thing that happens, and what is there afterwards.
type step struct {
	// generate makes another output; end ends the output of that number, from 0.
	generate bool
	end      int
	want     map[string]int
}

func TestAccounts(t *testing.T) {
	cases := map[string]struct {
		there string // an account that is there before, with one token
		steps []step
	}{
		"an account that was made goes with its last token, in the order of a rotation": {steps: []step{
			{generate: true, want: map[string]int{"dashboards": 1}},
			{generate: true, want: map[string]int{"dashboards": 2}},
			{end: 0, want: map[string]int{"dashboards": 1}},
			{generate: true, want: map[string]int{"dashboards": 2}},
			{end: 1, want: map[string]int{"dashboards": 1}},
			{end: 2, want: map[string]int{}},
			{end: 2, want: map[string]int{}},
		}},
		"an account that was there stays, with what it had": {there: "dashboards", steps: []step{
			{generate: true, want: map[string]int{"dashboards": 2}},
			{end: 0, want: map[string]int{"dashboards": 1}},
			{end: 0, want: map[string]int{"dashboards": 1}},
		}},
		"an account of a similar name is another": {there: "dashboards-2", steps: []step{
			{generate: true, want: map[string]int{"dashboards": 1, "dashboards-2": 1}},
			{end: 0, want: map[string]int{"dashboards-2": 1}},
		}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			s := newServer()
			if c.there != "" {
				s.add(c.there, "Editor").tokens[1000] = serverToken{name: "by hand"}
			}
			env := resttest.NewWorld(t, map[string]http.Handler{host: s}).Env(newEnv(t))
			var states []json.RawMessage
			for i, step := range c.steps {
				if step.generate {
					out, err := Generator().Generate(t.Context(), good(), env)
					if err != nil {
						t.Fatal(err)
					}
					states = append(states, out.State)
				} else if err := Generator().Cleanup(t.Context(), good(), env, states[step.end]); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(step.want, s.state()); diff != "" {
					t.Fatalf("step %d: %s", i, diff)
				}
			}
		})
	}
}

func TestAnEmptyAccountThatWasThereStays(t *testing.T) {
	s := newServer()
	s.add("dashboards", "Viewer")
	env := resttest.NewWorld(t, map[string]http.Handler{host: s}).Env(newEnv(t))
	out, err := Generator().Generate(t.Context(), good(), env)
	if err != nil {
		t.Fatal(err)
	}
	if err := Generator().Cleanup(t.Context(), good(), env, out.State); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]int{"dashboards": 0}, s.state()); diff != "" {
		t.Error(diff)
	}
}

func TestAccountsAreFoundOnLaterPages(t *testing.T) {
	s := newServer()
	for i := range 2*perPage + 1 {
		s.add(fmt.Sprintf("dashboards-%d", i), "Viewer")
	}
	last := s.add("dashboards", "Viewer")
	env := resttest.NewWorld(t, map[string]http.Handler{host: s}).Env(newEnv(t))
	if _, err := Generator().Generate(t.Context(), good(), env); err != nil || len(last.tokens) != 1 {
		t.Errorf("%d tokens, %v", len(last.tokens), err)
	}
}

func TestAnAccountThatAnotherCallMadeMeanwhileIsUsed(t *testing.T) {
	s := newServer()
	s.add("dashboards", "Viewer")
	s.hidden = 1
	env := resttest.NewWorld(t, map[string]http.Handler{host: s}).Env(newEnv(t))
	if _, err := Generator().Generate(t.Context(), good(), env); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff(map[string]int{"dashboards": 1}, s.state()); diff != "" {
		t.Error(diff)
	}
}

func TestATokenWithoutAKeyIsEnded(t *testing.T) {
	s := newServer()
	s.keyless = true
	env := resttest.NewWorld(t, map[string]http.Handler{host: s}).Env(newEnv(t))
	_, err := Generator().Generate(t.Context(), good(), env)
	if secret.KindOf(err) != secret.Unavailable || len(s.state()) != 0 {
		t.Errorf("%v is left, %v", s.state(), err)
	}
}

func TestOutput(t *testing.T) {
	seconds := int64(3600)
	spec := change(func(s *v1alpha1.GrafanaSpec) {
		s.URL, s.ServiceAccount.SecondsToLive = "http://"+host+"/grafana/", &seconds
		s.Auth = v1alpha1.GrafanaAuth{Basic: &v1alpha1.GrafanaBasicAuth{Username: "root", Password: v1alpha1.SecretKeySelector{Name: "grafana", Key: "admin"}}}
	})
	s, plain := newServer(), newEnv(t)
	env := resttest.NewWorld(t, map[string]http.Handler{host: http.StripPrefix("/grafana", s)}).Env(plain)
	out, err := Generator().Generate(t.Context(), spec, env)
	if err != nil {
		t.Fatal(err)
	}
	if got := string(out.Values["login"].Reveal()); got != "sa-1-dashboards" {
		t.Errorf("login %q", got)
	}
	if want := `{"serviceAccount":{"id":1,"login":"sa-1-dashboards","tokenID":3}}`; string(out.State) != want {
		t.Errorf("the state is %s", out.State)
	}
	if want := plain.Time.Now().Add(time.Hour); !out.Life.Expires.Equal(want) || s.accounts[1].tokens[3].seconds != seconds {
		t.Errorf("ends at %v, want %v; the server was told %+v", out.Life.Expires, want, s.accounts[1].tokens[3])
	}
}

// TestStateOfESO cleans up what External Secrets Operator has left: it names tokens in
// its own way, and accounts are never taken for ours.
func TestStateOfESO(t *testing.T) {
	s := newServer()
	a := s.add("dashboards", "Viewer")
	a.tokens[77] = serverToken{name: "0190a1b2-0000-4000-8000-000000000000"}
	env := resttest.NewWorld(t, map[string]http.Handler{host: s}).Env(newEnv(t))
	state := json.RawMessage(`{"serviceAccount":{"id":1,"login":"sa-1-dashboards","tokenID":77}}`)
	for range 2 {
		if err := Generator().Cleanup(t.Context(), good(), env, state); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(map[string]int{"dashboards": 0}, s.state()); diff != "" {
			t.Error(diff)
		}
	}
}
