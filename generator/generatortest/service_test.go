package generatortest

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/keyferry/keyferry/generator"
	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/provider/providertest"
	"github.com/keyferry/keyferry/secret"
)

const (
	password = "open sesame 4711"
	lasts    = time.Hour
)

// service makes accounts and tokens for them: an account lives until it is deleted, its
// token an hour. It is at http://service/<situation>, on a network in memory.
type service struct {
	conns   chan net.Conn
	over    chan struct{}
	reached chan struct{}

	mu       sync.Mutex
	next     int
	accounts map[string]bool
}

func newService(t T) *service {
	s := &service{conns: make(chan net.Conn), over: make(chan struct{}), reached: make(chan struct{}, 1), accounts: map[string]bool{}}
	server := &http.Server{Handler: s}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(s)
	}()
	t.Cleanup(func() {
		close(s.over)
		_ = server.Close()
		<-done
	})
	return s
}

// Accept, Close and Addr implement net.Listener.
func (s *service) Accept() (net.Conn, error) {
	select {
	case c := <-s.conns:
		return c, nil
	case <-s.over:
		return nil, net.ErrClosed
	}
}

func (s *service) Close() error { return nil }

func (s *service) Addr() net.Addr { return &net.UnixAddr{Name: "service"} }

func (s *service) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case s.conns <- theirs:
		return ours, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-s.over:
		return nil, net.ErrClosed
	}
}

func (s *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, path, _ := strings.Cut(r.URL.Path, "/")
	situation, path, _ := strings.Cut(path, "/")
	if status := s.trouble(r, providertest.Situation(situation)); status != 0 {
		w.Header().Set("Retry-After", "7")
		w.WriteHeader(status)
		fmt.Fprint(w, providertest.Mark)
		return
	}
	parts := strings.Split(path, "/")
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case r.Method == http.MethodPost && len(parts) == 1:
		s.next++
		id := fmt.Sprint("account-", s.next)
		s.accounts[id] = true
		_ = json.NewEncoder(w).Encode(map[string]any{"id": id})
	case len(parts) < 2 || !s.accounts[parts[1]]:
		w.WriteHeader(http.StatusNotFound)
	case r.Method == http.MethodDelete:
		delete(s.accounts, parts[1])
	default:
		_ = json.NewEncoder(w).Encode(map[string]any{"token": rand.Text(), "seconds": lasts.Seconds()})
	}
}

func (s *service) trouble(r *http.Request, situation providertest.Situation) int {
	switch situation {
	case providertest.Underprivileged:
		return http.StatusForbidden
	case providertest.Throttled:
		return http.StatusTooManyRequests
	case providertest.Down:
		return http.StatusServiceUnavailable
	case providertest.Hanging:
		select {
		case s.reached <- struct{}{}:
		default:
		}
		select {
		case <-r.Context().Done():
		case <-s.over:
		}
		return http.StatusServiceUnavailable
	}
	if r.Header.Get("Authorization") != password {
		return http.StatusUnauthorized
	}
	return 0
}

func (s *service) live(T) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.accounts)
}

func (s *service) lose(T) {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.accounts)
}

// tokenSpec is the spec of a generator of tokens of the service.
type tokenSpec struct {
	URL, Secret string
}

// token is an answer of the service.
type token struct {
	ID, Token string
	Seconds   int
}

func (s *tokenSpec) fail(kind secret.Kind, op, format string, args ...any) error {
	return &secret.Error{Kind: kind, Op: op, Provider: "token", Err: fmt.Errorf(format, args...)}
}

// ask makes one request.
func (s *tokenSpec) ask(ctx context.Context, env provider.Env, method, path string) (token, error) {
	var out token
	login, err := env.Credential(ctx, provider.CredentialRef{Name: s.Secret, Key: "password", Field: "spec.secret"})
	if err != nil {
		return out, err
	}
	client, err := env.HTTP(provider.TLS{})
	if err != nil {
		return out, err
	}
	req, err := http.NewRequestWithContext(ctx, method, s.URL+"/accounts"+path, nil)
	if err != nil {
		return out, s.fail(secret.Invalid, "ask", "spec.url is no URL")
	}
	req.Header.Set("Authorization", string(login.Reveal()))
	resp, err := client.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return out, s.fail(secret.Unavailable, "ask", "%w", err)
	}
	defer resp.Body.Close()
	kinds := map[int]secret.Kind{401: secret.Unauthenticated, 403: secret.Denied, 404: secret.NotFound, 429: secret.RateLimited, 503: secret.Unavailable}
	if kind := kinds[resp.StatusCode]; kind != "" {
		e := &secret.Error{Kind: kind, Op: "ask", Provider: "token", Err: errors.New("the service says no")}
		if kind == secret.RateLimited {
			e.RetryAfter = 7 * time.Second
		}
		return out, e
	}
	if method != http.MethodDelete {
		err = json.NewDecoder(resp.Body).Decode(&out)
	}
	return out, err
}

