package vaultapi

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/keyferry/keyferry/provider/providertest"
	"github.com/keyferry/keyferry/secret"
)

const mark = providertest.Mark

func TestFaults(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		t.Error("a redirect was followed")
	}))
	t.Cleanup(elsewhere.Close)
	body := func(status int, body string) func(http.ResponseWriter) {
		return func(w http.ResponseWriter) { raw(w, status, body) }
	}
	for name, tc := range map[string]struct {
		fault func(http.ResponseWriter)
		kind  secret.Kind
		after time.Duration
	}{
		"throttled": {fault: func(w http.ResponseWriter) {
			w.Header().Set("Retry-After", "7")
			raw(w, http.StatusTooManyRequests, `{"errors":["`+mark+`"]}`)
		}, kind: secret.RateLimited, after: 7 * time.Second},
		"sealed":                          {fault: body(503, `{"errors":["Vault is sealed `+mark+`"]}`), kind: secret.Unavailable},
		"a secondary for recovery":        {fault: body(472, mark), kind: secret.Unavailable},
		"a standby":                       {fault: body(473, mark), kind: secret.Unavailable},
		"behind the last write":           {fault: body(412, `{"errors":["`+mark+`"]}`), kind: secret.Unavailable},
		"a server error":                  {fault: body(500, `{"errors":["`+mark+`"]}`), kind: secret.Unavailable},
		"an engine that is starting":      {fault: body(400, `{"errors":["This backend will be unavailable for a brief period. `+mark+`"]}`), kind: secret.Unavailable},
		"a request it does not take":      {fault: body(400, `{"errors":["`+mark+`"]}`), kind: secret.Invalid},
		"a method it does not know":       {fault: body(405, `{"errors":["`+mark+`"]}`), kind: secret.Invalid},
		"gone, by a proxy":                {fault: body(410, mark), kind: secret.Invalid},
		"a proxy that asks who it is":     {fault: body(401, mark), kind: secret.Unauthenticated},
		"a proxy that refuses":            {fault: body(403, "<html>"+mark), kind: secret.Denied},
		"a proxy that knows no such path": {fault: body(404, "<html>"+mark), kind: secret.Unavailable},
		"a gateway that knows no path":    {fault: body(404, `{"message":"`+mark+`"}`), kind: secret.Unavailable},
		"a login page":                    {fault: body(200, "<html>"+mark), kind: secret.Unavailable},
		"JSON of something else":          {fault: body(200, `{"message":"`+mark+`"}`), kind: secret.Unavailable},
		"a secret of another engine":      {fault: body(200, `{"data":{"v":"`+mark+`"}}`), kind: secret.Invalid},
		"data of another form":            {fault: body(200, `{"data":["`+mark+`"]}`), kind: secret.Unavailable},
		"too much":                        {fault: body(200, mark+strings.Repeat(" ", maxBody)), kind: secret.Invalid},
		"a redirect": {fault: func(w http.ResponseWriter) {
			w.Header().Set("Location", elsewhere.URL+"/"+mark)
			raw(w, http.StatusTemporaryRedirect, mark)
		}, kind: secret.Invalid},
		"half of a body": {fault: func(w http.ResponseWriter) {
			w.Header().Set("Content-Length", "1000")
			raw(w, http.StatusOK, `{"data":{"data":{"v":"`+mark)
		}, kind: secret.Unavailable},
		"no answer at all": {fault: func(http.ResponseWriter) { panic(http.ErrAbortHandler) }, kind: secret.Unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake()
			f.fault = func(w http.ResponseWriter, _ *http.Request) bool { tc.fault(w); return true }
			server := httptest.NewServer(f)
			t.Cleanup(server.Close)
			c, _ := openFake(t, f, server.URL, given)
			ref := secret.Ref{Key: "x"}
			_, err := c.Get(t.Context(), ref)
			wantKind(t, err, tc.kind)
			if got := secret.RetryAfterOf(err); got != tc.after {
				t.Errorf("retry after %v, want %v", got, tc.after)
			}
			_, again := c.Get(t.Context(), ref)
			if err.Error() != again.Error() {
				t.Errorf("the text is another on every attempt:\n%v\n%v", err, again)
			}
			if strings.Contains(err.Error(), mark) || strings.ContainsAny(err.Error(), "\r\n") {
				t.Errorf("the text holds what the server sent, or more than a line: %q", err)
			}
			for _, listErr := range c.List(t.Context(), secret.Query{}) {
				if listErr == nil || strings.Contains(listErr.Error(), mark) {
					t.Errorf("a listing from such a server: %v", listErr)
				}
			}
		})
	}
}

