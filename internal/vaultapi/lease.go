package vaultapi

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/keyferry/keyferry/generator"
	"github.com/keyferry/keyferry/secret"
)

var (
	errLeaseGone  = errors.New("what was made has ended")
	errLeaseFixed = errors.New("what was made cannot be extended")
)

// Call asks for any path of the API.
type Call struct {
	// Field names the path in the manifest, for errors.
	Field string
	// Method is GET, LIST, DELETE or POST. Query is for GET and Body, a JSON object,
	// for POST.
	Method string
	Path   string
	Query  url.Values
	Body   secret.Value
}

// Reply is an answer to a Call.
type Reply struct {
	// All is the whole answer, Data and Auth its members, in JSON; empty if there is
	// none.
	All, Data, Auth secret.Value
	// Lease is what was made and can be ended; nil if there is nothing.
	Lease *Lease
	// Held is true if what was made ends with the token that asked for it: Close would
	// end it.
	Held bool
	Life generator.Life
}

// Lease is something that was made at the server, without any value of it.
type Lease struct {
	// ID is that of a lease, Accessor that of a token.
	ID       string `json:"lease_id,omitempty"`
	Accessor string `json:"accessor,omitempty"`
	// Seconds is how long it was good for at first.
	Seconds int64 `json:"seconds,omitempty"`
	// Session is what it ends with; nil if it stands alone.
	Session *Session `json:"session,omitempty"`
}

// Session is the token that asked for a lease.
type Session struct {
	Accessor string `json:"accessor,omitempty"`
	// Expires is when it ended as was known at first; zero for never.
	Expires time.Time `json:"expires,omitzero"`
	// Given is true if somebody else made the token.
	Given bool `json:"given,omitempty"`
}

// Ask makes a call. That nothing is there is no error: the answer is empty then. It
// fails with Invalid if nothing serves the path or the server refuses what it is sent.
func (c *Client) Ask(ctx context.Context, call Call) (Reply, error) {
	segs, err := segments(call.Path)
	if err != nil || len(segs) == 0 {
		return Reply{}, c.fail(secret.Invalid, "generate", secret.Ref{}, fmt.Errorf("%s: %w", call.Field, cmp.Or(err, errEmptyKey)))
	}
	// Asked before anything is made: if it fails, nothing is left behind.
	s, extensible, err := c.standing(ctx)
	if err != nil {
		return Reply{}, err
	}
	req := request{
		op: "write", call: "WriteSecretData", method: http.MethodPost,
		path: escape(segs), field: call.Field, namespace: c.cfg.Namespace, body: call.Body,
	}
	switch call.Method {
	case http.MethodGet:
		req.op, req.call, req.method, req.query, req.body = "read", "ReadSecretData", http.MethodGet, call.Query, secret.Value{}
	case "LIST":
		req.op, req.call, req.method, req.query, req.body = "list", "ListSecrets", http.MethodGet, url.Values{"list": {"true"}}, secret.Value{}
	case http.MethodDelete:
		req.op, req.call, req.method, req.body = "delete", "DeleteSecret", http.MethodDelete, secret.Value{}
	}
	sent := c.env.Clock().Now()
	a, err := c.call(ctx, req)
	switch {
	case errors.Is(err, secret.NotFound):
		return Reply{}, nil
	case err != nil:
		return Reply{}, err
	}
	return reply(a, sent, s, extensible), nil
}

func reply(a *answer, sent time.Time, s *Session, extensible bool) Reply {
	out := Reply{All: secret.New(a.body), Data: present(a.Data)}
	lease := Lease{ID: a.LeaseID, Seconds: a.LeaseDuration}
	out.Life.Renewable, out.Held = a.Renewable, a.LeaseID != ""
	if a.Auth != nil {
		out.Auth = present(a.rawAuth())
		lease = Lease{Accessor: a.Auth.Accessor, Seconds: a.Auth.LeaseDuration}
		out.Life.Renewable, out.Held = a.Auth.Renewable && a.Auth.Accessor != "", !a.Auth.Orphan
	}
	out.Life.Expires = after(sent, lease.Seconds)
	if out.Held {
		lease.Session = s
		if earlier(s.Expires, out.Life.Expires) {
			out.Life.Expires = s.Expires
			out.Life.Renewable = out.Life.Renewable && extensible
			lease.Seconds = int64(s.Expires.Sub(sent) / time.Second)
		}
	}
	if lease.named() {
		out.Lease = &lease
	}
	return out
}

