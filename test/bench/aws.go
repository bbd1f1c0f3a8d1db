package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	metaapi "github.com/keyferry/keyferry/api/meta/v1"
	"github.com/keyferry/keyferry/internal/awstest"
)

const (
	distinctNamespace = "distinct" // every object has keys of its own
	sharedNamespace   = "shared"   // all objects have the same keys

	// awsLatency is what every call to AWS takes.
	awsLatency = 5 * time.Millisecond
	// awsBatch is how many values Secrets Manager gives with one call.
	awsBatch = 20
)

// secretsManager measures ExternalSecrets of three keys each from AWS.
func secretsManager(ctx context.Context, b *bench) error {
	fmt.Printf("aws: %d ExternalSecrets of three keys each from Secrets Manager, %s a call\n", b.n, awsLatency)
	t := &fakeTest{ctx: ctx}
	defer t.end()
	server := awstest.Start(t, clock.RealClock{})
	server.Slow(awsLatency)
	keys := len(names())
	made, err := b.fromAWS(ctx, server, distinctNamespace)
	if err != nil {
		return err
	}
	most := (b.n*keys + awsBatch - 1) / awsBatch
	b.bar(made.calls <= most, "%d different keys: %d calls, at most %d", b.n*keys, made.calls, most)
	made, err = b.fromAWS(ctx, server, sharedNamespace)
	if err != nil {
		return err
	}
	b.bar(made.values <= keys, "%d keys shared by all: %d values read with %d calls, at most %d values", keys, made.values, made.calls, keys)
	return errors.Join(t.failed...)
}

// fromAWS has the controller sync a namespace from nothing, and returns what it asked of
// Secrets Manager.
func (b *bench) fromAWS(ctx context.Context, server *awstest.Server, namespace string) (asked, error) {
	fmt.Printf("  %s keys:\n", namespace)
	if err := b.create(ctx, awsObjects(namespace)...); err != nil {
		return asked{}, err
	}
	err := each(ctx, 0, b.n, func(ctx context.Context, i int) error {
		return b.create(ctx, external(namespace, i, "aws", func(name string) v1.ExternalSecretDataRemoteRef {
			key := namespace + "/" + name
			if namespace == distinctNamespace {
				key = key + fmt.Sprintf("-%05d", i)
			}
			server.AddSecret(key, []byte(name), nil)
			return v1.ExternalSecretDataRemoteRef{Key: key}
		}))
	})
	if err != nil {
		return asked{}, err
	}
	seen, err := b.watchExternalSecrets(ctx, namespace)
	if err != nil {
		return asked{}, err
	}
	before := len(server.Calls())
	p, _, err := b.cold(ctx, seen, b.n, namespace, "AWS_SECRETSMANAGER_ENDPOINT="+server.URL, "AWS_STS_ENDPOINT="+server.URL)
	if err != nil {
		return asked{}, err
	}
	defer p.stop()
	return askedBy(server.Calls()[before:])
}

// asked is what was asked of Secrets Manager.
type asked struct{ calls, values int }

func askedBy(calls []awstest.Call) (asked, error) {
	var out asked
	sizes := map[int]int{}
	for _, c := range calls {
		if !strings.HasPrefix(c.Action, "secretsmanager:") {
			continue
		}
		var in struct{ SecretIdList []string }
		if err := json.Unmarshal(c.Input, &in); err != nil {
			return asked{}, err
		}
		n := max(len(in.SecretIdList), 1) // one that reads one names no list
		sizes[n]++
		out.calls++
		out.values += n
	}
	fmt.Printf("  calls that Secrets Manager got, by the number of values: %v\n", sizes)
	return out, nil
}

func awsObjects(namespace string) []client.Object {
	part := func(key string) metaapi.SecretKeySelector {
		return metaapi.SecretKeySelector{Name: "aws-key", Key: key}
	}
	return []client.Object{
		namespaceOf(namespace),
		secretOf(namespace, "aws-key", map[string]string{"id": awstest.AccessKey, "key": awstest.SecretKey}),
		&v1.SecretStore{
			ObjectMeta: meta(namespace, "aws"),
			Spec: v1.SecretStoreSpec{Provider: &v1.SecretStoreProvider{AWS: &v1.AWSProvider{
				Service: v1.AWSServiceSecretsManager, Region: awstest.Region,
				Auth: v1.AWSAuth{SecretRef: &v1.AWSAuthSecretRef{AccessKeyID: part("id"), SecretAccessKey: part("key")}},
			}}},
		},
	}
}

// fakeTest is the test that internal/awstest asks for.
type fakeTest struct {
	ctx     context.Context //nolint:containedctx // a test is asked for its context
	failed  []error
	cleanup []func()
}

// Helper implements awstest.T.
func (*fakeTest) Helper() {}

// Context implements awstest.T.
func (t *fakeTest) Context() context.Context { return t.ctx }

// Cleanup implements awstest.T.
func (t *fakeTest) Cleanup(f func()) { t.cleanup = append(t.cleanup, f) }

// Errorf implements awstest.T.
func (t *fakeTest) Errorf(format string, args ...any) {
	t.failed = append(t.failed, fmt.Errorf(format, args...))
}

// Fatalf implements awstest.T.
func (t *fakeTest) Fatalf(format string, args ...any) { t.Errorf(format, args...) }

func (t *fakeTest) end() {
	for _, f := range t.cleanup {
		f()
	}
}
