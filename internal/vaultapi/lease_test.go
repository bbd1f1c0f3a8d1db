package vaultapi

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keyferry/keyferry/secret"
)

// lessor answers the calls about leases, by path and namespace, and remembers them.
type lessor struct {
	answers map[string]reaction
	asked   []string
}

type reaction struct {
	status int
	body   string
}

func (l *lessor) fault(w http.ResponseWriter, r *http.Request) bool {
	path := strings.TrimPrefix(r.URL.Path, "/v1/")
	if !strings.HasPrefix(path, "sys/leases/") && !strings.HasSuffix(path, "-accessor") {
		return false
	}
	var b struct {
		LeaseID  string `json:"lease_id"`
		Accessor string
		Sync     bool
	}
	_ = json.NewDecoder(r.Body).Decode(&b)
	what := r.Header.Get("X-Vault-Namespace") + " " + path + " " + b.LeaseID + b.Accessor
	if path == "sys/leases/revoke" && !b.Sync {
		what += " some time"
	}
	l.asked = append(l.asked, what)
	answer, ok := l.answers[what]
	if !ok {
		answer = reaction{http.StatusNoContent, ""}
	}
	return raw(w, answer.status, answer.body)
}

func (l *lessor) open(t *testing.T) (*Client, time.Time) {
	t.Helper()
	f := newFake()
	f.fault = l.fault
	c, env := openFake(t, f, "", func(c *Config) { c.Namespace, c.AuthNamespace = "data", "login" })
	return c, env.Time.Now()
}

func TestRenewLease(t *testing.T) {
	const lease, session = "data sys/leases/renew app/1", "login auth/token/renew-accessor s"
	yes := reaction{200, `{"lease_id":"app/1","lease_duration":3600,"renewable":true}`}
	longer := reaction{200, `{"auth":{"lease_duration":7200,"renewable":true}}`}
	refused := func(status int, text string) reaction {
		return reaction{status, `{"errors":["1 error occurred:\n\t* ` + text + `\n\n"]}`}
	}
	for name, tc := range map[string]struct {
		answers map[string]reaction
		life    time.Duration
		renews  bool
		kind    secret.Kind
	}{
		"both are extended":              {map[string]reaction{lease: yes, session: longer}, time.Hour, true, ""},
		"the session ends before":        {map[string]reaction{lease: yes, session: {200, `{"auth":{"lease_duration":2400,"renewable":true}}`}}, 40 * time.Minute, true, ""},
		"the session ends for good":      {map[string]reaction{lease: yes, session: {200, `{"auth":{"lease_duration":2400,"renewable":false}}`}}, 40 * time.Minute, false, ""},
		"the session lives for ever":     {map[string]reaction{lease: yes, session: {200, `{"auth":{"lease_duration":0,"renewable":false}}`}}, time.Hour, true, ""},
		"near the longest life":          {map[string]reaction{lease: {200, `{"lease_duration":600,"renewable":true}`}, session: longer}, 10 * time.Minute, false, ""},
		"for the last time":              {map[string]reaction{lease: {200, `{"lease_duration":3600,"renewable":false}`}, session: longer}, time.Hour, false, ""},
		"no policy for the session":      {map[string]reaction{lease: yes, session: refused(403, "permission denied")}, 50 * time.Minute, false, ""},
		"a session that is not extended": {map[string]reaction{lease: yes, session: refused(400, "lease is not renewable")}, 50 * time.Minute, false, ""},
		"a session that has ended":       {map[string]reaction{lease: yes, session: refused(400, "invalid accessor")}, 0, false, secret.NotFound},
		"the same, as 403":               {map[string]reaction{lease: yes, session: {403, `{"errors":["invalid accessor"]}`}}, 0, false, secret.NotFound},
		"a lease that was revoked":       {map[string]reaction{lease: {400, `{"errors":["lease not found"]}`}, session: longer}, 0, false, secret.NotFound},
		"a lease that has ended":         {map[string]reaction{lease: {400, `{"errors":["lease expired"]}`}, session: longer}, 0, false, secret.NotFound},
		"a lease that is not extended":   {map[string]reaction{lease: {400, `{"errors":["lease is not renewable"]}`}, session: longer}, 0, false, secret.Unsupported},
		"no policy for the lease":        {map[string]reaction{lease: refused(403, "permission denied"), session: longer}, 0, false, secret.Denied},
		"a server that is away":          {map[string]reaction{lease: {503, `{"errors":["sealed"]}`}, session: longer}, 0, false, secret.Unavailable},
		"away after the first call":      {map[string]reaction{lease: yes, session: {503, ``}}, 0, false, secret.Unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			l := &lessor{answers: tc.answers}
			c, now := l.open(t)
			life, err := c.Renew(t.Context(), Lease{ID: "app/1", Seconds: 3600, Session: &Session{Accessor: "s", Expires: now.Add(50 * time.Minute)}})
			wantKind(t, err, tc.kind)
			if err == nil && (life.Expires.Sub(now) != tc.life || life.Renewable != tc.renews) {
				t.Errorf("life %v, renewable %v", life.Expires.Sub(now), life.Renewable)
			}
		})
	}
}