func TestARefusedConnectionSaysWhere(t *testing.T) {
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	c, env := openFake(t, nil, "http://"+address)
	_, err = c.Get(t.Context(), secret.Ref{Key: "x"})
	wantKind(t, err, secret.Unavailable)
	if !strings.Contains(err.Error(), address) {
		t.Errorf("the error does not name %s: %v", address, err)
	}
	if calls := env.Calls(); len(calls) != 1 || calls[0].Name != "Login" || calls[0].Err == nil {
		t.Errorf("observed %v, want one failed Login", calls)
	}
}

func TestACallEndsWithItsContext(t *testing.T) {
	for name, call := range map[string]func(context.Context, *Client) error{
		"get":   func(ctx context.Context, c *Client) error { _, err := c.Get(ctx, secret.Ref{Key: "x"}); return err },
		"check": func(ctx context.Context, c *Client) error { return c.Check(ctx) },
		"list": func(ctx context.Context, c *Client) error {
			for _, err := range c.List(ctx, secret.Query{}) {
				return err
			}
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake()
			ctx, cancel := context.WithCancel(t.Context())
			f.fault = func(_ http.ResponseWriter, r *http.Request) bool {
				cancel()
				<-r.Context().Done()
				return true
			}
			server := httptest.NewServer(f)
			t.Cleanup(server.Close)
			c, _ := openFake(t, f, server.URL, given)
			err := call(ctx, c)
			wantKind(t, err, secret.Unavailable)
			if !errors.Is(err, context.Canceled) {
				t.Errorf("the error hides that the context ended: %v", err)
			}
		})
	}
}

func TestForbidden(t *testing.T) {
	refuse := func(text string) func(http.ResponseWriter, *http.Request) {
		return func(w http.ResponseWriter, _ *http.Request) {
			respond(w, http.StatusForbidden, map[string]any{"errors": []string{text}})
		}
	}
	const (
		policy = "1 error occurred:\n\t* permission denied\n\n"
		bare   = "permission denied"
		recent = "2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n"
	)
	known := func(w http.ResponseWriter, _ *http.Request) {
		respond(w, http.StatusOK, map[string]any{"data": map[string]any{}})
	}
	for name, tc := range map[string]struct {
		read, lookup func(http.ResponseWriter, *http.Request)
		kind         secret.Kind
		lookups      int // for 1,000 reads
	}{
		"by a policy":                            {read: refuse(policy), lookup: refuse(bare), kind: secret.Denied},
		"a bad token, in so many words":          {read: refuse(recent), lookup: known, kind: secret.Unauthenticated},
		"a bad token, in few words":              {read: refuse(bare), lookup: refuse(bare), kind: secret.Unauthenticated, lookups: 1},
		"in few words, and the token is good":    {read: refuse(bare), lookup: known, kind: secret.Denied, lookups: 1},
		"in few words, of a token without looks": {read: refuse(bare), lookup: refuse(policy), kind: secret.Denied, lookups: 1},
		"in few words, and nobody can say": {read: refuse(bare), lookup: func(w http.ResponseWriter, _ *http.Request) {
			raw(w, http.StatusServiceUnavailable, "")
		}, kind: secret.Unavailable, lookups: 1000},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake()
			f.fault = func(w http.ResponseWriter, r *http.Request) bool {
				if strings.HasSuffix(r.URL.Path, "lookup-self") {
					tc.lookup(w, r)
				} else {
					tc.read(w, r)
				}
				return true
			}
			c, _ := openFake(t, f, "", given)
			for range 1000 {
				_, err := c.Get(t.Context(), secret.Ref{Key: "x"})
				if secret.KindOf(err) != tc.kind {
					t.Fatalf("kind %q, want %q: %v", secret.KindOf(err), tc.kind, err)
				}
			}
			if got := f.count("lookup-self"); got != tc.lookups {
				t.Errorf("%d lookups, want %d", got, tc.lookups)
			}
		})
	}
}

