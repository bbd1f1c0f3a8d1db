package cloudsmith

import (
	"context"
	"net/http"
	"net/url"
	"strconv"

	"github.com/keyferry/keyferry/api/generators/v1alpha1"
	"github.com/keyferry/keyferry/generator"
	"github.com/keyferry/keyferry/internal/restapi"
	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/secret"
)

const (
	kind       = "CloudsmithAccessToken"
	defaultURL = "https://api.cloudsmith.io"
	saField    = "spec.serviceAccountRef"
	// user is who a token logs in as.
	user = "token"
)

// Generator returns the generator of kind CloudsmithAccessToken. It makes "auth" (what
// a Docker configuration has there) and "expiry" (seconds since 1970).
func Generator() generator.Generator {
	return generator.Define(generator.Definition[v1alpha1.CloudsmithAccessTokenSpec]{
		Kind: kind, Validate: validate, Generate: generate,
	})
}

func validate(spec *v1alpha1.CloudsmithAccessTokenSpec) error {
	if _, err := api(spec); err != nil {
		return err
	}
	switch {
	case spec.OrgSlug == "":
		return restapi.Invalid(kind, "spec.orgSlug", "is empty")
	case spec.ServiceSlug == "":
		return restapi.Invalid(kind, "spec.serviceSlug", "is empty")
	case spec.ServiceAccountRef.Name == "":
		return restapi.Invalid(kind, saField+".name", "is empty")
	}
	return nil
}

func api(spec *v1alpha1.CloudsmithAccessTokenSpec) (*url.URL, error) {
	address := spec.APIURL
	if address == "" {
		address = defaultURL
	}
	return restapi.Endpoint(kind, "spec.apiUrl", address)
}

// order is the body of the request.
type order struct {
	Token   string `json:"oidc_token"`
	Service string `json:"service_slug"`
}

func generate(ctx context.Context, spec *v1alpha1.CloudsmithAccessTokenSpec, env provider.Env) (generator.Output, error) {
	client, err := restapi.New(env, kind)
	if err != nil {
		return generator.Output{}, err
	}
	base, err := api(spec)
	if err != nil {
		return generator.Output{}, err
	}
	identity, err := client.AccountToken(ctx, spec.ServiceAccountRef, saField, defaultURL)
	if err != nil {
		return generator.Output{}, err
	}
	token, expires, err := client.Exchange(ctx, restapi.Request{
		Call: "ExchangeToken", Method: http.MethodPost,
		URL:   base.JoinPath("openid", restapi.Segment(spec.OrgSlug), "/"),
		JSON:  order{restapi.Text(identity), spec.ServiceSlug},
		Check: "spec.orgSlug, spec.serviceSlug, and the OpenID Connect provider of the organization",
	})
	if err != nil {
		return generator.Output{}, err
	}
	return generator.Output{
		Values: map[string]secret.Value{
			"auth":   secret.FromString(restapi.Basic(user, token)),
			"expiry": secret.FromString(strconv.FormatInt(expires.Unix(), 10)),
		},
		Life: generator.Life{Expires: expires},
	}, nil
}
