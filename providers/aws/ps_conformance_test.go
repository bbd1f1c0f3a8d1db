package aws

import (
	"context"
	"errors"
	"iter"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"

	esv1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	"github.com/keyferry/keyferry/internal/awstest"
	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/provider/providertest"
	"github.com/keyferry/keyferry/secret"
)

func TestParameterStoreConformance(t *testing.T) {
	env := providertest.NewEnv(t)
	server := awstest.Start(t, env.Time)
	server.Trust(awstest.Situated("ssm:*")...)
	conformParameters(t, env, server)
}

func TestParameterStoreConformanceOnMoto(t *testing.T) {
	conformParameters(t, providertest.NewEnv(t), awstest.Front(t, awstest.Moto(t), awstest.Situated("ssm:*")...))
}

// conformParameters does not name CompareAndSet: Parameter Store has none. What the store
// makes of that is in ps_race_test.go.
func conformParameters(t *testing.T, env *providertest.Env, server *awstest.Server) {
	t.Setenv("AWS_SSM_ENDPOINT", server.URL)
	past := parametersOf(server.URL)
	providertest.Run(t, providertest.Harness{
		Env: env,
		Open: func(ctx context.Context, s providertest.Situation) (provider.Store, error) {
			store, err := Provider().Open(ctx, parameterSpec(env, awstest.KeyOf(s)), env)
			if err != nil {
				return nil, err
			}
			return rooted{store.(*parameters)}, nil
		},
		Seed: past.seed, Delete: past.delete, Held: past.held,
		Foreign: func(t providertest.T, key string, value []byte) {
			past.seed(t, providertest.Entry{Key: key, Value: value, Tags: map[string]string{provider.Mark: "another"}})
		},
		Payload: providertest.Text, Largest: standardSize, Page: 10, Batch: parameterBatch, Reached: server.Reached(),
		Abilities: []providertest.Ability{
			providertest.Reader, providertest.Batcher, providertest.Lister, providertest.Checker, providertest.Versions,
			providertest.Metadata, providertest.Paths, providertest.Tags, providertest.Writer, providertest.Deleter,
			providertest.Marks, providertest.MarksRequired,
		},
		Without: map[string]string{"get/empty value": "Parameter Store keeps no empty values"},
	})
}

// parameterSpec is a store that logs in with an access key.
func parameterSpec(env *providertest.Env, accessKey string) *esv1.AWSProvider {
	return &esv1.AWSProvider{Service: esv1.AWSServiceParameterStore, Region: awstest.Region, Auth: awstest.Login(env, accessKey)}
}

// rooted gives keys the slash that names with folders begin with: those of the suite have
// none.
type rooted struct{ *parameters }

func root(ref secret.Ref) secret.Ref {
	ref.Key = "/" + ref.Key
	return ref
}

func (r rooted) Get(ctx context.Context, ref secret.Ref) (secret.Secret, error) {
	return r.parameters.Get(ctx, root(ref))
}

func (r rooted) GetBatch(ctx context.Context, refs []secret.Ref) ([]secret.Result, error) {
	at := make([]secret.Ref, len(refs))
	for i, ref := range refs {
		at[i] = root(ref)
	}
	return r.parameters.GetBatch(ctx, at)
}

func (r rooted) List(ctx context.Context, q secret.Query) iter.Seq2[secret.Item, error] {
	q.Name = nil // it is of names without a slash, and the caller looks anyway
	return func(yield func(secret.Item, error) bool) {
		for item, err := range r.parameters.List(ctx, q) {
			item.Ref.Key = strings.TrimPrefix(item.Ref.Key, "/")
			if !yield(item, err) {
				return
			}
		}
	}
}

func (r rooted) Inspect(ctx context.Context, ref secret.Ref, o provider.PutOptions) (provider.Holding, error) {
	return r.parameters.Inspect(ctx, root(ref), o)
}

func (r rooted) Put(ctx context.Context, ref secret.Ref, s secret.Secret, o provider.PutOptions) (provider.Receipt, error) {
	return r.parameters.Put(ctx, root(ref), s, o)
}

func (r rooted) Delete(ctx context.Context, ref secret.Ref, o provider.DeleteOptions) error {
	return r.parameters.Delete(ctx, root(ref), o)
}

// direct is a plain client of the service, past the store.
type direct struct{ *ssm.Client }

func parametersOf(url string) direct {
	return direct{ssm.New(ssm.Options{
		Region: awstest.Region, BaseEndpoint: &url,
		Credentials: credentials.NewStaticCredentialsProvider(awstest.AccessKey, awstest.SecretKey, ""),
	})}
}

func (d direct) seed(t providertest.T, entries ...providertest.Entry) {
	t.Helper()
	for _, e := range entries {
		name := aws.String("/" + e.Key)
		_, err := d.PutParameter(t.Context(), &ssm.PutParameterInput{
			Name: name, Value: aws.String(string(e.Value)), Type: types.ParameterTypeSecureString, Overwrite: aws.Bool(true),
		})
		var tags []types.Tag
		for k, v := range e.Tags {
			tags = append(tags, types.Tag{Key: &k, Value: &v})
		}
		if err == nil && len(tags) > 0 {
			_, err = d.AddTagsToResource(t.Context(), &ssm.AddTagsToResourceInput{
				ResourceType: types.ResourceTypeForTaggingParameter, ResourceId: name, Tags: tags,
			})
		}
		if err != nil {
			t.Fatalf("seed: %v", err)
		}
	}
}

func (d direct) delete(t providertest.T, key string) {
	t.Helper()
	if _, err := d.DeleteParameter(t.Context(), &ssm.DeleteParameterInput{Name: aws.String("/" + key)}); err != nil {
		t.Fatalf("delete: %v", err)
	}
}

func (d direct) held(t providertest.T, key string) (value []byte, writes int, exists bool) {
	t.Helper()
	out, err := d.GetParameter(t.Context(), &ssm.GetParameterInput{Name: aws.String("/" + key), WithDecryption: aws.Bool(true)})
	if _, absent := errors.AsType[*types.ParameterNotFound](err); absent {
		return nil, 0, false
	}
	if err != nil {
		t.Fatalf("look: %v", err)
	}
	return []byte(*out.Parameter.Value), int(out.Parameter.Version), true
}