func TestAVerdictIsForShort(t *testing.T) {
	f := newFake()
	good := true
	f.fault = func(w http.ResponseWriter, r *http.Request) bool {
		if strings.HasSuffix(r.URL.Path, "lookup-self") && good {
			return false
		}
		respond(w, http.StatusForbidden, map[string]any{"errors": []string{"permission denied"}})
		return true
	}
	c, env := openFake(t, f, "", given)
	_, err := c.Get(t.Context(), secret.Ref{Key: "x"})
	wantKind(t, err, secret.Denied)
	good = false
	env.Time.Advance(verdictLife)
	_, err = c.Get(t.Context(), secret.Ref{Key: "x"})
	wantKind(t, err, secret.Unauthenticated)
}

func TestALoginThatIsRefused(t *testing.T) {
	for name, tc := range map[string]struct {
		status int
		body   string
		kind   secret.Kind
	}{
		"wrong credentials":         {status: 400, body: `{"errors":["invalid role or secret ID ` + mark + `"]}`, kind: secret.Unauthenticated},
		"a role that refuses":       {status: 403, body: `{"errors":["permission denied ` + mark + `"]}`, kind: secret.Unauthenticated},
		"a mount that is not there": {status: 404, body: `{"errors":["no handler ` + mark + `"]}`, kind: secret.Unauthenticated},
		"a proxy without a server":  {status: 404, body: mark, kind: secret.Unavailable},
		"a second factor":           {status: 200, body: `{"auth":{"client_token":"","mfa_requirement":{"x":"` + mark + `"}}}`, kind: secret.Unauthenticated},
		"too many":                  {status: 429, body: mark, kind: secret.RateLimited},
		"sealed":                    {status: 503, body: mark, kind: secret.Unavailable},
		"a redirect":                {status: 307, body: mark, kind: secret.Invalid},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake()
			f.fault = func(w http.ResponseWriter, _ *http.Request) bool { return raw(w, tc.status, tc.body) }
			c, _ := openFake(t, f, "")
			_, err := c.Get(t.Context(), secret.Ref{Key: "x"})
			wantKind(t, err, tc.kind)
			if strings.Contains(err.Error(), mark) || strings.Contains(err.Error(), "right-password") {
				t.Errorf("the text says too much: %v", err)
			}
		})
	}
}

func TestNoClientFollowsARedirect(t *testing.T) {
	f := newFake()
	f.fault = func(w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("Location", "https://elsewhere.test/v1/kv/data/x")
		return raw(w, http.StatusTemporaryRedirect, "")
	}
	c, _ := openFake(t, f, "", given) // whose client would follow
	_, err := c.Get(t.Context(), secret.Ref{Key: "x"})
	wantKind(t, err, secret.Invalid)
	if got := f.count("/kv/data/x"); got != 1 {
		t.Errorf("%d requests, want 1", got)
	}
}

func TestWhatIsNotThereIsNotASecretThatIsGone(t *testing.T) {
	for name, body := range map[string]string{
		"a mount":              `{"errors":["no handler for route"]}`,
		"an engine of its own": `{"data":null,"warnings":["Invalid path for a versioned K/V secrets engine."]}`,
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake()
			f.fault = func(w http.ResponseWriter, _ *http.Request) bool { return raw(w, http.StatusNotFound, body) }
			c, _ := openFake(t, f, "", given)
			_, err := c.Get(t.Context(), secret.Ref{Key: "x"})
			wantKind(t, err, secret.Invalid)
		})
	}
}
