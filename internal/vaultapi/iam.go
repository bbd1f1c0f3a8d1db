package vaultapi

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	esv1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	awsidentity "github.com/keyferry/keyferry/internal/identity/aws"
	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/secret"
)

const (
	// globalRegion is the region of the endpoint that servers ask if nobody told them
	// another.
	globalRegion = "us-east-1"
	whoAmI       = "Action=GetCallerIdentity&Version=2011-06-15"
)

// iam logs in with a request to AWS that asks who signed it. The server sends the
// request on, and learns the answer from AWS.
func iam(field string, i *esv1.VaultIamAuth) Method {
	if i.Role == "" {
		return Refused(field+".vaultRole", "must name a role")
	}
	spec := awsidentity.Spec{
		Provider: "vault", Field: field, AuthField: field,
		Region: cmp.Or(i.Region, globalRegion), Role: i.AWSIAMRole, ExternalID: i.ExternalID,
		Auth: esv1.AWSAuth{SecretRef: (*esv1.AWSAuthSecretRef)(i.SecretRef), JWTAuth: (*esv1.AWSJWTAuth)(i.JWTAuth)},
	}
	if i.JWTAuth != nil && i.JWTAuth.ServiceAccountRef == nil {
		return Refused(field+".jwt.serviceAccountRef", "must name a service account")
	}
	if err := spec.Check(awsidentity.EndpointsFromEnv()); err != nil {
		if e, ok := errors.AsType[*secret.Error](err); ok {
			err = e.Err
		}
		return Method{Field: field, Err: err}
	}
	m := At(field, cmp.Or(i.Path, "aws"), []string{"login"}, nil)
	m.read = func(ctx context.Context, env provider.Env) (map[string]secret.Value, error) {
		request, err := signed(ctx, spec, i.VaultAWSIAMServerID, env)
		if err != nil {
			return nil, credential(err)
		}
		request["role"] = secret.FromString(i.Role)
		return request, nil
	}
	return m
}

// signed is the request, in the parts that a server takes it in.
func signed(ctx context.Context, spec awsidentity.Spec, serverID string, env provider.Env) (map[string]secret.Value, error) {
	if spec.Auth == (esv1.AWSAuth{}) && provider.ConsumerOf(env).StoreKind != esv1.ClusterSecretStoreKind {
		// Who names the server could use the request at another one, in our name.
		return nil, &secret.Error{Kind: secret.Invalid, Op: "login", Provider: spec.Provider, Err: fmt.Errorf(
			"%s: name jwt or secretRef: the controller's own AWS identity is lent to ClusterSecretStores alone", spec.Field)}
	}
	session, err := awsidentity.Open(ctx, spec, awsidentity.EndpointsFromEnv(), env)
	if err != nil {
		return nil, err
	}
	who, err := session.Config.Credentials.Retrieve(ctx)
	if err != nil {
		return nil, session.Fail("login", secret.Ref{}, err)
	}
	at, err := whom(ctx, spec.Region)
	if err != nil {
		return nil, &secret.Error{Kind: secret.Invalid, Op: "login", Provider: spec.Provider, Err: fmt.Errorf("%s.region: AWS has no STS there", spec.Field)}
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, at, strings.NewReader(whoAmI))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
	if serverID != "" {
		r.Header.Set("X-Vault-AWS-IAM-Server-ID", serverID)
	}
	hash := sha256.Sum256([]byte(whoAmI))
	if err := v4.NewSigner().SignHTTP(ctx, who, r, hex.EncodeToString(hash[:]), "sts", spec.Region, env.Clock().Now()); err != nil {
		return nil, err
	}
	headers, err := json.Marshal(r.Header)
	if err != nil {
		return nil, err
	}
	text := func(b []byte) secret.Value { return secret.FromString(base64.StdEncoding.EncodeToString(b)) }
	return map[string]secret.Value{
		"iam_http_request_method": secret.FromString(http.MethodPost),
		"iam_request_url":         text([]byte(at)),
		"iam_request_body":        text([]byte(whoAmI)),
		"iam_request_headers":     text(headers),
	}, nil
}

// whom is the address that the request is signed for: it has to be that which the
// server sends it to.
func whom(ctx context.Context, region string) (string, error) {
	if region == globalRegion {
		return "https://sts.amazonaws.com/", nil
	}
	e, err := sts.NewDefaultEndpointResolverV2().ResolveEndpoint(ctx, sts.EndpointParameters{Region: aws.String(region)})
	if err != nil {
		return "", err
	}
	e.URI.Path = "/"
	return e.URI.String(), nil
}
