package acr

import (
	"context"
	"net/http"
	"net/url"
	"strings"

	"github.com/keyferry/keyferry/api/generators/v1alpha1"
	esmeta "github.com/keyferry/keyferry/api/meta/v1"
	"github.com/keyferry/keyferry/internal/restapi"
	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/secret"
)

const (
	idField       = "spec.auth.servicePrincipal.secretRef.clientId"
	passwordField = "spec.auth.servicePrincipal.secretRef.clientSecret"
	identityField = "spec.auth.managedIdentity"
	accountField  = "spec.auth.workloadIdentity.serviceAccountRef"

	// metadata is the service of a node that hands out its identities.
	metadata = "http://169.254.169.254/metadata/identity/oauth2/token"

	// What Azure's workload identity calls things.
	federatedAudience = "api://AzureADTokenExchange"
	clientAnnotation  = "azure.workload.identity/client-id"
	tenantAnnotation  = "azure.workload.identity/tenant-id"
	assertionType     = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
)

// login gets tokens of Entra ID.
type login struct {
	client *restapi.Client
	env    provider.Env
	cloud  cloud
}

// token returns a token of the identity that the spec names.
func (l login) token(ctx context.Context, spec *v1alpha1.ACRAccessTokenSpec) (secret.Value, error) {
	switch {
	case spec.Auth.ServicePrincipal != nil:
		return l.servicePrincipal(ctx, spec.Auth.ServicePrincipal, spec.TenantID)
	case spec.Auth.ManagedIdentity != nil:
		return l.managedIdentity(ctx, spec.Auth.ManagedIdentity.IdentityID)
	}
	return l.workloadIdentity(ctx, spec.Auth.WorkloadIdentity.ServiceAccountRef, spec.TenantID)
}

func (l login) servicePrincipal(ctx context.Context, p *v1alpha1.AzureACRServicePrincipalAuth, tenant string) (secret.Value, error) {
	id, err := l.credential(ctx, p.SecretRef.ClientID, idField)
	if err != nil {
		return secret.Value{}, err
	}
	password, err := l.credential(ctx, p.SecretRef.ClientSecret, passwordField)
	if err != nil {
		return secret.Value{}, err
	}
	return l.ask(ctx, tenant, "spec.tenantId and spec.auth.servicePrincipal", url.Values{
		"client_id": {restapi.Text(id)}, "client_secret": {restapi.Text(password)},
	})
}

func (l login) workloadIdentity(ctx context.Context, account *esmeta.ServiceAccountSelector, tenant string) (secret.Value, error) {
	annotations, err := l.client.Annotations(ctx, *account, accountField)
	if err != nil {
		return secret.Value{}, err
	}
	client := restapi.Text(annotations[clientAnnotation])
	if named := restapi.Text(annotations[tenantAnnotation]); named != "" {
		tenant = named
	}
	switch {
	case client == "":
		return secret.Value{}, restapi.Refused(kind, accountField, "names a service account that needs the annotation "+clientAnnotation)
	case tenant == "":
		return secret.Value{}, restapi.Refused(kind, accountField, "names a service account that needs the annotation "+tenantAnnotation+", or set spec.tenantId")
	}
	token, err := l.env.Token(ctx, provider.TokenRequest{
		Namespace: account.Namespace, ServiceAccount: account.Name, Field: accountField,
		Audiences: append([]string{federatedAudience}, account.Audiences...),
	})
	if err != nil {
		return secret.Value{}, err
	}
	return l.ask(ctx, tenant, "spec.tenantId and the federated credential of "+accountField, url.Values{
		"client_id": {client}, "client_assertion_type": {assertionType}, "client_assertion": {restapi.Text(token)},
	})
}

// ask logs in with client credentials.
func (l login) ask(ctx context.Context, tenant, check string, form url.Values) (secret.Value, error) {
	form.Set("grant_type", "client_credentials")
	form.Set("scope", l.cloud.audience+".default")
	base, err := url.Parse(l.cloud.login)
	if err != nil {
		return secret.Value{}, restapi.Fail(kind, "login", err)
	}
	var answer accessToken
	request := restapi.Request{
		Call: "Login", Method: http.MethodPost, URL: base.JoinPath(restapi.Segment(tenant), "oauth2", "v2.0", "token"),
		Form: form, Into: &answer, Check: check, Login: true,
	}
	return answer.value(l.client, request, l.client.Do(ctx, request))
}

// managedIdentity asks the node for a token. Without an ID it is that of its own identity.
func (l login) managedIdentity(ctx context.Context, id string) (secret.Value, error) {
	base, err := url.Parse(metadata)
	if err != nil {
		return secret.Value{}, restapi.Fail(kind, "login", err)
	}
	query := url.Values{"api-version": {"2018-02-01"}, "resource": {l.cloud.audience}}
	switch {
	case strings.Contains(id, "/"):
		query.Set("msi_res_id", id)
	case id != "":
		query.Set("client_id", id)
	}
	base.RawQuery = query.Encode()
	var answer accessToken
	request := restapi.Request{
		Call: "Login", Method: http.MethodGet, URL: base, Header: http.Header{"Metadata": {"true"}}, Into: &answer,
		Check: identityField + ", and that the node has this identity",
	}
	return answer.value(l.client, request, l.client.Do(ctx, request))
}

// accessToken is the answer of a login.
type accessToken struct {
	Token string `json:"access_token"`
}

func (a *accessToken) value(client *restapi.Client, request restapi.Request, err error) (secret.Value, error) {
	if err == nil && a.Token == "" {
		err = client.Strange(request)
	}
	return secret.FromString(a.Token), err
}

func (l login) credential(ctx context.Context, ref esmeta.SecretKeySelector, field string) (secret.Value, error) {
	return l.env.Credential(ctx, provider.CredentialRef{Namespace: ref.Namespace, Name: ref.Name, Key: ref.Key, Field: field})
}