// named returns the ID in a state.
func (s *tokenSpec) named(state json.RawMessage) (string, error) {
	var of struct{ ID string }
	if err := json.Unmarshal(state, &of); err != nil || of.ID == "" {
		return "", s.fail(secret.Invalid, "read the state", "it names no account")
	}
	return of.ID, nil
}

// good describes a generator as good as they get.
func good() *generator.Definition[tokenSpec] {
	return &generator.Definition[tokenSpec]{
		Kind: "Token",
		Validate: func(s *tokenSpec) error {
			if s.URL == "" {
				return s.fail(secret.Invalid, "validate", "spec.url is empty")
			}
			return nil
		},
		Generate: func(ctx context.Context, s *tokenSpec, env provider.Env) (generator.Output, error) {
			account, err := s.ask(ctx, env, http.MethodPost, "")
			if err != nil {
				return generator.Output{}, err
			}
			made, err := s.ask(ctx, env, http.MethodPost, "/"+account.ID+"/token")
			if err != nil {
				_, _ = s.ask(context.WithoutCancel(ctx), env, http.MethodDelete, "/"+account.ID)
				return generator.Output{}, err
			}
			state, err := json.Marshal(map[string]string{"id": account.ID})
			return generator.Output{
				Values: map[string]secret.Value{"token": secret.FromString(made.Token), "account": secret.FromString(account.ID)},
				State:  state,
				Life:   generator.Life{Expires: env.Clock().Now().Add(time.Duration(made.Seconds) * time.Second), Renewable: true},
			}, err
		},
		Renew: func(ctx context.Context, s *tokenSpec, env provider.Env, state json.RawMessage) (generator.Life, error) {
			id, err := s.named(state)
			if err != nil {
				return generator.Life{}, err
			}
			made, err := s.ask(ctx, env, http.MethodPut, "/"+id)
			return generator.Life{Expires: env.Clock().Now().Add(time.Duration(made.Seconds) * time.Second), Renewable: true}, err
		},
		Cleanup: func(ctx context.Context, s *tokenSpec, env provider.Env, state json.RawMessage) error {
			id, err := s.named(state)
			if err != nil {
				return err
			}
			if _, err := s.ask(ctx, env, http.MethodDelete, "/"+id); !errors.Is(err, secret.NotFound) {
				return err
			}
			return nil
		},
	}
}

// harness is that of a generator of tokens of the service.
func (s *service) harness(t T, d *generator.Definition[tokenSpec]) Harness {
	env := providertest.NewEnv(t)
	env.Put("", providertest.Namespace, "login", map[string]string{"password": password})
	env.Put("", providertest.Namespace, "wrong", map[string]string{"password": providertest.Mark})
	return Harness{
		Env: env, Generator: generator.Define(*d),
		Spec: func(situation providertest.Situation) any {
			out := &tokenSpec{URL: "http://service/" + strings.ReplaceAll(string(situation), " ", "%20"), Secret: "login"}
			if situation == providertest.BadCredential {
				out.Secret = "wrong"
			}
			return out
		},
		Transport: func(_ providertest.Situation, t *http.Transport) { t.DialContext = s.dial },
		Secret:    []string{"token"}, Public: []string{"account"},
		Fits: func(_ any, out generator.Output) error {
			if !strings.Contains(string(out.State), `"`+string(out.Values["account"].Reveal())+`"`) {
				return errors.New("the state is that of another account")
			}
			return nil
		},
		Invalid: map[string]any{"spec.url": &tokenSpec{}},
		Lasts:   lasts, Renews: true, Live: s.live, Lose: s.lose,
		Reached: s.reached, RetryAfter: 7 * time.Second,
	}
}
