package gcr

import (
	"cmp"
	"context"
	"encoding/json"
	"net/url"
	"time"

	esmeta "github.com/keyferry/keyferry/api/meta/v1"
	"github.com/keyferry/keyferry/internal/restapi"
	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/secret"
)

const (
	keyField     = "spec.auth.secretRef.secretAccessKeySecretRef"
	defaultToken = "https://oauth2.googleapis.com/token"
	grantOfJWT   = "urn:ietf:params:oauth:grant-type:jwt-bearer"
	// jwtLife is the longest that Google takes.
	jwtLife = time.Hour
)

// serviceKey is the key file of a Google service account.
type serviceKey struct {
	Type     string `json:"type"`
	Email    string `json:"client_email"`
	KeyID    string `json:"private_key_id"`
	Key      string `json:"private_key"`
	TokenURI string `json:"token_uri"`
}

// claims are those of the JWT that a service account logs in with.
type claims struct {
	Issuer   string `json:"iss"`
	Scope    string `json:"scope"`
	Audience string `json:"aud"`
	IssuedAt int64  `json:"iat"`
	Expires  int64  `json:"exp"`
}

// parseKey reads the file of a key, and where its tokens are made.
func parseKey(file secret.Value) (serviceKey, *url.URL, error) {
	var k serviceKey
	if err := json.Unmarshal(file.Reveal(), &k); err != nil {
		return k, nil, restapi.Refused(kind, keyField, "holds no JSON: it must be the key file of a Google service account")
	}
	if k.Type != "service_account" || k.Email == "" || k.Key == "" {
		return k, nil, restapi.Refused(kind, keyField, "is not the key file of a Google service account (type service_account)")
	}
	k.TokenURI = cmp.Or(k.TokenURI, defaultToken)
	address, err := restapi.Endpoint(kind, keyField, k.TokenURI)
	if err != nil || address.Scheme != "https" {
		return k, nil, restapi.Refused(kind, keyField, "has a token_uri that is no https address")
	}
	return k, address, nil
}

// key returns a token for the key of a Google service account.
func (l login) key(ctx context.Context, ref esmeta.SecretKeySelector) (token, error) {
	file, err := l.env.Credential(ctx, provider.CredentialRef{Namespace: ref.Namespace, Name: ref.Name, Key: ref.Key, Field: keyField})
	if err != nil {
		return token{}, err
	}
	k, address, err := parseKey(file)
	if err != nil {
		return token{}, err
	}
	now := l.env.Clock().Now()
	assertion, err := restapi.Sign(secret.FromString(k.Key), k.KeyID, claims{
		Issuer: k.Email, Scope: scope, Audience: k.TokenURI, IssuedAt: now.Unix(), Expires: now.Add(jwtLife).Unix(),
	})
	if err != nil {
		return token{}, restapi.AtField(kind, keyField, err)
	}
	return l.ask(ctx, restapi.Request{
		Call: "Login", URL: address, Form: url.Values{"grant_type": {grantOfJWT}, "assertion": {restapi.Text(assertion)}},
		Check: keyField + ": the service account may be disabled, or the key deleted",
	})
}