// named reports whether there is something that could be ended.
func (l Lease) named() bool { return l.ID != "" || l.Accessor != "" || l.Session.ours() }

// ours reports whether a session is a login that can be named.
func (s *Session) ours() bool { return s != nil && !s.Given && s.Accessor != "" }

// after is the end of a life; zero for one without.
func after(sent time.Time, seconds int64) time.Time {
	if seconds <= 0 {
		return time.Time{}
	}
	return sent.Add(time.Duration(seconds) * time.Second)
}

// present is a member of an answer, or nothing.
func present(raw json.RawMessage) secret.Value {
	if isNull(raw) {
		return secret.Value{}
	}
	return secret.New(raw)
}

// rawAuth is the member auth with all that the server has put there.
func (a *answer) rawAuth() json.RawMessage {
	var v struct{ Auth json.RawMessage }
	if json.Unmarshal(a.body, &v) != nil {
		return nil
	}
	return v.Auth
}

// earlier reports whether a comes before b; zero is never.
func earlier(a, b time.Time) bool { return !a.IsZero() && (b.IsZero() || a.Before(b)) }

// standing is the token that the next call is made with, and whether its end can be
// put off.
func (c *Client) standing(ctx context.Context) (*Session, bool, error) {
	t, err := c.session.get(ctx)
	if err != nil {
		return nil, false, err
	}
	if !t.given {
		return &Session{Accessor: t.accessor, Expires: t.expires}, t.renewable && t.accessor != "", nil
	}
	s := &Session{Given: true}
	now := c.env.Clock().Now()
	a, err := c.call(ctx, lookupSelf(c.cfg.AuthNamespace))
	switch {
	case errors.Is(err, secret.Denied):
		return s, true, nil
	case err != nil:
		return nil, false, err
	}
	var v struct {
		Accessor string
		TTL      int64
	}
	if err := c.decode(a.Data, &v, "check", secret.Ref{}); err != nil {
		return nil, false, err
	}
	s.Accessor, s.Expires = v.Accessor, after(now, v.TTL)
	return s, true, nil // its owner may renew it
}

// Renew extends a lease, and the session that it ends with if that was a login. It
// fails with NotFound if it has ended, and with Unsupported if the server does not
// extend it.
func (c *Client) Renew(ctx context.Context, l Lease) (generator.Life, error) {
	if l.ID == "" && l.Accessor == "" {
		return generator.Life{}, c.fail(secret.Unsupported, "renew", secret.Ref{}, errLeaseFixed)
	}
	end, extensible, err := c.extend(ctx, l.Session)
	if err != nil {
		return generator.Life{}, err
	}
	sent := c.env.Clock().Now()
	req := c.lease("renew", "sys/leases/renew", map[string]any{"lease_id": l.ID})
	if l.ID == "" {
		req = c.lease("renew", "auth/token/renew-accessor", map[string]any{"accessor": l.Accessor})
	}
	a, err := c.call(ctx, req)
	if err = c.ended(a, err); err != nil {
		return generator.Life{}, err
	}
	life := a.life(sent)
	if earlier(end, life.Expires) {
		life.Expires, life.Renewable = end, life.Renewable && extensible
	}
	left := int64(life.Expires.Sub(sent) / time.Second)
	if !life.Expires.IsZero() && left <= 0 {
		return generator.Life{}, c.fail(secret.NotFound, "renew", secret.Ref{}, errLeaseGone)
	}
	// Less and less comes of renewals near the longest life that the server allows.
	life.Renewable = life.Renewable && left >= l.Seconds/2
	return life, nil
}

