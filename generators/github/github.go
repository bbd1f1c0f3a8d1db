package github

import (
	"cmp"
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/keyferry/keyferry/api/generators/v1alpha1"
	"github.com/keyferry/keyferry/generator"
	"github.com/keyferry/keyferry/internal/restapi"
	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/secret"
)

const (
	kind       = "GithubAccessToken"
	defaultURL = "https://api.github.com"
	apiVersion = "2022-11-28"
	keyField   = "spec.auth.privateKey.secretRef"

	// GitHub refuses a JWT from the future and one of more than ten minutes: clocks
	// may differ.
	backdated = time.Minute
	jwtLife   = 5 * time.Minute
)

// Generator returns the generator of kind GithubAccessToken. It makes "token", which
// ends by itself an hour later.
func Generator() generator.Generator {
	return generator.Define(generator.Definition[v1alpha1.GithubAccessTokenSpec]{
		Kind: kind, Validate: validate, Generate: generate,
	})
}

func validate(spec *v1alpha1.GithubAccessTokenSpec) error {
	if spec.URL != "" {
		if _, err := restapi.Endpoint(kind, "spec.url", spec.URL); err != nil {
			return err
		}
	}
	if spec.InstallID == "" || strings.Trim(spec.InstallID, "0123456789") != "" {
		return restapi.Invalid(kind, "spec.installID", "must be the number of an installation of the app")
	}
	return cmp.Or(
		restapi.Required(kind, "spec.appID", spec.AppID, "set it to the ID of the GitHub App"),
		restapi.Selector(kind, keyField, spec.Auth.PrivateKey.SecretRef.Name, spec.Auth.PrivateKey.SecretRef.Key),
	)
}

// claims are those of the JWT that an app logs in with.
type claims struct {
	Issuer   string `json:"iss"`
	IssuedAt int64  `json:"iat"`
	Expires  int64  `json:"exp"`
}

// order is the body of the request: left out, the token has all that the installation has.
type order struct {
	Repositories []string          `json:"repositories,omitempty"`
	Permissions  map[string]string `json:"permissions,omitempty"`
}

func generate(ctx context.Context, spec *v1alpha1.GithubAccessTokenSpec, env provider.Env) (generator.Output, error) {
	client, err := restapi.New(env, kind)
	if err != nil {
		return generator.Output{}, err
	}
	login, err := appToken(ctx, spec, env)
	if err != nil {
		return generator.Output{}, err
	}
	address := spec.URL
	if address == "" {
		address = defaultURL
	}
	base, err := restapi.Endpoint(kind, "spec.url", address)
	if err != nil {
		return generator.Output{}, err
	}
	var made struct {
		Token   string
		Expires time.Time `json:"expires_at"`
	}
	header := restapi.Header(login)
	header.Set("Accept", "application/vnd.github+json")
	header.Set("X-GitHub-Api-Version", apiVersion)
	request := restapi.Request{
		Call: "CreateInstallationToken", Method: http.MethodPost, Header: header,
		URL:  base.JoinPath("app", "installations", spec.InstallID, "access_tokens"),
		JSON: order{spec.Repositories, spec.Permissions}, Into: &made,
		Check: "spec.url, spec.appID, spec.installID, spec.repositories and spec.permissions",
	}
	if err := client.Do(ctx, request); err != nil {
		return generator.Output{}, err
	}
	if made.Token == "" {
		return generator.Output{}, client.Strange(request)
	}
	return generator.Output{
		Values: map[string]secret.Value{"token": secret.FromString(made.Token)},
		Life:   generator.Life{Expires: made.Expires},
	}, nil
}

// appToken returns the JWT that the app logs in with.
func appToken(ctx context.Context, spec *v1alpha1.GithubAccessTokenSpec, env provider.Env) (secret.Value, error) {
	ref := spec.Auth.PrivateKey.SecretRef
	key, err := env.Credential(ctx, provider.CredentialRef{Namespace: ref.Namespace, Name: ref.Name, Key: ref.Key, Field: keyField})
	if err != nil {
		return secret.Value{}, err
	}
	now := env.Clock().Now()
	token, err := restapi.Sign(key, "", claims{
		Issuer: strings.TrimSpace(spec.AppID), IssuedAt: now.Add(-backdated).Unix(), Expires: now.Add(jwtLife).Unix(),
	})
	return token, restapi.AtField(kind, keyField, err)
}
