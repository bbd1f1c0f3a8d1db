package vaultapi

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/keyferry/keyferry/internal/httpx"
	"github.com/keyferry/keyferry/secret"
)

// failure turns a status into an error; nil for success. What the server wrote
// decides between kinds and is never shown.
func (c *Client) failure(req request, a *answer) error {
	e := httpx.Status(&http.Response{StatusCode: a.status, Header: a.header}, c.env.Clock().Now())
	if e == nil {
		return nil
	}
	e.Op, e.Provider, e.Ref = req.op, c.cfg.Provider, req.ref
	where := strconv.Quote(req.path)
	if ns := strings.Trim(req.namespace, "/"); ns != "" {
		where += " in namespace " + strconv.Quote(ns)
	}
	switch s := a.status; {
	case s < 400:
		e.Err = fmt.Errorf("%s redirects (status %d): point %s.server at the active node or a load balancer", c.host, s, c.cfg.Spec)
	case s == http.StatusForbidden:
		e.Err = fmt.Errorf("the token may not %s %s: grant it in a policy", req.op, where)
	case s == http.StatusNotFound:
		e.Kind, e.Err = c.absent(a, where, c.pathField(req))
	default:
		e.Kind, e.Err = c.other(req, a, e, where)
	}
	return e
}

// pathField is what in the manifest names the place that a request goes to.
func (c *Client) pathField(req request) string { return cmp.Or(req.field, c.cfg.Spec+".path") }

// beside is what the manifest has beside the path.
func (r request) beside() string {
	if r.field != "" {
		return "the parameters"
	}
	return "the key"
}

// outdated reports whether a write was refused because somebody else wrote before.
func (a *answer) outdated() bool { return a.says("check-and-set parameter") || a.says("metadata_cas") }

// torn reports whether the metadata of a KV v2 secret names a version that is lost.
func (a *answer) torn() bool {
	return a.status == http.StatusInternalServerError && a.says("could not find version data")
}

// other explains the statuses that need no look at what was asked for.
func (c *Client) other(req request, a *answer, e *secret.Error, where string) (secret.Kind, error) {
	switch s := a.status; {
	case s == http.StatusBadRequest && a.outdated():
		return secret.Conflict, errStale
	case s == http.StatusBadRequest && a.says("unavailable for a brief period"):
		return secret.Unavailable, fmt.Errorf("the KV engine that serves %s is still starting", where)
	case s == http.StatusPreconditionFailed:
		return secret.Unavailable, fmt.Errorf("%s has not caught up with the last write (status %d)", c.host, s)
	case s == 472 || s == 473 || e.Kind == secret.Unavailable:
		return secret.Unavailable, fmt.Errorf("%s cannot answer now (status %d): it may be sealed, starting or a standby", c.host, s)
	case e.Kind == secret.Invalid || e.Kind == secret.NotFound:
		return secret.Invalid, fmt.Errorf("%s refuses to %s %s (status %d): check %s and %s", c.host, e.Op, where, s, req.beside(), c.pathField(req))
	}
	return e.Kind, fmt.Errorf("%s: %w", c.host, e.Err)
}

// absent tells a secret that is not there from a place that is not there. Taken
// for the former, a mistyped mount, or a proxy that has lost its server, would look
// as if every secret had been deleted.
func (c *Client) absent(a *answer, where, field string) (secret.Kind, error) {
	switch {
	case a.Errors == nil && len(a.Data) == 0:
		return secret.Unavailable, fmt.Errorf("%s: %w (status 404): check %s.server", c.host, errNotVault, c.cfg.Spec)
	case len(a.Errors) > 0:
		return secret.Invalid, fmt.Errorf("nothing serves %s: check %s and the namespace", where, field)
	case isNull(a.Data) && len(a.Warnings) > 0:
		return secret.Invalid, fmt.Errorf("%s: %w: check %s.version", where, errOtherKV, c.cfg.Spec)
	}
	return secret.NotFound, fmt.Errorf("nothing is at %s", where)
}

// unreachable is the error of a request that got no answer, or half of one.
func (c *Client) unreachable(req request, err error) error {
	e := httpx.Classify(err)
	e.Op, e.Provider, e.Ref = req.op, c.cfg.Provider, req.ref
	return e
}

// refusal is what a 403 means.
type refusal int

const (
	refusedUnclear  refusal = iota // neither is sure
	refusedByPolicy                // the token is good
	refusedToken                   // the token is not
	refusedForeign                 // the answer is not the server's own
)

// refusal reads a 403. A policy's refusal comes as a list of one error. A token
// that is not known comes as "invalid token" or, from servers that say less, as
// the bare error, which some policies cause too.
func (a *answer) refusal() refusal {
	switch {
	case len(a.Errors) == 0:
		return refusedForeign
	case a.says("invalid token"):
		return refusedToken
	case a.says("* permission denied"):
		return refusedByPolicy
	}
	return refusedUnclear
}

// says reports whether an error of the answer holds the text.
func (a *answer) says(text string) bool {
	return slices.ContainsFunc(a.Errors, func(e string) bool { return strings.Contains(e, text) })
}

// credential is the error of a credential that could not be read. One that is not
// there makes the login impossible; passed on as NotFound it would look as if the
// secret had been deleted at the backend.
func credential(err error) error {
	e, ok := errors.AsType[*secret.Error](err)
	if !ok || !errors.Is(err, secret.NotFound) {
		return err
	}
	text := "the credential is not there"
	if e.Err != nil {
		text = e.Err.Error()
	}
	return &secret.Error{Kind: secret.Unauthenticated, Op: e.Op, Provider: e.Provider, Err: errors.New(text)}
}
