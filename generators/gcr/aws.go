package gcr

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/keyferry/keyferry/api/generators/v1alpha1"
	"github.com/keyferry/keyferry/internal/restapi"
	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/secret"
)

const (
	awsField  = federationField + ".awsSecurityCredentials.awsCredentialsSecretRef"
	typeOfAWS = "urn:ietf:params:aws:token-type:aws4_request"
)

// callerIdentity returns the token of an AWS identity: a signed request that asks AWS
// who it is. Nobody sends it but Google, for this audience alone.
func (l login) callerIdentity(ctx context.Context, spec *v1alpha1.AwsCredentialsConfig, audience string) (secret.Value, error) {
	from := spec.AwsCredentialsSecretRef
	all, err := l.env.Credential(ctx, provider.CredentialRef{Namespace: from.Namespace, Name: from.Name, Field: awsField})
	if err != nil {
		return secret.Value{}, err
	}
	keys, err := all.Object()
	if err != nil {
		return secret.Value{}, restapi.AtField(kind, awsField, err)
	}
	credentials := aws.Credentials{
		AccessKeyID:     restapi.Text(keys["aws_access_key_id"]),
		SecretAccessKey: restapi.Text(keys["aws_secret_access_key"]),
		SessionToken:    restapi.Text(keys["aws_session_token"]),
	}
	if credentials.AccessKeyID == "" || credentials.SecretAccessKey == "" {
		return secret.Value{}, restapi.Refused(kind, awsField, "needs the keys aws_access_key_id and aws_secret_access_key")
	}
	return l.sign(ctx, credentials, spec.Region, audience)
}

func (l login) sign(ctx context.Context, credentials aws.Credentials, region, audience string) (secret.Value, error) {
	domain := "amazonaws.com"
	if strings.HasPrefix(region, "cn-") {
		domain += ".cn"
	}
	address := "https://sts." + region + "." + domain + "?Action=GetCallerIdentity&Version=2011-06-15"
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, nil)
	if err != nil {
		return secret.Value{}, restapi.Invalid(kind, federationField+".awsSecurityCredentials.region", "is not the name of a region")
	}
	req.Header.Set("X-Goog-Cloud-Target-Resource", audience)
	nothing := sha256.Sum256(nil)
	if err := v4.NewSigner().SignHTTP(ctx, credentials, req, hex.EncodeToString(nothing[:]), "sts", region, l.env.Clock().Now()); err != nil {
		return secret.Value{}, restapi.Refused(kind, awsField, "cannot sign a request")
	}
	type header struct {
		Key   string `json:"key"`
		Value string `json:"value"`
	}
	headers := []header{{"host", req.URL.Host}}
	for name := range req.Header {
		headers = append(headers, header{strings.ToLower(name), req.Header.Get(name)})
	}
	slices.SortFunc(headers, func(a, b header) int { return strings.Compare(a.Key, b.Key) })
	b, err := json.Marshal(map[string]any{"url": address, "method": req.Method, "headers": headers})
	if err != nil {
		return secret.Value{}, restapi.Fail(kind, "sign", err)
	}
	return secret.FromString(url.QueryEscape(string(b))), nil
}
