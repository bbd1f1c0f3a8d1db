package gcr

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/keyferry/keyferry/api/generators/v1alpha1"
	"github.com/keyferry/keyferry/generator"
	"github.com/keyferry/keyferry/internal/restapi"
	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/secret"
)

const (
	kind = "GCRAccessToken"
	// user is who a token logs in as.
	user = "oauth2accesstoken"

	// scope is what tokens may do: all that the identity's roles let it.
	scope = "https://www.googleapis.com/auth/cloud-platform"
)

// Generator returns the generator of kind GCRAccessToken. It makes "username",
// "password" (the access token) and "expiry" (seconds since 1970).
func Generator() generator.Generator {
	return generator.Define(generator.Definition[v1alpha1.GCRAccessTokenSpec]{
		Kind: kind, Validate: validate, Generate: generate,
	})
}

func generate(ctx context.Context, spec *v1alpha1.GCRAccessTokenSpec, env provider.Env) (generator.Output, error) {
	client, err := restapi.New(env, kind)
	if err != nil {
		return generator.Output{}, err
	}
	l := login{client: client, env: env}
	var t token
	switch {
	case spec.Auth.SecretRef != nil:
		t, err = l.key(ctx, spec.Auth.SecretRef.SecretAccessKey)
	case spec.Auth.WorkloadIdentity != nil:
		t, err = l.workloadIdentity(ctx, spec)
	default:
		t, err = l.federation(ctx, spec.Auth.WorkloadIdentityFederation)
	}
	if err != nil {
		return generator.Output{}, err
	}
	return generator.Output{
		Values: map[string]secret.Value{
			"username": secret.FromString(user),
			"password": t.value,
			"expiry":   secret.FromString(strconv.FormatInt(t.expires.Unix(), 10)),
		},
		Life: generator.Life{Expires: t.expires},
	}, nil
}

// login gets access tokens.
type login struct {
	client *restapi.Client
	env    provider.Env
}

// token is an access token.
type token struct {
	value   secret.Value
	expires time.Time
}

// ask sends a request of OAuth and returns the token of the answer.
func (l login) ask(ctx context.Context, r restapi.Request) (token, error) {
	var answer struct {
		Token   string `json:"access_token"`
		Expires int64  `json:"expires_in"`
	}
	asked := l.env.Clock().Now()
	r.Method, r.Into, r.Login = http.MethodPost, &answer, true
	if err := l.client.Do(ctx, r); err != nil {
		return token{}, err
	}
	if answer.Token == "" || answer.Expires <= 0 {
		return token{}, l.client.Strange(r)
	}
	return token{secret.FromString(answer.Token), asked.Add(time.Duration(answer.Expires) * time.Second)}, nil
}

// impersonate returns a token of the Google service account, for one that may make it.
func (l login) impersonate(ctx context.Context, t token, email string, lifetime int64) (token, error) {
	address, err := url.Parse("https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/")
	if err != nil {
		return token{}, restapi.Fail(kind, "login", err)
	}
	body := struct {
		Scope    []string `json:"scope"`
		Lifetime string   `json:"lifetime,omitempty"`
	}{Scope: []string{scope}}
	if lifetime > 0 {
		body.Lifetime = strconv.FormatInt(lifetime, 10) + "s"
	}
	var answer struct {
		Token   string    `json:"accessToken"`
		Expires time.Time `json:"expireTime"`
	}
	request := restapi.Request{
		Call: "GenerateAccessToken", Method: http.MethodPost, URL: address.JoinPath(restapi.Segment(email) + ":generateAccessToken"),
		Header: restapi.Header(t.value), JSON: body, Into: &answer,
		Check: "that the identity of spec.auth has the role roles/iam.workloadIdentityUser on the Google service account",
	}
	if err := l.client.Do(ctx, request); err != nil {
		return token{}, err
	}
	if answer.Token == "" || answer.Expires.IsZero() {
		return token{}, l.client.Strange(request)
	}
	return token{secret.FromString(answer.Token), answer.Expires}, nil
}