// life is that of what an answer renewed.
func (a *answer) life(sent time.Time) generator.Life {
	if a.Auth != nil {
		return generator.Life{Expires: after(sent, a.Auth.LeaseDuration), Renewable: a.Auth.Renewable}
	}
	return generator.Life{Expires: after(sent, a.LeaseDuration), Renewable: a.Renewable}
}

// extend puts off the end of a session that was a login, and returns when it ends.
func (c *Client) extend(ctx context.Context, s *Session) (expires time.Time, extensible bool, err error) {
	switch {
	case s == nil:
		return time.Time{}, false, nil
	case s.Given:
		now, extensible, err := c.standing(ctx)
		if err != nil || !now.Given || now.Accessor != s.Accessor {
			return s.Expires, extensible, err // the credential is another by now
		}
		return now.Expires, extensible, nil
	case !s.ours():
		return s.Expires, false, nil
	}
	sent := c.env.Clock().Now()
	a, err := c.call(ctx, c.ofSession("renew", "auth/token/renew-accessor", s))
	switch err = c.ended(a, err); secret.KindOf(err) {
	case "":
		life := a.life(sent)
		return life.Expires, life.Renewable, nil
	case secret.Denied, secret.Unsupported:
		return s.Expires, false, nil // it lives as long as it was given
	}
	return time.Time{}, false, err
}

func (c *Client) ofSession(op, path string, s *Session) request {
	req := c.lease(op, path, map[string]any{"accessor": s.Accessor})
	req.namespace = c.cfg.AuthNamespace
	return req
}

// Revoke ends a lease, and with it the session that it would end with if that was a
// login. That it has ended is no error.
func (c *Client) Revoke(ctx context.Context, l Lease) error {
	var failed error
	if l.ID != "" {
		failed = c.end(ctx, c.lease("revoke", "sys/leases/revoke", map[string]any{"lease_id": l.ID, "sync": true}))
	}
	if l.Accessor != "" && failed == nil {
		failed = c.end(ctx, c.lease("revoke", "auth/token/revoke-accessor", map[string]any{"accessor": l.Accessor}))
	}
	if failed != nil && !errors.Is(failed, secret.Denied) || !l.Session.ours() {
		return failed
	}
	err := c.end(ctx, c.ofSession("revoke", "auth/token/revoke-accessor", l.Session))
	if errors.Is(err, secret.Denied) {
		return failed // the session ends when its time has come
	}
	return err // all that was made ends with the session
}

// Abandon ends a lease, if there is one, and what Close ends. It waits for that 10
// seconds at most, whatever became of other contexts; what it cannot end ends by itself.
func (c *Client) Abandon(l *Lease) {
	ctx, cancel := c.detached()
	defer cancel()
	if l != nil {
		_ = c.Revoke(ctx, *l)
	}
	_ = c.session.close(ctx)
}

func (c *Client) end(ctx context.Context, req request) error {
	a, err := c.call(ctx, req)
	if err = c.ended(a, err); errors.Is(err, secret.NotFound) {
		return nil
	}
	return err
}

func (c *Client) lease(op, path string, parameters map[string]any) request {
	body, err := document(parameters)
	if err != nil { // texts always encode
		body = secret.Value{}
	}
	return request{call: "Lease", op: op, method: http.MethodPost, path: path, namespace: c.cfg.Namespace, body: body}
}

// ended reads the refusals of the API that say that a lease or a token is gone, or
// cannot be renewed.
func (c *Client) ended(a *answer, err error) error {
	if err == nil || a == nil {
		return err
	}
	texts := []string{"lease not found", "lease expired", "lease is expired", "invalid accessor", "token not found"}
	if slices.ContainsFunc(texts, a.says) {
		return c.fail(secret.NotFound, "renew", secret.Ref{}, errLeaseGone)
	}
	if a.says("not renewable") {
		return c.fail(secret.Unsupported, "renew", secret.Ref{}, errLeaseFixed)
	}
	return err
}
