package acr

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"strings"

	"github.com/keyferry/keyferry/api/generators/v1alpha1"
	"github.com/keyferry/keyferry/generator"
	"github.com/keyferry/keyferry/internal/restapi"
	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/secret"
)

const (
	kind = "ACRAccessToken"
	// user is who a token logs in as at every registry.
	user = "00000000-0000-0000-0000-000000000000"
)

// Generator returns the generator of kind ACRAccessToken. It makes "username" and
// "password": a refresh token, or with spec.scope an access token.
func Generator() generator.Generator {
	return generator.Define(generator.Definition[v1alpha1.ACRAccessTokenSpec]{
		Kind: kind, Validate: validate, Generate: generate,
	})
}

func validate(spec *v1alpha1.ACRAccessTokenSpec) error {
	if _, err := registry(spec); err != nil {
		return err
	}
	if _, err := cloudOf(spec.EnvironmentType); err != nil {
		return err
	}
	return validateAuth(spec)
}

func validateAuth(spec *v1alpha1.ACRAccessTokenSpec) error {
	chosen := 0
	var wrong error
	if p := spec.Auth.ServicePrincipal; p != nil {
		chosen++
		wrong = cmp.Or(
			restapi.Selector(kind, idField, p.SecretRef.ClientID.Name, p.SecretRef.ClientID.Key),
			restapi.Selector(kind, passwordField, p.SecretRef.ClientSecret.Name, p.SecretRef.ClientSecret.Key),
			restapi.Required(kind, "spec.tenantId", spec.TenantID, "a service principal logs in to a tenant"),
		)
	}
	if spec.Auth.ManagedIdentity != nil {
		chosen++
	}
	if w := spec.Auth.WorkloadIdentity; w != nil {
		chosen++
		if w.ServiceAccountRef == nil || w.ServiceAccountRef.Name == "" {
			wrong = restapi.Invalid(kind, accountField, "is empty: name a service account, the controller's own identity is not used")
		}
	}
	if chosen != 1 {
		return restapi.Invalid(kind, "spec.auth", "must have exactly one of servicePrincipal, managedIdentity and workloadIdentity")
	}
	return wrong
}

// registry returns the address of the registry, which the spec has as a host.
func registry(spec *v1alpha1.ACRAccessTokenSpec) (*url.URL, error) {
	if strings.ContainsAny(spec.ACRRegistry, `/\?#@`) {
		return nil, restapi.Invalid(kind, "spec.registry", "must be the host of the registry, such as example.azurecr.io")
	}
	return restapi.Endpoint(kind, "spec.registry", "https://"+spec.ACRRegistry)
}

// cloud is one of the Azure clouds: where to log in, and what tokens are for.
type cloud struct{ login, audience string }

func cloudOf(environment v1alpha1.AzureEnvironmentType) (cloud, error) {
	switch environment {
	case "", v1alpha1.AzureEnvironmentPublicCloud:
		return cloud{"https://login.microsoftonline.com", "https://management.azure.com/"}, nil
	case v1alpha1.AzureEnvironmentUSGovernmentCloud:
		return cloud{"https://login.microsoftonline.us", "https://management.usgovcloudapi.net/"}, nil
	case v1alpha1.AzureEnvironmentChinaCloud:
		return cloud{"https://login.chinacloudapi.cn", "https://management.chinacloudapi.cn/"}, nil
	case v1alpha1.AzureEnvironmentGermanCloud:
		return cloud{"https://login.microsoftonline.de", "https://management.microsoftazure.de/"}, nil
	}
	return cloud{}, restapi.Invalid(kind, "spec.environmentType", "must be PublicCloud, USGovernmentCloud, ChinaCloud or GermanCloud: where another cloud is, no field can say")
}

func generate(ctx context.Context, spec *v1alpha1.ACRAccessTokenSpec, env provider.Env) (generator.Output, error) {
	client, err := restapi.New(env, kind)
	if err != nil {
		return generator.Output{}, err
	}
	host, err := registry(spec)
	if err != nil {
		return generator.Output{}, err
	}
	where, err := cloudOf(spec.EnvironmentType)
	if err != nil {
		return generator.Output{}, err
	}
	l := login{client: client, env: env, cloud: where}
	identity, err := l.token(ctx, spec)
	if err != nil {
		return generator.Output{}, err
	}
	password, err := exchange(ctx, client, spec, host, identity)
	if err != nil {
		return generator.Output{}, err
	}
	out := generator.Output{Values: map[string]secret.Value{"username": secret.FromString(user), "password": password}}
	out.Life.Expires, _ = restapi.Expiry(password)
	return out, nil
}

// exchange returns the token of the registry for one of Entra ID.
func exchange(ctx context.Context, client *restapi.Client, spec *v1alpha1.ACRAccessTokenSpec, host *url.URL, identity secret.Value) (secret.Value, error) {
	var answer struct {
		Refresh string `json:"refresh_token"`
		Access  string `json:"access_token"`
	}
	form := url.Values{"grant_type": {"access_token"}, "service": {spec.ACRRegistry}, "access_token": {restapi.Text(identity)}}
	if spec.TenantID != "" {
		form.Set("tenant", spec.TenantID)
	}
	request := restapi.Request{
		Call: "ExchangeRefreshToken", Method: http.MethodPost, URL: host.JoinPath("oauth2", "exchange"), Form: form, Into: &answer,
		Check: "spec.registry, spec.tenantId, and which roles the identity of spec.auth has at the registry",
	}
	if err := client.Do(ctx, request); err != nil {
		return secret.Value{}, err
	}
	if answer.Refresh == "" {
		return secret.Value{}, client.Strange(request)
	}
	if spec.Scope == "" {
		return secret.FromString(answer.Refresh), nil
	}
	request.Call, request.URL = "CreateAccessToken", host.JoinPath("oauth2", "token")
	request.Form = url.Values{
		"grant_type": {"refresh_token"}, "service": {spec.ACRRegistry}, "scope": {spec.Scope}, "refresh_token": {answer.Refresh},
	}
	request.Check = "spec.scope, and which roles the identity of spec.auth has at the registry"
	if err := client.Do(ctx, request); err != nil {
		return secret.Value{}, err
	}
	if answer.Access == "" {
		return secret.Value{}, client.Strange(request)
	}
	return secret.FromString(answer.Access), nil
}
