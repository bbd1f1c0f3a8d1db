package awsidentity

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/aws-sdk-go-v2/service/sts/types"
	"github.com/aws/smithy-go/logging"

	esv1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	esmeta "github.com/keyferry/keyferry/api/meta/v1"
	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/secret"
)

const (
	// sessionName is what CloudTrail shows, and what trust policies may ask for. It is ESO's.
	sessionName = "external-secrets-provider-aws"
	// early is how long before their end credentials are replaced. The shortest life
	// that a role can have is 15 minutes.
	early = 5 * time.Minute

	roleAnnotation     = "eks.amazonaws.com/role-arn"
	audienceAnnotation = "eks.amazonaws.com/audience"
	defaultAudience    = "sts.amazonaws.com"
)

// source makes credentials.
type source func(context.Context) (aws.Credentials, error)

// Retrieve implements aws.CredentialsProvider.
func (s source) Retrieve(ctx context.Context) (aws.Credentials, error) { return s(ctx) }

// base returns the credentials that roles are assumed with.
func (s *Session) base(ctx context.Context, env provider.Env) (aws.CredentialsProvider, error) {
	switch account, keys := s.spec.account(), s.spec.Auth.SecretRef; {
	case account != nil:
		return s.webIdentity(ctx, *account, env)
	case keys != nil:
		return s.keys(ctx, *keys, env)
	}
	return s.defaultChain(ctx)
}

func (s *Session) keys(ctx context.Context, keys esv1.AWSAuthSecretRef, env provider.Env) (aws.CredentialsProvider, error) {
	read := func(field string, ref esmeta.SecretKeySelector) (string, error) {
		field = s.spec.AuthField + ".secretRef." + field
		v, err := env.Credential(ctx, provider.CredentialRef{Namespace: ref.Namespace, Name: ref.Name, Key: ref.Key, Field: field})
		if err != nil {
			return "", err
		}
		text := bytes.TrimSpace(v.Reveal()) // editors leave a line end behind
		if len(text) == 0 {
			return "", s.spec.fail(secret.Unauthenticated, fmt.Errorf("%s: the value is empty", field))
		}
		return string(text), nil
	}
	var found aws.Credentials
	var err error
	if found.AccessKeyID, err = read("accessKeyIDSecretRef", keys.AccessKeyID); err != nil {
		return nil, err
	}
	if found.SecretAccessKey, err = read("secretAccessKeySecretRef", keys.SecretAccessKey); err != nil {
		return nil, err
	}
	if keys.SessionToken != nil {
		if found.SessionToken, err = read("sessionTokenSecretRef", *keys.SessionToken); err != nil {
			return nil, err
		}
	}
	return source(func(context.Context) (aws.Credentials, error) { return found, nil }), nil
}

// defaultChain is the identity of the process itself. Its calls, but for those to STS,
// do not go through the egress policy: where credentials come from is what the
// administrator of the process has set up, and often is a link-local address.
func (s *Session) defaultChain(ctx context.Context) (aws.CredentialsProvider, error) {
	loaded, err := config.LoadDefaultConfig(ctx, config.WithRegion(s.spec.Region), config.WithLogger(logging.Nop{}),
		config.WithWebIdentityRoleCredentialOptions(func(o *stscreds.WebIdentityRoleOptions) { o.Client = s.sts(aws.AnonymousCredentials{}) }))
	if err != nil { // its text can quote a file
		return nil, s.spec.fail(secret.Unauthenticated, fmt.Errorf("%s is not set, and the controller's own AWS configuration cannot be read", s.spec.AuthField))
	}
	return source(func(ctx context.Context) (aws.Credentials, error) {
		found, err := loaded.Credentials.Retrieve(ctx)
		switch {
		case err == nil:
			return found, nil
		case ctx.Err() != nil:
			return found, s.spec.fail(secret.Unavailable, fmt.Errorf("the controller's own AWS identity: %w", ctx.Err()))
		case Code(err) != "":
			return found, s.because("the controller's own AWS identity", err)
		}
		return found, s.spec.fail(secret.Unauthenticated, fmt.Errorf(
			"%s is not set, and the controller has no AWS identity of its own: set it, or give the controller one", s.spec.AuthField))
	}), nil
}