func TestRenewWithASessionThatIsOver(t *testing.T) {
	l := &lessor{answers: map[string]reaction{"data sys/leases/renew app/1": {200, `{"lease_duration":3600,"renewable":true}`}}}
	c, now := l.open(t)
	_, err := c.Renew(t.Context(), Lease{ID: "app/1", Seconds: 3600, Session: &Session{Expires: now}})
	wantKind(t, err, secret.NotFound)
}

func TestRevokeLease(t *testing.T) {
	const lease, token, session = "data sys/leases/revoke app/1", "data auth/token/revoke-accessor a", "login auth/token/revoke-accessor s"
	denied := reaction{403, `{"errors":["1 error occurred:\n\t* permission denied\n\n"]}`}
	gone := reaction{400, `{"errors":["invalid accessor"]}`}
	login := &Session{Accessor: "s"}
	for name, tc := range map[string]struct {
		lease   Lease
		answers map[string]reaction
		asked   []string
		kind    secret.Kind
	}{
		"a lease and its session":         {Lease{ID: "app/1", Session: login}, nil, []string{lease, session}, ""},
		"a token and its session":         {Lease{Accessor: "a", Session: login}, nil, []string{token, session}, ""},
		"a token that stands alone":       {Lease{Accessor: "a"}, nil, []string{token}, ""},
		"a token that was given stays":    {Lease{ID: "app/1", Session: &Session{Accessor: "s", Given: true}}, nil, []string{lease}, ""},
		"a session alone":                 {Lease{Session: login}, nil, []string{session}, ""},
		"all has ended":                   {Lease{Accessor: "a", Session: login}, map[string]reaction{token: gone, session: gone}, []string{token, session}, ""},
		"by its session":                  {Lease{ID: "app/1", Session: login}, map[string]reaction{lease: denied}, []string{lease, session}, ""},
		"without the session":             {Lease{ID: "app/1", Session: login}, map[string]reaction{session: denied}, []string{lease, session}, ""},
		"neither is allowed":              {Lease{ID: "app/1", Session: login}, map[string]reaction{lease: denied, session: denied}, []string{lease, session}, secret.Denied},
		"the engine fails: it is kept":    {Lease{ID: "app/1", Session: login}, map[string]reaction{lease: {500, `{"errors":["canary"]}`}}, []string{lease}, secret.Unavailable},
		"the server is away after a half": {Lease{ID: "app/1", Session: login}, map[string]reaction{session: {503, ``}}, []string{lease, session}, secret.Unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			l := &lessor{answers: tc.answers}
			c, _ := l.open(t)
			err := c.Revoke(t.Context(), tc.lease)
			wantKind(t, err, tc.kind)
			if err != nil && strings.Contains(err.Error(), "canary") {
				t.Errorf("the error shows the answer: %v", err)
			}
			if diff := cmp.Diff(tc.asked, l.asked); diff != "" {
				t.Errorf("calls (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAbandonOutlivesTheContext(t *testing.T) {
	l := &lessor{}
	c, _ := l.open(t)
	get(t, c)
	c.Abandon(&Lease{ID: "app/1"})
	if !slices.Contains(l.asked, "data sys/leases/revoke app/1") {
		t.Error("the lease was left behind")
	}
	_, err := c.Get(t.Context(), secret.Ref{Key: "x"})
	wantKind(t, err, secret.Unavailable)
}
