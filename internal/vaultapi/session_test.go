package vaultapi

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/secret"
)

func get(t *testing.T, c *Client) {
	t.Helper()
	if _, err := c.Get(t.Context(), secret.Ref{Key: "x"}); err != nil {
		t.Fatal(err)
	}
}

// gate holds requests for a path until it is opened.
type gate struct {
	suffix string
	open   chan struct{}
	refuse func(http.ResponseWriter)
}

func (g gate) fault(w http.ResponseWriter, r *http.Request) bool {
	if !strings.HasSuffix(r.URL.Path, g.suffix) {
		return false
	}
	select {
	case <-g.open:
	case <-r.Context().Done():
		return true
	}
	if g.refuse != nil {
		g.refuse(w)
		return true
	}
	return false
}

func TestARefusedLoginIsSharedByThoseWhoWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		g := gate{"/login/bob", make(chan struct{}), func(w http.ResponseWriter) { raw(w, 400, `{"errors":["no"]}`) }}
		f.fault = g.fault
		c, _ := openFake(t, f, "")
		errs := make(chan error, 50)
		for range cap(errs) {
			go func() {
				_, err := c.Get(t.Context(), secret.Ref{Key: "x"})
				errs <- err
			}()
		}
		synctest.Wait()
		close(g.open)
		for range cap(errs) {
			wantKind(t, <-errs, secret.Unauthenticated)
		}
		if got := f.count("/login/bob"); got != 1 {
			t.Errorf("%d logins, want 1", got)
		}
	})
}

func TestALoginThatIsGivenUpIsTakenOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		g := gate{suffix: "/login/bob", open: make(chan struct{})}
		f.fault = g.fault
		c, _ := openFake(t, f, "")
		ctx, giveUp := context.WithCancel(t.Context())
		first, second := make(chan error, 1), make(chan error, 1)
		go func() { _, err := c.Get(ctx, secret.Ref{Key: "x"}); first <- err }()
		synctest.Wait()
		go func() { _, err := c.Get(t.Context(), secret.Ref{Key: "x"}); second <- err }()
		synctest.Wait()
		giveUp()
		wantKind(t, <-first, secret.Unavailable)
		synctest.Wait()
		close(g.open)
		if err := <-second; err != nil {
			t.Errorf("who waited shares the failure of who gave up: %v", err)
		}
	})
}

func TestWhoWaitsForALoginEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		g := gate{suffix: "/login/bob", open: make(chan struct{})}
		f.fault = g.fault
		c, _ := openFake(t, f, "")
		first := make(chan error, 1)
		go func() { _, err := c.Get(t.Context(), secret.Ref{Key: "x"}); first <- err }()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := c.Get(ctx, secret.Ref{Key: "x"})
		wantKind(t, err, secret.Unavailable)
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the error hides the deadline: %v", err)
		}
		close(g.open)
		if err := <-first; err != nil {
			t.Error(err)
		}
	})
}

func TestARenewalHoldsNobodyUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		c, env := openFake(t, f, "")
		get(t, c)
		g := gate{suffix: "/renew-self", open: make(chan struct{})}
		f.fault = g.fault
		env.Time.Advance(41 * time.Minute)
		renewing := make(chan error, 1)
		go func() { _, err := c.Get(t.Context(), secret.Ref{Key: "x"}); renewing <- err }()
		synctest.Wait()
		get(t, c)
		get(t, c)
		close(g.open)
		if err := <-renewing; err != nil {
			t.Error(err)
		}
		if renewals, logins := f.count("/renew-self"), f.count("/login/bob"); renewals != 1 || logins != 1 {
			t.Errorf("%d renewals and %d logins, want one each", renewals, logins)
		}
	})
}

func TestRenewal(t *testing.T) {
	status := func(status int) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			return strings.HasSuffix(r.URL.Path, "/renew-self") && raw(w, status, `{"errors":["no"]}`)
		}
	}
	for name, tc := range map[string]struct {
		renewed          int
		fault            func(http.ResponseWriter, *http.Request) bool
		waits            []time.Duration
		logins, renewals int
	}{
		"goes on for as long as it is granted": {
			renewed: 3600, waits: []time.Duration{41 * time.Minute, 41 * time.Minute, 41 * time.Minute}, logins: 1, renewals: 3,
		},
		"that gives little is the last": {
			renewed: 1200, waits: []time.Duration{41 * time.Minute, 14 * time.Minute}, logins: 2, renewals: 1,
		},
		"that is refused makes a login":                {fault: status(403), waits: []time.Duration{41 * time.Minute}, logins: 2, renewals: 1},
		"that is refused with 500 makes a login":       {fault: status(500), waits: []time.Duration{41 * time.Minute}, logins: 2, renewals: 1},
		"that fails leaves what there is":              {fault: status(503), waits: []time.Duration{41 * time.Minute, time.Minute}, logins: 1, renewals: 1},
		"that fails is tried again a little later":     {fault: status(503), waits: []time.Duration{41 * time.Minute, 7 * time.Minute}, logins: 1, renewals: 2},
		"that fails to the end is followed by login":   {fault: status(503), waits: []time.Duration{41 * time.Minute, 20 * time.Minute}, logins: 2, renewals: 1},
		"is not tried when the token's life has ended": {renewed: 3600, waits: []time.Duration{61 * time.Minute}, logins: 2},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake()
			f.renewed, f.fault = tc.renewed, tc.fault
			c, env := openFake(t, f, "")
			get(t, c)
			for _, wait := range tc.waits {
				env.Time.Advance(wait)
				get(t, c)
			}
			if got := f.count("/login/bob"); got != tc.logins {
				t.Errorf("%d logins, want %d", got, tc.logins)
			}
			if got := f.count("/renew-self"); got != tc.renewals {
				t.Errorf("%d renewals, want %d", got, tc.renewals)
			}
		})
	}
}

