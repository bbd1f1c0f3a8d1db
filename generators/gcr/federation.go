package gcr

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"

	"github.com/keyferry/keyferry/api/generators/v1alpha1"
	"github.com/keyferry/keyferry/internal/restapi"
	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/secret"
)

const (
	federationField  = "spec.auth.workloadIdentityFederation"
	federatedAccount = federationField + ".serviceAccountRef"
	configField      = federationField + ".credConfig"
	exchangeURL      = "https://sts.googleapis.com/v1/token"
)

// impersonationURL is how a configuration names the Google service account to become.
var impersonationURL = regexp.MustCompile(`^https://iamcredentials\.googleapis\.com/v1/projects/-/serviceAccounts/([^/\s]+):generateAccessToken$`)

// config is what a federation needs; its names are those of Google's file for an
// external account.
type config struct {
	Type             string `json:"type"`
	Audience         string `json:"audience"`
	SubjectTokenType string `json:"subject_token_type"`
	TokenURL         string `json:"token_url"`
	ImpersonationURL string `json:"service_account_impersonation_url"`
	Impersonation    struct {
		Lifetime int64 `json:"token_lifetime_seconds"`
	} `json:"service_account_impersonation"`
	Source source `json:"credential_source"`
}

// source is where a configuration gets the token of the identity from.
type source struct {
	File        string            `json:"file"`
	URL         string            `json:"url"`
	Headers     map[string]string `json:"headers"`
	Environment string            `json:"environment_id"`
	Executable  json.RawMessage   `json:"executable"`
	Format      struct {
		Type  string `json:"type"`
		Field string `json:"subject_token_field_name"`
	} `json:"format"`
}

// federation returns a token for an identity from outside of Google Cloud.
func (l login) federation(ctx context.Context, spec *v1alpha1.GCPWorkloadIdentityFederation) (token, error) {
	c := config{SubjectTokenType: typeOfJWT}
	if spec.CredConfig != nil {
		read, err := l.readConfig(ctx, spec)
		if err != nil {
			return token{}, err
		}
		c = read
	}
	c.Audience = cmp.Or(spec.Audience, c.Audience)
	email, err := l.actAs(ctx, spec, c)
	if err != nil {
		return token{}, err
	}
	subject, err := l.subject(ctx, spec, &c)
	if err != nil {
		return token{}, err
	}
	address, err := url.Parse(exchangeURL)
	if err != nil {
		return token{}, restapi.Fail(kind, "login", err)
	}
	t, err := l.ask(ctx, restapi.Request{
		Call: "ExchangeToken", URL: address,
		Form: url.Values{
			"grant_type":           {grantOfExchange},
			"audience":             {c.Audience},
			"scope":                {scope},
			"requested_token_type": {typeOfAccess},
			"subject_token":        {restapi.Text(subject)},
			"subject_token_type":   {c.SubjectTokenType},
		},
		Check: federationField + ", and the workload identity pool that its audience names",
	})
	if err != nil || email == "" {
		return t, err
	}
	return l.impersonate(ctx, t, email, c.Impersonation.Lifetime)
}

// actAs returns the Google service account to become; "" for none.
func (l login) actAs(ctx context.Context, spec *v1alpha1.GCPWorkloadIdentityFederation, c config) (string, error) {
	match := impersonationURL.FindStringSubmatch(c.ImpersonationURL)
	switch {
	case spec.GCPServiceAccountEmail != "":
		return spec.GCPServiceAccountEmail, nil
	case match != nil:
		return match[1], nil
	case spec.ServiceAccountRef != nil:
		return l.annotated(ctx, spec.ServiceAccountRef, federatedAccount)
	}
	return "", nil
}

// subject returns the token of the identity, and sets its type.
func (l login) subject(ctx context.Context, spec *v1alpha1.GCPWorkloadIdentityFederation, c *config) (secret.Value, error) {
	switch {
	case spec.ServiceAccountRef != nil:
		return l.account(ctx, spec.ServiceAccountRef, c.Audience, federatedAccount)
	case spec.AwsSecurityCredentials != nil:
		c.SubjectTokenType = typeOfAWS
		return l.callerIdentity(ctx, spec.AwsSecurityCredentials, c.Audience)
	}
	return l.fetch(ctx, c.Source)
}

// readConfig reads and checks the configuration of an external account.
func (l login) readConfig(ctx context.Context, spec *v1alpha1.GCPWorkloadIdentityFederation) (config, error) {
	from := spec.CredConfig
	text, err := l.env.Credential(ctx, provider.CredentialRef{
		Kind: "ConfigMap", Namespace: from.Namespace, Name: from.Name, Key: from.Key, Field: configField,
	})
	if err != nil {
		return config{}, err
	}
	var c config
	if err := json.Unmarshal(text.Reveal(), &c); err != nil {
		return config{}, restapi.Invalid(kind, configField, "holds no JSON")
	}
	if c.SubjectTokenType == "" {
		c.SubjectTokenType = typeOfJWT
	}
	return c, c.check(spec)
}

// check refuses what would let the author of the configuration reach further than the
// author of the spec, and what needs the controller's own files, programs or node.
func (c config) check(spec *v1alpha1.GCPWorkloadIdentityFederation) error {
	problem := c.Source.problem(spec.ExternalTokenEndpoint)
	switch {
	case c.Type != "external_account":
		problem = `must have the type "external_account"`
	case c.Audience == "" && spec.Audience == "":
		problem = "has no audience, and " + federationField + ".audience is empty"
	case c.TokenURL != "" && c.TokenURL != exchangeURL:
		problem = "has a token_url other than " + exchangeURL
	case c.ImpersonationURL != "" && !impersonationURL.MatchString(c.ImpersonationURL):
		problem = "has a service_account_impersonation_url that is not one of Google's"
	}
	if problem == "" {
		return nil
	}
	return restapi.Invalid(kind, configField, problem)
}

// problem says why a token cannot come from there; empty if it can.
func (s source) problem(allowed string) string {
	switch {
	case s.File != "" || len(s.Executable) > 0:
		return "has a credential_source in a file or program, which would be the controller's; use serviceAccountRef"
	case s.Environment != "":
		return "has a credential_source in the node's AWS identity; use awsSecurityCredentials"
	case s.URL == "" || s.URL != allowed:
		return "has a credential_source.url that is not " + federationField + ".externalTokenEndpoint"
	case s.Format.Type == "json" && s.Format.Field == "":
		return "has a credential_source.format without subject_token_field_name"
	}
	return ""
}

// fetch gets the token of the identity from the endpoint that the spec allows.
func (l login) fetch(ctx context.Context, s source) (secret.Value, error) {
	address, err := restapi.Endpoint(kind, federationField+".externalTokenEndpoint", s.URL)
	if err != nil {
		return secret.Value{}, err
	}
	header := http.Header{}
	for name, value := range s.Headers {
		header.Set(name, value)
	}
	var raw []byte
	request := restapi.Request{
		Call: "FetchSubjectToken", Method: http.MethodGet, URL: address, Header: header, Raw: &raw,
		Check: federationField + ".externalTokenEndpoint",
	}
	if err := l.client.Do(ctx, request); err != nil {
		return secret.Value{}, err
	}
	if s.Format.Type != "json" {
		return secret.New(raw), nil
	}
	members, err := secret.New(raw).Object()
	if err != nil || members[s.Format.Field].Len() == 0 {
		return secret.Value{}, l.client.Strange(request)
	}
	return members[s.Format.Field], nil
}
