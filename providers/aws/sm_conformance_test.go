package aws

import (
	"context"
	"errors"
	"slices"
	"testing"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"

	esv1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	"github.com/keyferry/keyferry/internal/awstest"
	"github.com/keyferry/keyferry/internal/identity/aws"
	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/provider/providertest"
)

func TestSecretsManagerConformance(t *testing.T) {
	env := providertest.NewEnv(t)
	server := awstest.Start(t, env.Time)
	server.Trust(awstest.Situated("secretsmanager:*")...)
	conformSecrets(t, env, server, func(key string) int {
		stored, _ := server.Secret(key)
		return len(stored.Versions)
	}, providertest.CompareAndSet)
}

// At moto 5.2 the label AWSCURRENT can be moved, and reads without a label do not follow
// it. The store finds out and writes without compare-and-set there.
func TestSecretsManagerConformanceOnMoto(t *testing.T) {
	address := awstest.Moto(t)
	past := secretsOf(address)
	conformSecrets(t, providertest.NewEnv(t), awstest.Front(t, address, awstest.Situated("secretsmanager:*")...), func(key string) int {
		out, err := past.ListSecretVersionIds(t.Context(), &secretsmanager.ListSecretVersionIdsInput{SecretId: &key, IncludeDeprecated: aws.Bool(true)})
		if err != nil {
			return 0
		}
		return len(out.Versions)
	})
}

func conformSecrets(t *testing.T, env *providertest.Env, server *awstest.Server, writes func(key string) int, more ...providertest.Ability) {
	t.Setenv("AWS_SECRETSMANAGER_ENDPOINT", server.URL)
	t.Setenv("AWS_STS_ENDPOINT", server.URL)
	past := secretsOf(server.URL)
	providertest.Run(t, providertest.Harness{
		Env: env,
		Open: func(ctx context.Context, s providertest.Situation) (provider.Store, error) {
			return Provider().Open(ctx, secretsSpec(env, awstest.KeyOf(s)), env)
		},
		Seed: past.seed,
		Delete: func(t providertest.T, key string) {
			if _, err := past.DeleteSecret(t.Context(), &secretsmanager.DeleteSecretInput{SecretId: &key}); err != nil {
				t.Fatalf("delete %s: %v", key, err)
			}
		},
		Foreign: func(t providertest.T, key string, value []byte) {
			past.seed(t, providertest.Entry{Key: key, Value: value, Tags: map[string]string{provider.Mark: "another"}})
		},
		Held: func(t providertest.T, key string) (value []byte, n int, exists bool) {
			value, exists = past.value(t, key)
			return value, writes(key), exists
		},
		Page: secretPage, Largest: largestSecret, Batch: secretBatch, Reached: server.Reached(),
		Abilities: append([]providertest.Ability{
			providertest.Reader, providertest.Batcher, providertest.Lister, providertest.Checker, providertest.Versions,
			providertest.Metadata, providertest.Paths, providertest.Tags, providertest.Writer, providertest.Deleter,
			providertest.Marks, providertest.MarksRequired,
		}, more...),
		Without: map[string]string{"get/empty value": "Secrets Manager keeps no empty values"},
	})
}

// secretsSpec is a store that logs in with an access key.
func secretsSpec(env *providertest.Env, accessKey string, changes ...func(*esv1.AWSProvider)) *esv1.AWSProvider {
	s := &esv1.AWSProvider{Service: esv1.AWSServiceSecretsManager, Region: awstest.Region, Auth: awstest.Login(env, accessKey)}
	for _, change := range changes {
		change(s)
	}
	return s
}

// secretsClient is a plain client of the service, past the store.
type secretsClient struct{ *secretsmanager.Client }

func secretsOf(address string) secretsClient {
	return secretsClient{secretsmanager.New(secretsmanager.Options{
		Region: awstest.Region, BaseEndpoint: &address, Retryer: aws.NopRetryer{},
		Credentials: credentials.NewStaticCredentialsProvider(awstest.AccessKey, awstest.SecretKey, ""),
	})}
}

func (c secretsClient) seed(t providertest.T, entries ...providertest.Entry) {
	for _, e := range entries {
		var text *string
		binary := e.Value
		if utf8.Valid(e.Value) {
			text, binary = aws.String(string(e.Value)), nil
		}
		tags := missingTags(nil, e.Tags)
		_, err := c.CreateSecret(t.Context(), &secretsmanager.CreateSecretInput{Name: &e.Key, SecretString: text, SecretBinary: binary, Tags: tags})
		if _, exists := errors.AsType[*types.ResourceExistsException](err); exists {
			err = c.change(t, e.Key, text, binary, tags)
		}
		if err != nil {
			t.Fatalf("seed %s: %s", e.Key, awsidentity.Code(err))
		}
	}
}

func (c secretsClient) change(t providertest.T, key string, text *string, binary []byte, tags []types.Tag) error {
	_, err := c.PutSecretValue(t.Context(), &secretsmanager.PutSecretValueInput{SecretId: &key, SecretString: text, SecretBinary: binary})
	if err == nil && len(tags) > 0 {
		_, err = c.TagResource(t.Context(), &secretsmanager.TagResourceInput{SecretId: &key, Tags: tags})
	}
	return err
}

func (c secretsClient) value(t providertest.T, key string) (value []byte, exists bool) {
	out, err := c.GetSecretValue(t.Context(), &secretsmanager.GetSecretValueInput{SecretId: &key})
	if slices.Contains([]string{"ResourceNotFoundException", "InvalidRequestException"}, awsidentity.Code(err)) {
		return nil, false
	}
	if err != nil {
		t.Fatalf("look at %s: %s", key, awsidentity.Code(err))
	}
	if out.SecretString != nil {
		return []byte(*out.SecretString), true
	}
	return out.SecretBinary, true
}
