package grafana

import (
	"context"
	"crypto/rand"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/keyferry/keyferry/api/generators/v1alpha1"
	"github.com/keyferry/keyferry/internal/restapi"
	"github.com/keyferry/keyferry/secret"
)

// Names of tokens, which are unique at the server. The one with markPrefix says of an
// account, whose ID follows, that it was made here; it ends as soon as it is made.
const (
	prefix     = "keyferry-"
	markPrefix = prefix + "account-"
	markLife   = 1 // second
)

// attempts is how often an account is made again that another call deletes meanwhile.
const attempts = 10

const perPage = 100

// session is one call of the generator, logged in.
type session struct {
	client *restapi.Client
	base   *url.URL // of the service accounts
	header http.Header
}

// account is a service account.
type account struct {
	ID          int64
	Name, Login string
}

// mark is the name of the token that says that the account was made here.
func (a account) mark() string { return markPrefix + strconv.FormatInt(a.ID, 10) }

// token is a token of a service account. Only a new one has its key.
type token struct {
	ID        int64
	Name, Key string
}

func (s *session) request(call, method string, elements ...string) restapi.Request {
	return restapi.Request{
		Call: call, Method: method, URL: s.base.JoinPath(elements...), Header: s.header,
		Check: "spec.url, spec.serviceAccount, and what the credential of spec.auth may do",
	}
}

// issue makes a token of the account that the spec names. It fails with Conflict if the
// account is deleted whenever it was found or made.
func (s *session) issue(ctx context.Context, spec *v1alpha1.GrafanaSpec) (account, token, error) {
	name := prefix + rand.Text()
	for range attempts {
		a, err := s.obtain(ctx, spec.ServiceAccount)
		if err != nil {
			return account{}, token{}, err
		}
		t, err := s.createToken(ctx, a, name, spec.ServiceAccount.SecondsToLive)
		switch {
		case err == nil:
			return a, t, nil
		case errors.Is(err, secret.NotFound):
			continue
		}
		// It may have been made all the same.
		restapi.Undo(ctx, func(ctx context.Context) error {
			return s.end(ctx, a, func(t token) bool { return t.Name == name })
		})
		return account{}, token{}, err
	}
	return account{}, token{}, &secret.Error{Kind: secret.Conflict, Op: "CreateToken", Provider: kind, Err: errors.New(
		"spec.serviceAccount.name: somebody else deletes the service account whenever it is made")}
}

// obtain returns the account that the spec names, and makes it if there is none.
func (s *session) obtain(ctx context.Context, want v1alpha1.GrafanaServiceAccount) (account, error) {
	a, err := s.find(ctx, want.Name)
	if err != nil || a.ID != 0 {
		return a, err
	}
	r := s.request("CreateServiceAccount", http.MethodPost)
	r.JSON = map[string]string{"name": want.Name, "role": want.Role}
	r.Into = &a
	err = s.client.Do(ctx, r)
	if errors.Is(err, secret.Invalid) || errors.Is(err, secret.Conflict) {
		// Another call may have made it in between.
		if found, findErr := s.find(ctx, want.Name); findErr == nil && found.ID != 0 {
			return found, nil
		}
	}
	if err != nil {
		return account{}, err
	}
	if a.ID == 0 || a.Login == "" {
		return account{}, s.client.Strange(r)
	}
	return a, s.claim(ctx, a)
}

// claim marks an account as made here. That it is gone already shows later.
func (s *session) claim(ctx context.Context, a account) error {
	life := int64(markLife)
	_, err := s.createToken(ctx, a, a.mark(), &life)
	if absent(err) != nil {
		restapi.Undo(ctx, func(ctx context.Context) error { return s.discard(ctx, a) })
	}
	return absent(err)
}

// discard deletes an account that this call has made, unless somebody uses it already.
func (s *session) discard(ctx context.Context, a account) error {
	tokens, err := s.tokens(ctx, a.ID)
	if err != nil || slices.ContainsFunc(tokens, func(t token) bool { return t.Name != a.mark() }) {
		return err
	}
	return s.remove(ctx, a.ID)
}

// find returns the account of that name; the zero account if there is none.
func (s *session) find(ctx context.Context, name string) (account, error) {
	for page, seen := 1, 0; ; page++ {
		var found struct {
			TotalCount      int
			ServiceAccounts []account
		}
		r := s.request("SearchServiceAccounts", http.MethodGet, "search")
		r.URL.RawQuery = url.Values{"query": {name}, "perpage": {strconv.Itoa(perPage)}, "page": {strconv.Itoa(page)}}.Encode()
		r.Into = &found
		if err := s.client.Do(ctx, r); err != nil {
			return account{}, err
		}
		if i := slices.IndexFunc(found.ServiceAccounts, func(a account) bool { return a.Name == name }); i >= 0 {
			return found.ServiceAccounts[i], nil
		}
		seen += len(found.ServiceAccounts)
		if len(found.ServiceAccounts) == 0 || seen >= found.TotalCount {
			return account{}, nil
		}
	}
}

func (s *session) tokens(ctx context.Context, id int64) ([]token, error) {
	var tokens []token
	r := s.request("ListTokens", http.MethodGet, strconv.FormatInt(id, 10), "tokens")
	r.Into, r.MayBeGone = &tokens, true
	return tokens, s.client.Do(ctx, r)
}

func (s *session) createToken(ctx context.Context, a account, name string, seconds *int64) (token, error) {
	body := struct {
		Name          string `json:"name"`
		SecondsToLive *int64 `json:"secondsToLive,omitempty"`
	}{name, seconds}
	var made token
	r := s.request("CreateToken", http.MethodPost, strconv.FormatInt(a.ID, 10), "tokens")
	r.JSON, r.Into, r.MayBeGone = body, &made, true
	err := s.client.Do(ctx, r)
	if err == nil && (made.ID == 0 || made.Key == "") {
		err = s.client.Strange(r)
	}
	return made, err
}

// end deletes the token that is mine, if it is there. If its account was made here and
// has no other token it deletes the account, which takes its tokens along.
func (s *session) end(ctx context.Context, a account, mine func(token) bool) error {
	tokens, err := s.tokens(ctx, a.ID)
	if err != nil {
		return absent(err)
	}
	marked, others := false, false
	var found *token
	for _, t := range tokens {
		switch {
		case t.Name == a.mark():
			marked = true
		case mine(t):
			found = &t
		default:
			others = true
		}
	}
	if marked && !others {
		return s.remove(ctx, a.ID)
	}
	if found == nil {
		return nil
	}
	r := s.request("DeleteToken", http.MethodDelete, strconv.FormatInt(a.ID, 10), "tokens", strconv.FormatInt(found.ID, 10))
	r.MayBeGone = true
	if err := absent(s.client.Do(ctx, r)); err != nil || !marked {
		return err
	}
	// The other tokens may have been deleted meanwhile, each by a call that saw this one.
	return s.end(ctx, a, func(token) bool { return false })
}

func (s *session) remove(ctx context.Context, id int64) error {
	r := s.request("DeleteServiceAccount", http.MethodDelete, strconv.FormatInt(id, 10))
	r.MayBeGone = true
	return absent(s.client.Do(ctx, r))
}

// absent makes what is not there no error.
func absent(err error) error {
	if errors.Is(err, secret.NotFound) {
		return nil
	}
	return err
}
