package restapi

import (
	"context"

	esmeta "github.com/keyferry/keyferry/api/meta/v1"
	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/secret"
)

// AccountToken returns a token of the service account that a field of the spec names, for
// its audiences, or for this one if it has none. It fails as Env.Token does.
func (c *Client) AccountToken(ctx context.Context, account esmeta.ServiceAccountSelector, field, audience string) (secret.Value, error) {
	audiences := account.Audiences
	if len(audiences) == 0 {
		audiences = []string{audience}
	}
	return c.env.Token(ctx, provider.TokenRequest{
		Namespace: account.Namespace, ServiceAccount: account.Name, Audiences: audiences, Field: field,
	})
}

// Annotations returns those of the service account that a field of the spec names. It
// fails as Env.Credential does.
func (c *Client) Annotations(ctx context.Context, account esmeta.ServiceAccountSelector, field string) (map[string]secret.Value, error) {
	all, err := c.env.Credential(ctx, provider.CredentialRef{
		Kind: "ServiceAccount", Namespace: account.Namespace, Name: account.Name, Field: field,
	})
	if err != nil {
		return nil, err
	}
	annotations, err := all.Object()
	return annotations, AtField(c.kind, field, err)
}
