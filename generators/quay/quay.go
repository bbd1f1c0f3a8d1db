package quay

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/keyferry/keyferry/api/generators/v1alpha1"
	"github.com/keyferry/keyferry/generator"
	"github.com/keyferry/keyferry/internal/restapi"
	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/secret"
)

const (
	kind        = "QuayAccessToken"
	defaultHost = "quay.io"
	saField     = "spec.serviceAccountRef"
)

// Generator returns the generator of kind QuayAccessToken. It makes "registry", "auth"
// (what a Docker configuration has there) and "expiry" (seconds since 1970).
func Generator() generator.Generator {
	return generator.Define(generator.Definition[v1alpha1.QuayAccessTokenSpec]{
		Kind: kind, Validate: validate, Generate: generate,
	})
}

func validate(spec *v1alpha1.QuayAccessTokenSpec) error {
	if _, err := registry(spec); err != nil {
		return err
	}
	switch {
	case spec.RobotAccount == "" || strings.Contains(spec.RobotAccount, ":"):
		return restapi.Invalid(kind, "spec.robotAccount", "must be the full name of a robot account, such as team+puller")
	case spec.ServiceAccountRef.Name == "":
		return restapi.Invalid(kind, saField+".name", "is empty")
	}
	return nil
}

// registry returns the address of the registry: https, whatever the spec says.
func registry(spec *v1alpha1.QuayAccessTokenSpec) (*url.URL, error) {
	host := strings.TrimPrefix(spec.URL, "https://")
	if host == "" {
		host = defaultHost
	}
	if strings.Contains(host, "://") {
		return nil, restapi.Invalid(kind, "spec.url", "must be a host, or an address with https")
	}
	return restapi.Endpoint(kind, "spec.url", "https://"+strings.TrimSuffix(host, "/"))
}

func generate(ctx context.Context, spec *v1alpha1.QuayAccessTokenSpec, env provider.Env) (generator.Output, error) {
	client, err := restapi.New(env, kind)
	if err != nil {
		return generator.Output{}, err
	}
	base, err := registry(spec)
	if err != nil {
		return generator.Output{}, err
	}
	identity, err := client.AccountToken(ctx, spec.ServiceAccountRef, saField, base.Host)
	if err != nil {
		return generator.Output{}, err
	}
	token, expires, err := client.Exchange(ctx, restapi.Request{
		Call: "ExchangeRobotToken", Method: http.MethodGet, URL: base.JoinPath("oauth2", "federation", "robot", "token"),
		Header: http.Header{"Authorization": {"Basic " + restapi.Basic(spec.RobotAccount, identity)}},
		Check:  "spec.robotAccount, and its federation with spec.serviceAccountRef",
	})
	if err != nil {
		return generator.Output{}, err
	}
	return generator.Output{
		Values: map[string]secret.Value{
			"registry": secret.FromString(base.Host + base.EscapedPath()),
			"auth":     secret.FromString(restapi.Basic(spec.RobotAccount, token)),
			"expiry":   secret.FromString(strconv.FormatInt(expires.Unix(), 10)),
		},
		Life: generator.Life{Expires: expires},
	}, nil
}
