package aws

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	esv1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	"github.com/keyferry/keyferry/internal/identity/aws"
	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/secret"
)

const (
	// secretBatch is how many secrets one call reads.
	secretBatch = 20
	// currentStage is the label of the version that a secret has.
	currentStage = "AWSCURRENT"
	// byVersion begins a version that is an ID and not a stage, in ESO's words.
	byVersion = "uuid/"
)

var (
	errSecretsClosed = errors.New("the store is closed")
	errSecretDeleted = errors.New("the secret is scheduled to be deleted")
)

// secrets is Secrets Manager, with the store's prefix before every key.
type secrets struct {
	*secretsSession
	prefix string
}

// secretsSession is what an open store has, whatever its prefix.
type secretsSession struct {
	client  *secretsmanager.Client
	sts     *sts.Client
	session *awsidentity.Session
	env     provider.Env
	deletes esv1.SecretsManager

	// single is true once BatchGetSecretValue turned out not to be allowed, unstaged once
	// UpdateSecretVersionStage did, or not to work, and followed once it did work.
	single, unstaged, followed atomic.Bool
	closed                     atomic.Bool
}

var (
	_ provider.Reader  = (*secrets)(nil)
	_ provider.Batcher = (*secrets)(nil)
	_ provider.Lister  = (*secrets)(nil)
	_ provider.Checker = (*secrets)(nil)
	_ provider.Writer  = (*secrets)(nil)
	_ provider.Deleter = (*secrets)(nil)
)

func openSecretsManager(ctx context.Context, s *esv1.AWSProvider, env provider.Env) (provider.Store, error) {
	session, err := login(ctx, s, env)
	if err != nil {
		return nil, err
	}
	out := &secrets{&secretsSession{session: session, env: env}, s.Prefix}
	if s.SecretsManager != nil {
		out.deletes = *s.SecretsManager
	}
	out.client = secretsmanager.NewFromConfig(session.Config, func(o *secretsmanager.Options) {
		if e := session.Endpoints.SecretsManager; e != nil {
			o.BaseEndpoint = e
		}
	})
	out.sts = sts.NewFromConfig(session.Config, func(o *sts.Options) {
		if e := session.Endpoints.STS; e != nil {
			o.BaseEndpoint = e
		}
	})
	return out, nil
}

// Close ends the store; later calls fail with Unavailable.
func (s *secrets) Close() error {
	s.closed.Store(true)
	return nil
}

// call makes one call of the API and returns what it came to in our terms.
func (s *secrets) call(op, api string, ref secret.Ref, do func() error) error {
	if s.closed.Load() {
		return s.fail(secret.Unavailable, op, ref, errSecretsClosed)
	}
	err := s.session.Fail(op, ref, do())
	s.env.Observe(api, err)
	return err
}

func (s *secrets) fail(kind secret.Kind, op string, ref secret.Ref, err error) error {
	return &secret.Error{Kind: kind, Op: op, Provider: name, Ref: ref, Err: err}
}

// Check implements provider.Checker: it asks STS who the store is, which nobody has to
// be allowed to. Whether the secrets may be read, only reading them tells.
func (s *secrets) Check(ctx context.Context) error {
	err := s.call("check", "GetCallerIdentity", secret.Ref{}, func() error {
		_, err := s.sts.GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
		return err
	})
	if secret.KindOf(err) == secret.Unavailable && ctx.Err() == nil {
		// Where networks are private, STS can be out of reach and Secrets Manager is not.
		return s.fail(secret.Unsupported, "check", secret.Ref{}, fmt.Errorf("STS cannot be asked whether the credentials work: %w", err))
	}
	return err
}

// id is what Secrets Manager calls the secret of a ref.
func (s *secrets) id(ref secret.Ref) *string { return aws.String(s.prefix + ref.Key) }

// describe returns what Secrets Manager keeps beside the value, also of a secret that is
// scheduled to be deleted.
func (s *secrets) describe(ctx context.Context, op string, ref secret.Ref) (out *secretsmanager.DescribeSecretOutput, err error) {
	err = s.call(op, "DescribeSecret", ref, func() (err error) {
		out, err = s.client.DescribeSecret(ctx, &secretsmanager.DescribeSecretInput{SecretId: s.id(ref)})
		return err
	})
	return out, err
}

// currentOf is the version that a secret has; empty if it never had a value.
func currentOf(was *secretsmanager.DescribeSecretOutput) secret.Version {
	for id, stages := range was.VersionIdsToStages {
		if slices.Contains(stages, currentStage) {
			return secretVersion(&id)
		}
	}
	return ""
}

func secretVersion(id *string) secret.Version { return secret.Version(byVersion + aws.ToString(id)) }

func versionID(v secret.Version) string { return strings.TrimPrefix(string(v), byVersion) }