func TestATokenOfALoginThatIsGoneIsReplacedOnce(t *testing.T) {
	f := newFake()
	c, _ := openFake(t, f, "")
	get(t, c)
	f.revoke()
	get(t, c)
	if got := f.count("/login/bob"); got != 2 {
		t.Errorf("%d logins, want 2", got)
	}
	f.fault = func(w http.ResponseWriter, r *http.Request) bool {
		return strings.Contains(r.URL.Path, "/kv/") && raw(w, 403, `{"errors":["permission denied","invalid token"]}`)
	}
	_, err := c.Get(t.Context(), secret.Ref{Key: "x"})
	wantKind(t, err, secret.Unauthenticated)
	if got := f.count("/login/bob"); got != 3 {
		t.Errorf("%d logins, want 3", got)
	}
}

func TestATokenThatWasGivenIsNotReplaced(t *testing.T) {
	f := newFake()
	c, _ := openFake(t, f, "", given)
	get(t, c)
	f.revoke()
	_, err := c.Get(t.Context(), secret.Ref{Key: "x"})
	wantKind(t, err, secret.Unauthenticated)
	if got := f.count("/data/x"); got != 2 {
		t.Errorf("%d reads, want 2", got)
	}
}

func TestClose(t *testing.T) {
	for name, tc := range map[string]struct {
		change  func(*Config)
		fault   func(http.ResponseWriter, *http.Request) bool
		living  int
		revokes int
		kind    secret.Kind
	}{
		"revokes the token of a login":  {living: 1, revokes: 1}, // the given one lives on
		"leaves a token that was given": {change: given, living: 1},
		"says that it could not":        {fault: func(w http.ResponseWriter, _ *http.Request) bool { return raw(w, 503, "") }, living: 2, revokes: 1, kind: secret.Unavailable},
		"is content if the token is gone": {fault: func(w http.ResponseWriter, _ *http.Request) bool {
			return raw(w, 403, `{"errors":["permission denied"]}`)
		}, living: 2, revokes: 1},
		"says that a policy is in the way": {fault: func(w http.ResponseWriter, _ *http.Request) bool {
			return raw(w, 403, `{"errors":["1 error occurred:\n\t* permission denied"]}`)
		}, living: 2, revokes: 1, kind: secret.Denied},
		"does nothing for an expired token": {change: func(*Config) {}, living: 2},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake()
			expired := tc.change != nil && tc.living == 2
			if tc.change == nil {
				tc.change = func(*Config) {}
			}
			c, env := openFake(t, f, "", tc.change)
			get(t, c)
			if expired {
				env.Time.Advance(2 * time.Hour)
			}
			f.fault = tc.fault
			wantKind(t, c.Close(), tc.kind)
			if got := f.living(); got != tc.living {
				t.Errorf("%d tokens live on, want %d", got, tc.living)
			}
			if got := f.count("/revoke-self"); got != tc.revokes {
				t.Errorf("%d revocations, want %d", got, tc.revokes)
			}
			_, err := c.Get(t.Context(), secret.Ref{Key: "x"})
			wantKind(t, err, secret.Unavailable)
		})
	}
}

func TestALoginThatEndsAfterCloseIsRevoked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		g := gate{suffix: "/login/bob", open: make(chan struct{})}
		f.fault = g.fault
		c, _ := openFake(t, f, "")
		late := make(chan error, 1)
		go func() { _, err := c.Get(t.Context(), secret.Ref{Key: "x"}); late <- err }()
		synctest.Wait()
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		close(g.open)
		wantKind(t, <-late, secret.Unavailable)
		if got := f.living(); got != 1 {
			t.Errorf("%d tokens live on, want the given one alone", got)
		}
	})
}

func TestCloseOutlivesTheContextOfOpen(t *testing.T) {
	f := newFake()
	_, env := openFake(t, f, "")
	ctx, cancel := context.WithCancel(t.Context())
	c, err := Open(ctx, Config{
		Provider: "vault", Server: "https://vault.test", Mount: "kv", KV: 2,
		Auth: At("auth", "userpass", []string{"login", "bob"}, map[string]Read{"password": Literal("p")}),
	}, direct{env, f})
	if err != nil {
		t.Fatal(err)
	}
	get(t, c)
	cancel()
	if err := c.Close(); err != nil || f.living() != 1 {
		t.Errorf("the token was not revoked: %v", err)
	}
}