// webIdentity exchanges tokens of a service account for credentials of the role that
// the service account is annotated with.
func (s *Session) webIdentity(ctx context.Context, account esmeta.ServiceAccountSelector, env provider.Env) (aws.CredentialsProvider, error) {
	field := s.spec.AuthField + ".jwt.serviceAccountRef"
	v, err := env.Credential(ctx, provider.CredentialRef{Kind: "ServiceAccount", Namespace: account.Namespace, Name: account.Name, Field: field})
	if err != nil {
		return nil, err
	}
	var annotations map[string]string
	if err := json.Unmarshal(v.Reveal(), &annotations); err != nil {
		return nil, s.spec.fail(secret.Internal, fmt.Errorf("%s: the annotations cannot be read", field))
	}
	role := annotations[roleAnnotation]
	if role == "" {
		return nil, s.spec.fail(secret.Unauthenticated, fmt.Errorf("%s: service account %s has no annotation %s: it names the role to be", field, account.Name, roleAnnotation))
	}
	audience := annotations[audienceAnnotation]
	if audience == "" {
		audience = defaultAudience
	}
	request := provider.TokenRequest{
		Namespace: account.Namespace, ServiceAccount: account.Name, Field: field,
		Audiences: append([]string{audience}, slices.DeleteFunc(slices.Clone(account.Audiences), func(a string) bool { return a == audience })...),
	}
	client := s.sts(aws.AnonymousCredentials{})
	return s.kept(func(ctx context.Context) (aws.Credentials, error) {
		token, err := env.Token(ctx, request)
		if err != nil {
			return aws.Credentials{}, err
		}
		out, err := client.AssumeRoleWithWebIdentity(ctx, &sts.AssumeRoleWithWebIdentityInput{
			RoleArn: &role, RoleSessionName: aws.String(sessionName), WebIdentityToken: aws.String(string(token.Reveal())),
		})
		if err != nil {
			return aws.Credentials{}, s.because(field, err)
		}
		return s.issued(out.Credentials)
	}), nil
}

func (s *Session) sts(credentials aws.CredentialsProvider) *sts.Client {
	c := s.Config.Copy()
	c.Credentials = credentials
	return sts.NewFromConfig(c, func(o *sts.Options) {
		if s.Endpoints.STS != nil {
			o.BaseEndpoint = s.Endpoints.STS
		}
	})
}

func (s *Session) assume(by aws.CredentialsProvider, role, field string) aws.CredentialsProvider {
	return s.assumeWith(by, field, &sts.AssumeRoleInput{RoleArn: &role})
}

// assumeLast assumes the role that acts, with all that the manifest says about it.
func (s *Session) assumeLast(by aws.CredentialsProvider) aws.CredentialsProvider {
	input := &sts.AssumeRoleInput{RoleArn: &s.spec.Role, TransitiveTagKeys: s.spec.TransitiveTags}
	if s.spec.ExternalID != "" {
		input.ExternalId = &s.spec.ExternalID
	}
	for _, key := range slices.Sorted(maps.Keys(s.spec.Tags)) {
		input.Tags = append(input.Tags, types.Tag{Key: aws.String(key), Value: aws.String(s.spec.Tags[key])})
	}
	return s.assumeWith(by, s.spec.Field+".role", input)
}

func (s *Session) assumeWith(by aws.CredentialsProvider, field string, input *sts.AssumeRoleInput) aws.CredentialsProvider {
	input.RoleSessionName = aws.String(sessionName)
	client := s.sts(by)
	return s.kept(func(ctx context.Context) (aws.Credentials, error) {
		out, err := client.AssumeRole(ctx, input)
		if err != nil {
			return aws.Credentials{}, s.because(field, err)
		}
		return s.issued(out.Credentials)
	})
}

// because says which field led to an error of a login.
func (s *Session) because(field string, err error) error {
	failed := s.classify(err)
	failed.Op, failed.Provider = "login", s.spec.Provider
	if failed.Kind == secret.NotFound { // that would say that the secret is gone
		failed.Kind = secret.Unauthenticated
	}
	if failed.Err != nil {
		failed.Err = fmt.Errorf("%s: %w", field, failed.Err)
	}
	return failed
}

func (s *Session) issued(c *types.Credentials) (aws.Credentials, error) {
	if c == nil || aws.ToString(c.AccessKeyId) == "" || aws.ToString(c.SecretAccessKey) == "" || c.Expiration == nil {
		return aws.Credentials{}, s.spec.fail(secret.Internal, errors.New("STS answered without credentials"))
	}
	return aws.Credentials{
		AccessKeyID: *c.AccessKeyId, SecretAccessKey: *c.SecretAccessKey, SessionToken: aws.ToString(c.SessionToken),
		CanExpire: true, Expires: *c.Expiration,
	}, nil
}

// kept keeps what fetch returned until shortly before its end. Of those that come at
// the same time one fetches, and the others wait for it.
func (s *Session) kept(fetch source) aws.CredentialsProvider {
	turn := make(chan struct{}, 1)
	var have aws.Credentials
	return source(func(ctx context.Context) (aws.Credentials, error) {
		select {
		case turn <- struct{}{}:
			defer func() { <-turn }()
		case <-ctx.Done():
			return aws.Credentials{}, s.spec.fail(secret.Unavailable, ctx.Err())
		}
		if s.clock.Now().Add(early).Before(have.Expires) {
			return have, nil
		}
		next, err := fetch(ctx)
		if err == nil {
			have = next
		} else if s.clock.Now().Before(have.Expires) {
			return have, nil // they are still good
		}
		return next, err
	})
}
