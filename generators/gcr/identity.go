package gcr

import (
	"context"
	"fmt"
	"net/url"

	"github.com/keyferry/keyferry/api/generators/v1alpha1"
	esmeta "github.com/keyferry/keyferry/api/meta/v1"
	"github.com/keyferry/keyferry/internal/restapi"
	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/secret"
)

const (
	accountField = "spec.auth.workloadIdentity.serviceAccountRef"
	annotation   = "iam.gke.io/gcp-service-account"
	bindingURL   = "https://securetoken.googleapis.com/v1/identitybindingtoken"

	grantOfExchange = "urn:ietf:params:oauth:grant-type:token-exchange"
	typeOfJWT       = "urn:ietf:params:oauth:token-type:jwt"
	typeOfAccess    = "urn:ietf:params:oauth:token-type:access_token"
)

// workloadIdentity returns a token for a Kubernetes service account of a GKE cluster: of
// the Google service account that it is annotated with, or else its own.
func (l login) workloadIdentity(ctx context.Context, spec *v1alpha1.GCRAccessTokenSpec) (token, error) {
	w := spec.Auth.WorkloadIdentity
	project := w.ClusterProjectID
	if project == "" {
		project = spec.ProjectID
	}
	email, err := l.annotated(ctx, &w.ServiceAccountRef, accountField)
	if err != nil {
		return token{}, err
	}
	pool := project + ".svc.id.goog"
	subject, err := l.account(ctx, &w.ServiceAccountRef, pool, accountField)
	if err != nil {
		return token{}, err
	}
	address, err := url.Parse(bindingURL)
	if err != nil {
		return token{}, restapi.Fail(kind, "login", err)
	}
	t, err := l.ask(ctx, restapi.Request{
		Call: "ExchangeToken", URL: address,
		JSON: map[string]string{
			"grant_type":           grantOfExchange,
			"subject_token_type":   typeOfJWT,
			"requested_token_type": typeOfAccess,
			"subject_token":        restapi.Text(subject),
			"audience": fmt.Sprintf("identitynamespace:%s:https://container.googleapis.com/v1/projects/%s/locations/%s/clusters/%s",
				pool, project, w.ClusterLocation, w.ClusterName),
			"scope": scope,
		},
		Check: "clusterProjectID, clusterLocation and clusterName of spec.auth.workloadIdentity",
	})
	if err != nil || email == "" {
		return t, err
	}
	return l.impersonate(ctx, t, email, 0)
}

// account returns a token of a Kubernetes service account.
func (l login) account(ctx context.Context, ref *esmeta.ServiceAccountSelector, audience, field string) (secret.Value, error) {
	return l.env.Token(ctx, provider.TokenRequest{
		Namespace: ref.Namespace, ServiceAccount: ref.Name, Audiences: append([]string{audience}, ref.Audiences...), Field: field,
	})
}

// annotated returns the Google service account that a Kubernetes service account is
// annotated with; "" if it is not.
func (l login) annotated(ctx context.Context, ref *esmeta.ServiceAccountSelector, field string) (string, error) {
	annotations, err := l.client.Annotations(ctx, *ref, field)
	return restapi.Text(annotations[annotation]), err
}