func TestHeaders(t *testing.T) {
	f := newFake()
	c, _ := openFake(t, f, "", func(c *Config) {
		c.Headers = map[string]string{"X-Proxy": "yes", "X-Vault-Token": "mine", "X-Vault-Request": "no"}
		c.ForwardInconsistent, c.ReadYourWrites = true, true
		c.Namespace, c.AuthNamespace = "team/sub/", "team"
	})
	get(t, c)
	pick := func(h http.Header) map[string]string {
		out := map[string]string{}
		for k := range h {
			if strings.HasPrefix(k, "X-") {
				out[k] = h.Get(k)
			}
		}
		return out
	}
	login := map[string]string{"X-Proxy": "yes", "X-Vault-Request": "true", "X-Vault-Inconsistent": "forward-active-node", "X-Vault-Namespace": "team"}
	if diff := cmp.Diff(login, pick(f.last("/login/bob"))); diff != "" {
		t.Errorf("login (-want +got):\n%s", diff)
	}
	read := map[string]string{
		"X-Proxy": "yes", "X-Vault-Request": "true", "X-Vault-Inconsistent": "forward-active-node", "X-Vault-Namespace": "team/sub",
		"X-Vault-Token": "token-of-login-1", "X-Vault-Index": "index-of-token-of-login-1",
	}
	if diff := cmp.Diff(read, pick(f.last("/data/x"))); diff != "" {
		t.Errorf("read (-want +got):\n%s", diff)
	}
}

func TestCallsAreObserved(t *testing.T) {
	f := newFake()
	c, env := openFake(t, f, "")
	get(t, c)
	if err := c.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, err := c.Get(t.Context(), secret.Ref{Key: "absent"})
	wantKind(t, err, secret.NotFound)
	for range c.List(t.Context(), secret.Query{}) {
		t.Error("something is in an empty store")
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, call := range env.Calls() {
		got = append(got, call.Name)
		if call.Err != nil {
			t.Errorf("%s is counted as a failure: %v", call.Name, call.Err)
		}
	}
	want := []string{"Login", "ReadSecretData", "LookupSelf", "ReadSecretData", "ListSecrets", "RevokeSelf"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
}

func TestReferentCredentials(t *testing.T) {
	f := newFake()
	c, env := openFake(t, f, "")
	env.Referent = true
	if err := c.Check(t.Context()); !errors.Is(err, provider.ErrReferent) {
		t.Errorf("the error hides that the reference is the consumer's: %v", err)
	}
}

func TestFoldersAreListedConcurrentlyAndWithinABound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		var inside atomic.Int32
		open := make(chan struct{})
		f.fault = func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.Contains(r.URL.Path, "/metadata/") {
				return false
			}
			keys := []string{"leaf"}
			if strings.HasSuffix(r.URL.Path, "/metadata/") {
				keys = nil
				for c := 'a'; c <= 'z'; c++ {
					keys = append(keys, string(c)+"/")
				}
			} else {
				inside.Add(1)
				<-open
			}
			respond(w, 200, map[string]any{"data": map[string]any{"keys": keys}})
			return true
		}
		c, _ := openFake(t, f, "", given)
		var found atomic.Int32
		go func() {
			for _, err := range c.List(t.Context(), secret.Query{}) {
				if err != nil {
					t.Error(err)
				}
				found.Add(1)
			}
		}()
		synctest.Wait()
		if got := inside.Load(); got != listWorkers {
			t.Errorf("%d folders are listed at once, want %d", got, listWorkers)
		}
		close(open)
		synctest.Wait()
		if got := found.Load(); got != 26 {
			t.Errorf("%d secrets found, want 26", got)
		}
	})
}

func TestFoldersWithoutEndAreAnError(t *testing.T) {
	f := newFake()
	f.fault = func(w http.ResponseWriter, _ *http.Request) bool {
		respond(w, 200, map[string]any{"data": map[string]any{"keys": []string{"a/", "", "/", "../", "b/c"}}})
		return true
	}
	c, _ := openFake(t, f, "", given)
	for _, err := range c.List(t.Context(), secret.Query{}) {
		wantKind(t, err, secret.Invalid)
	}
	if got := f.count("/"); got != listDepth+1 {
		t.Errorf("%d folders listed, want %d", got, listDepth+1)
	}
}

func TestNamesAreFilteredBeforeTagsAreRead(t *testing.T) {
	f := newFake()
	f.fault = func(w http.ResponseWriter, r *http.Request) bool {
		data := map[string]any{"custom_metadata": map[string]string{"team": "red"}}
		if strings.HasSuffix(r.URL.Path, "/metadata/") {
			data = map[string]any{"keys": []string{"a", "b", "c"}}
		}
		respond(w, 200, map[string]any{"data": data})
		return true
	}
	c, _ := openFake(t, f, "", given)
	n := 0
	for range c.List(t.Context(), secret.Query{Name: nameB, Tags: map[string]string{"team": "red"}}) {
		n++
	}
	if reads := f.count("/a") + f.count("/b") + f.count("/c"); n != 1 || reads != 1 {
		t.Errorf("%d found with %d reads, want one each", n, reads)
	}
}
