package aws

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	esv1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	"github.com/keyferry/keyferry/internal/awstest"
	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/provider/providertest"
	"github.com/keyferry/keyferry/secret"
)

const (
	getValue  = "secretsmanager:GetSecretValue"
	batchGet  = "secretsmanager:BatchGetSecretValue"
	describe  = "secretsmanager:DescribeSecret"
	putValue  = "secretsmanager:PutSecretValue"
	moveStage = "secretsmanager:UpdateSecretVersionStage"
)

// secretsWorld is a server and what stores on it see.
type secretsWorld struct {
	*testing.T
	aws *awstest.Server
	env *providertest.Env
}

func newSecretsWorld(t *testing.T) secretsWorld {
	env := providertest.NewEnv(t)
	v := secretsWorld{t, awstest.Start(t, env.Time), env}
	t.Setenv("AWS_SECRETSMANAGER_ENDPOINT", v.aws.URL)
	t.Setenv("AWS_STS_ENDPOINT", v.aws.URL)
	return v
}

// open opens a store; without a key it is one that may do everything.
func (v secretsWorld) open(changes ...func(*esv1.AWSProvider)) *secrets {
	v.Helper()
	return v.openAs(awstest.AccessKey, changes...)
}

func (v secretsWorld) openAs(accessKey string, changes ...func(*esv1.AWSProvider)) *secrets {
	v.Helper()
	s, err := Provider().Open(v.Context(), secretsSpec(v.env, accessKey, changes...), v.env)
	if err != nil {
		v.Fatal(err)
	}
	return s.(*secrets)
}

// weak opens a store whose policies lack some actions.
func (v secretsWorld) weak(denied ...string) *secrets {
	v.Helper()
	v.aws.Trust(awstest.Identity{AccessKey: "AKIAWEAK", Denied: denied})
	return v.openAs("AKIAWEAK")
}

// calls are those that f makes, by action.
func (v secretsWorld) calls(f func()) map[string]int {
	before := len(v.aws.Calls())
	f()
	out := map[string]int{}
	for _, c := range v.aws.Calls()[before:] {
		out[strings.TrimPrefix(c.Action, "secretsmanager:")]++
	}
	return out
}

func (v secretsWorld) wantCalls(what string, f func(), want map[string]int) {
	v.Helper()
	if diff := cmp.Diff(want, v.calls(f)); diff != "" {
		v.Errorf("%s: calls (-want +got):\n%s", what, diff)
	}
}

func (v secretsWorld) stored(name string) awstest.Secret {
	v.Helper()
	s, ok := v.aws.Secret(name)
	if !ok {
		v.Fatalf("there is no %s", name)
	}
	return s
}

// put writes a text, as PushSecret does: it looks first.
func (v secretsWorld) put(s *secrets, key, value, metadata string) (provider.Receipt, error) {
	v.Helper()
	ref := secret.Ref{Key: key}
	o := provider.PutOptions{Owner: provider.ManagedBy, Metadata: json.RawMessage(metadata)}
	held, err := s.Inspect(v.Context(), ref, o)
	if err != nil {
		v.Fatal(err)
	}
	o.If = &held
	return s.Put(v.Context(), ref, secret.Secret{Value: secret.FromString(value)}, o)
}

func (v secretsWorld) mustPut(s *secrets, key, value, metadata string) provider.Receipt {
	v.Helper()
	receipt, err := v.put(s, key, value, metadata)
	if err != nil {
		v.Fatal(err)
	}
	return receipt
}

func ownTags(more ...string) map[string]string {
	tags := map[string]string{provider.Mark: provider.ManagedBy}
	for i := 0; i < len(more); i += 2 {
		tags[more[i]] = more[i+1]
	}
	return tags
}

func envelope(spec string) string {
	return `{"apiVersion":"kubernetes.external-secrets.io/v1alpha1","kind":"PushSecretMetadata","spec":` + spec + `}`
}

func wantKind(t *testing.T, err error, kind secret.Kind, names ...string) {
	t.Helper()
	if got := secret.KindOf(err); got != kind {
		t.Errorf("kind %q, want %q: %v", got, kind, err)
	}
	for _, name := range names {
		if err != nil && !strings.Contains(err.Error(), name) {
			t.Errorf("the error does not name %s: %v", name, err)
		}
	}
}

func TestStagesAndVersions(t *testing.T) {
	v := newSecretsWorld(t)
	v.aws.AddSecret("a", []byte("old"), nil)
	v.aws.AddSecret("a", []byte("new"), nil)
	old := v.stored("a").Versions[0].ID
	s := v.open()
	for version, want := range map[string]string{"": "new", "AWSCURRENT": "new", "AWSPREVIOUS": "old", "uuid/" + old: "old"} {
		got, err := s.Get(t.Context(), secret.Ref{Key: "a", Version: version})
		if err != nil || string(got.Value.Reveal()) != want {
			t.Errorf("version %q: %d bytes, %v", version, got.Value.Len(), err)
		}
	}
	_, err := s.Get(t.Context(), secret.Ref{Key: "a", Version: "no-such-stage"})
	wantKind(t, err, secret.NotFound, "a@no-such-stage")
}

func TestBatchesAreOfTwenty(t *testing.T) {
	v := newSecretsWorld(t)
	var refs []secret.Ref
	for i := range 45 {
		name := fmt.Sprintf("s-%02d", i)
		v.aws.AddSecret(name, []byte(name), nil)
		refs = append(refs, secret.Ref{Key: name}, secret.Ref{Key: name})
	}
	refs = append(refs, secret.Ref{Key: v.stored("s-00").ARN}, secret.Ref{Key: "s-01", Version: "AWSCURRENT"}, secret.Ref{Key: "gone"})
	s := v.open()
	var results []secret.Result
	v.wantCalls("a batch", func() {
		var err error
		if results, err = s.GetBatch(t.Context(), refs); err != nil {
			t.Fatal(err)
		}
	}, map[string]int{"BatchGetSecretValue": 3, "GetSecretValue": 1})
	for i, r := range results[:91] {
		if want := fmt.Sprintf("s-%02d", i/2%45); r.Err != nil || string(r.Secret.Value.Reveal()) != want {
			t.Errorf("result %d: %v", i, r.Err)
		}
	}
	if r := results[91]; r.Err != nil || string(r.Secret.Value.Reveal()) != "s-01" {
		t.Errorf("a stage: %v", r.Err)
	}
	wantKind(t, results[92].Err, secret.NotFound, "gone")
}

func TestASmallPolicyReadsSingly(t *testing.T) {
	v := newSecretsWorld(t)
	v.aws.AddSecret("a", []byte("1"), nil)
	v.aws.AddSecret("b", []byte("2"), nil)
	s := v.weak(batchGet)
	read := func() {
		results, err := s.GetBatch(t.Context(), []secret.Ref{{Key: "a"}, {Key: "gone"}, {Key: "b"}})
		if err != nil || results[0].Err != nil || results[2].Err != nil {
			t.Fatalf("%v, %v", results, err)
		}
		wantKind(t, results[1].Err, secret.NotFound)
	}
	v.wantCalls("the first batch", read, map[string]int{"BatchGetSecretValue": 1, "GetSecretValue": 3})
	v.wantCalls("the next", read, map[string]int{"GetSecretValue": 3})
}

func TestWhatOneSecretOfABatchFailsWith(t *testing.T) {
	v := newSecretsWorld(t)
	v.aws.AddSecret("a", []byte("1"), nil)
	v.aws.AddSecret("deleted", []byte("2"), nil)
	v.aws.ChangeSecret("deleted", func(s *awstest.Secret) { s.Deleted = true })
	results, err := v.open().GetBatch(t.Context(), []secret.Ref{{Key: "deleted"}, {Key: "a"}})
	if err != nil || results[1].Err != nil {
		t.Fatalf("%v, %v", results, err)
	}
	wantKind(t, results[0].Err, secret.NotFound, "deleted")
	results, err = v.weak(getValue).GetBatch(t.Context(), []secret.Ref{{Key: "deleted"}, {Key: "a"}})
	if err != nil {
		t.Fatal(err)
	}
	wantKind(t, results[1].Err, secret.Denied, "a")
}

func TestAKeyThatCannotBeFailsAlone(t *testing.T) {
	v := newSecretsWorld(t)
	v.aws.AddSecret("a", []byte("1"), nil)
	results, err := v.open().GetBatch(t.Context(), []secret.Ref{{Key: strings.Repeat("x", 2049)}, {Key: "a"}})
	if err != nil || results[1].Err != nil || results[0].Err == nil {
		t.Errorf("%v, %v", results, err)
	}
}

func TestPrefix(t *testing.T) {
	v := newSecretsWorld(t)
	for _, name := range []string{"prod/db/a", "prod/db/b", "prod/web", "db/c", "prodigy"} {
		v.aws.AddSecret(name, []byte(name), ownTags("team", "x"))
	}
	s := v.open(func(s *esv1.AWSProvider) { s.Prefix = "prod/" })
	got, err := s.Get(t.Context(), secret.Ref{Key: "db/a"})
	if err != nil || string(got.Value.Reveal()) != "prod/db/a" {
		t.Errorf("get: %v", err)
	}
	for path, want := range map[string][]string{"": {"prod/db/a", "prod/db/b", "prod/web"}, "prod/db/": {"prod/db/a", "prod/db/b"}, "db": {"db/c"}} {
		var keys []string
		for item, err := range s.List(t.Context(), secret.Query{Path: path, Tags: map[string]string{"team": "x"}}) {
			if err != nil {
				t.Fatal(err)
			}
			if string(item.Secret.Value.Reveal()) != item.Ref.Key {
				t.Errorf("%s has the value of another", item.Ref.Key)
			}
			keys = append(keys, item.Ref.Key)
		}
		if diff := cmp.Diff(want, keys); diff != "" {
			t.Errorf("path %q (-want +got):\n%s", path, diff)
		}
	}
	v.mustPut(s, "new", "value", "")
	v.stored("prod/new")
}

func TestAListingReadsOnlyWhatItSelects(t *testing.T) {
	v := newSecretsWorld(t)
	v.aws.AddSecret("both", []byte("1"), map[string]string{"team": "a", "env": "b"})
	v.aws.AddSecret("longer", []byte("2"), map[string]string{"team": "ab", "env": "b"})
	v.aws.AddSecret("crossed", []byte("3"), map[string]string{"team": "b", "env": "a"})
	v.aws.AddSecret("odd", []byte("4"), map[string]string{"team": "!a", "env": "b"})
	for i := range 30 {
		v.aws.AddSecret(fmt.Sprintf("many-%02d", i), []byte("5"), nil)
	}
	s := v.open()
	v.wantCalls("list by name", func() {
		for _, err := range s.List(t.Context(), secret.Query{Name: regexp.MustCompile("^many-")}) {
			if err != nil {
				t.Fatal(err)
			}
		}
	}, map[string]int{"ListSecrets": 1, "BatchGetSecretValue": 2})
	for team, want := range map[string]string{"a": "both", "!a": "odd"} {
		v.wantCalls("list", func() {
			var keys []string
			for item, err := range s.List(t.Context(), secret.Query{Tags: map[string]string{"team": team, "env": "b"}}) {
				if err != nil {
					t.Fatal(err)
				}
				keys = append(keys, item.Ref.Key)
			}
			if !slices.Equal(keys, []string{want}) {
				t.Errorf("team %s: %v", team, keys)
			}
		}, map[string]int{"ListSecrets": 1, "GetSecretValue": 1})
	}
}

func TestCheckReadsNoSecret(t *testing.T) {
	v := newSecretsWorld(t)
	s := v.weak("secretsmanager:*")
	v.wantCalls("check", func() {
		if err := s.Check(t.Context()); err != nil {
			t.Error(err)
		}
	}, map[string]int{"sts:GetCallerIdentity": 1})
	t.Setenv("AWS_STS_ENDPOINT", "http://127.0.0.1:1")
	wantKind(t, v.open().Check(t.Context()), secret.Unsupported, "STS")
}

func TestWhatAPushCosts(t *testing.T) {
	v := newSecretsWorld(t)
	s := v.open()
	v.wantCalls("create", func() { v.mustPut(s, "a", "1", "") }, map[string]int{"GetSecretValue": 1, "CreateSecret": 1})
	v.wantCalls("unchanged", func() { v.mustPut(s, "a", "1", "") }, map[string]int{"GetSecretValue": 1})
	v.mustPut(s, "a", "2", "") // the first looks whether labels can be moved
	v.wantCalls("change", func() { v.mustPut(s, "a", "3", "") },
		map[string]int{"GetSecretValue": 1, "DescribeSecret": 1, "PutSecretValue": 1, "UpdateSecretVersionStage": 1})
	v.wantCalls("unchanged, with metadata", func() {
		if r := v.mustPut(s, "a", "3", envelope(`{"description":"secret 'managed-by:external-secrets'"}`)); r.Written {
			t.Error("something was written")
		}
	}, map[string]int{"GetSecretValue": 1, "DescribeSecret": 1})
}

// view is what a secret is compared by.
type view struct {
	Description, KMSKeyID, Policy, Value string
	Binary, BlockPublic                  bool
	Tags                                 map[string]string
	Replicas                             []string
}

func (v secretsWorld) wantStored(what, name string, want view) {
	v.Helper()
	s := v.stored(name)
	got := view{s.Description, s.KMSKeyID, s.Policy, string(s.Current().Value), s.Current().Binary, s.BlockPublic, s.Tags, s.Replicas}
	if diff := cmp.Diff(want, got); diff != "" {
		v.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func TestCreate(t *testing.T) {
	v := newSecretsWorld(t)
	s := v.open()
	const described = "secret 'managed-by:external-secrets'"
	v.mustPut(s, "plain", "1", "")
	v.wantStored("no metadata", "plain", view{Description: described, Value: "1", Binary: true, Tags: ownTags()})
	v.mustPut(s, "all", "2", envelope(`{"secretPushFormat":"string","description":"d","kmsKeyId":"alias/k","tags":{"team":"a"},"replicationLocations":["eu-west-1"]}`))
	v.wantStored("all metadata", "all", view{Description: "d", KMSKeyID: "alias/k", Value: "2", Tags: ownTags("team", "a"), Replicas: []string{"eu-west-1"}})
	v.mustPut(s, "flat", "3", `{"secretPushFormat":"string"}`)
	v.wantStored("metadata without an envelope", "flat", view{Description: described, Value: "3", Tags: ownTags()})
	whole := secret.Secret{Fields: map[string]secret.Value{"b": secret.FromString("2"), "a": secret.FromString("<1>")}}
	if _, err := s.Put(t.Context(), secret.Ref{Key: "whole"}, whole, provider.PutOptions{Owner: provider.ManagedBy}); err != nil {
		t.Fatal(err)
	}
	v.wantStored("a whole Secret", "whole", view{Description: described, Value: `{"a":"<1>","b":"2"}`, Binary: true, Tags: ownTags()})
}

func TestMetadataIsReconciledAndNothingElseIs(t *testing.T) {
	v := newSecretsWorld(t)
	v.aws.AddSecret("a", []byte("1"), ownTags("cost-centre", "4711", "team", "old"))
	v.aws.ChangeSecret("a", func(s *awstest.Secret) {
		s.Description, s.KMSKeyID, s.Policy, s.Replicas = "theirs", "alias/theirs", `{"theirs":true}`, []string{"eu-west-1"}
	})
	s := v.open()
	v.mustPut(s, "a", "2", "")
	v.wantStored("a push without metadata", "a", view{
		Description: "theirs", KMSKeyID: "alias/theirs", Policy: `{"theirs":true}`, Value: "2", Binary: true,
		Tags: ownTags("cost-centre", "4711", "team", "old"), Replicas: []string{"eu-west-1"},
	})
	versions := len(v.stored("a").Versions)
	v.env.Put("ConfigMap", providertest.Namespace, "policy", map[string]string{"p": `{"Version":"2012-10-17"}`})
	metadata := envelope(`{"tags":{"team":"new"},"description":"ours","kmsKeyId":"alias/ours","replicationLocations":["us-east-1"],
		"resourcePolicy":{"policySourceRef":{"kind":"ConfigMap","name":"policy","key":"p"}}}`)
	if r := v.mustPut(s, "a", "2", metadata); !r.Written {
		t.Error("nothing was written")
	}
	v.wantStored("a push with metadata", "a", view{
		Description: "ours", KMSKeyID: "alias/ours", Policy: `{"Version":"2012-10-17"}`, BlockPublic: true, Value: "2", Binary: true,
		Tags: ownTags("cost-centre", "4711", "team", "new"), Replicas: []string{"us-east-1"},
	})
	if len(v.stored("a").Versions) != versions {
		t.Error("the value has a new version")
	}
	v.wantCalls("the same again", func() {
		if r := v.mustPut(s, "a", "2", metadata); r.Written {
			t.Error("it was written again")
		}
	}, map[string]int{"GetSecretValue": 1, "DescribeSecret": 1, "GetResourcePolicy": 1})
}

func TestBadMetadata(t *testing.T) {
	v := newSecretsWorld(t)
	s := v.open()
	for _, c := range []struct{ spec, names string }{
		{`{"secretPushFormat":"text"}`, "secretPushFormat"},
		{`{"tags":{"managed-by":"me"}}`, "managed-by"},
		{`{"colour":"red"}`, "colour"},
		{`{"resourcePolicy":{}}`, "policySourceRef"},
		{`{"resourcePolicy":{"policySourceRef":{"kind":"Pod","name":"p","key":"k"}}}`, "policySourceRef"},
		{`{"resourcePolicy":{"blockPublicPolicy":1,"policySourceRef":{"kind":"Secret","name":"p","key":"k"}}}`, "blockPublicPolicy"},
	} {
		v.wantCalls(c.spec, func() {
			_, err := s.Put(t.Context(), secret.Ref{Key: "a"}, secret.Secret{Value: secret.FromString("1")}, provider.PutOptions{Owner: provider.ManagedBy, Metadata: json.RawMessage(envelope(c.spec))})
			wantKind(t, err, secret.Invalid, c.names)
		}, map[string]int{})
	}
	for name, c := range map[string]struct{ value, metadata string }{
		"empty": {"", ""}, "large": {strings.Repeat("x", largestSecret+1), ""}, "binary as a string": {"\xff", `{"secretPushFormat":"string"}`},
	} {
		_, err := s.Put(t.Context(), secret.Ref{Key: "a"}, secret.Secret{Value: secret.FromString(c.value)}, provider.PutOptions{Owner: provider.ManagedBy, Metadata: json.RawMessage(c.metadata)})
		if secret.KindOf(err) != secret.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAPolicyIsReadInTheNamespaceOfThePush(t *testing.T) {
	v := newSecretsWorld(t)
	namespace := providertest.Namespace
	s := secretsSpec(v.env, awstest.AccessKey)
	s.Auth.SecretRef.AccessKeyID.Namespace, s.Auth.SecretRef.SecretAccessKey.Namespace = &namespace, &namespace
	v.env.Referent = true // a store that all namespaces share
	v.env.Put("ConfigMap", "consumer", "policy", map[string]string{"p": `{"Version":"2012-10-17"}`})
	opened, err := Provider().Open(t.Context(), s, v.env)
	if err != nil {
		t.Fatal(err)
	}
	_, err = opened.(*secrets).Put(t.Context(), secret.Ref{Key: "a"}, secret.Secret{Value: secret.FromString("1")}, provider.PutOptions{
		Owner: provider.ManagedBy, Cluster: true, Consumer: "consumer",
		Metadata: json.RawMessage(envelope(`{"resourcePolicy":{"policySourceRef":{"kind":"ConfigMap","name":"policy","key":"p"}}}`)),
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestADeletedSecretOfOursIsRestored(t *testing.T) {
	v := newSecretsWorld(t)
	s := v.open()
	v.mustPut(s, "a", "1", "")
	if err := s.Delete(t.Context(), secret.Ref{Key: "a"}, provider.DeleteOptions{Owner: provider.ManagedBy}); err != nil {
		t.Fatal(err)
	}
	if got := v.stored("a"); !got.Deleted || got.Window != 30 {
		t.Fatalf("%+v", got)
	}
	if r := v.mustPut(s, "a", "2", envelope(`{"tags":{"team":"a"}}`)); !r.Written {
		t.Error("nothing was written")
	}
	got := v.stored("a")
	if got.Deleted || string(got.Current().Value) != "2" || got.Tags["team"] != "a" {
		t.Errorf("%+v", got)
	}
	v.aws.ChangeSecret("a", func(s *awstest.Secret) { s.Deleted, s.Tags = true, nil })
	_, err := v.put(s, "a", "3", "")
	wantKind(t, err, secret.Conflict, "managed-by")
	if !v.stored("a").Deleted {
		t.Error("a secret of somebody else was restored")
	}
}

func TestASecretThatNeverHadAValue(t *testing.T) {
	v := newSecretsWorld(t)
	v.aws.AddSecret("a", []byte("1"), ownTags())
	v.aws.ChangeSecret("a", func(s *awstest.Secret) { s.Versions = nil })
	v.mustPut(v.open(), "a", "2", "")
	if got := v.stored("a"); string(got.Current().Value) != "2" {
		t.Errorf("%+v", got)
	}
}

func TestDeletion(t *testing.T) {
	cases := map[string]struct {
		how     *esv1.SecretsManager
		window  int
		removed bool
	}{
		"by default":  {window: 30},
		"window":      {how: &esv1.SecretsManager{RecoveryWindowInDays: 7}, window: 7},
		"without one": {how: &esv1.SecretsManager{ForceDeleteWithoutRecovery: true}, removed: true},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			v := newSecretsWorld(t)
			v.aws.AddSecret("a", []byte("1"), ownTags())
			v.aws.ChangeSecret("a", func(s *awstest.Secret) { s.Replicas = []string{"eu-west-1"} })
			s := v.open(func(s *esv1.AWSProvider) { s.SecretsManager = c.how })
			for range 2 {
				if err := s.Delete(t.Context(), secret.Ref{Key: "a"}, provider.DeleteOptions{Owner: provider.ManagedBy}); err != nil {
					t.Fatal(err)
				}
			}
			got, there := v.aws.Secret("a")
			if there == c.removed || there && (!got.Deleted || got.Window != c.window) {
				t.Errorf("there %v: %+v", there, got)
			}
			if n := v.aws.Count(getValue); n != 0 {
				t.Errorf("the value was read %d times", n)
			}
		})
	}
}

func TestReplicasThatAreStillThere(t *testing.T) {
	v := newSecretsWorld(t)
	v.aws.AddSecret("a", []byte("1"), ownTags())
	v.aws.ChangeSecret("a", func(s *awstest.Secret) { s.Replicas = []string{"eu-west-1"} })
	v.aws.Inject(awstest.Fault{Action: "secretsmanager:DeleteSecret", Code: "InvalidRequestException", Status: 400, Message: "replicas"})
	err := v.open().Delete(t.Context(), secret.Ref{Key: "a"}, provider.DeleteOptions{Owner: provider.ManagedBy})
	wantKind(t, err, secret.Unavailable, "replicas")
}

// Somebody writes between our look and our write, where only AWS can tell.
func TestTheLabelDecidesWhoWasFirst(t *testing.T) {
	v := newSecretsWorld(t)
	v.aws.AddSecret("a", []byte("1"), ownTags())
	v.aws.Inject(awstest.Fault{Action: moveStage, Code: "InvalidParameterException", Status: 400, Times: 1})
	_, err := v.put(v.open(), "a", "2", "")
	wantKind(t, err, secret.Conflict, "a")
	if got := v.stored("a"); string(got.Current().Value) != "1" {
		t.Error("the value of the other was replaced")
	}
}

func TestAPolicyOfESOWritesWithoutLabels(t *testing.T) {
	v := newSecretsWorld(t)
	v.aws.AddSecret("a", []byte("1"), ownTags())
	s := v.weak(moveStage, "secretsmanager:RestoreSecret", "secretsmanager:UpdateSecret", batchGet, "secretsmanager:GetResourcePolicy")
	v.wantCalls("the first change", func() { v.mustPut(s, "a", "2", "") },
		map[string]int{"GetSecretValue": 1, "DescribeSecret": 1, "PutSecretValue": 2, "UpdateSecretVersionStage": 1})
	v.wantCalls("the next", func() { v.mustPut(s, "a", "3", "") },
		map[string]int{"GetSecretValue": 1, "DescribeSecret": 1, "PutSecretValue": 1})
	held, err := s.Inspect(t.Context(), secret.Ref{Key: "a"}, provider.PutOptions{})
	if err != nil {
		t.Fatal(err)
	}
	v.aws.AddSecret("a", []byte("theirs"), nil)
	_, err = s.Put(t.Context(), secret.Ref{Key: "a"}, secret.Secret{Value: secret.FromString("4")}, provider.PutOptions{If: &held, Owner: provider.ManagedBy})
	wantKind(t, err, secret.Conflict, "a")
	if got := v.stored("a"); string(got.Current().Value) != "theirs" {
		t.Errorf("%+v", got)
	}
}

func TestALostAnswerIsMadeGood(t *testing.T) {
	for _, action := range []string{"secretsmanager:CreateSecret", putValue, moveStage} {
		t.Run(action, func(t *testing.T) {
			v := newSecretsWorld(t)
			if action != "secretsmanager:CreateSecret" {
				v.aws.AddSecret("a", []byte("1"), ownTags())
			}
			s := v.open()
			v.aws.Inject(awstest.Fault{Action: action, Status: 500, Times: 1})
			_, err := v.put(s, "a", "2", "")
			wantKind(t, err, secret.Unavailable)
			v.mustPut(s, "a", "2", "")
			if got := v.stored("a"); string(got.Current().Value) != "2" {
				t.Errorf("%+v", got)
			}
		})
	}
}

func TestReadsOfAPushAskForNoMoreThanTheyNeed(t *testing.T) {
	v := newSecretsWorld(t)
	v.aws.AddSecret("a", []byte(`{"x":1}`), ownTags())
	s := v.weak(describe, putValue)
	if r := v.mustPut(s, "a", `{ "x": 1.0 }`, ""); r.Written {
		t.Error("the same content was written again")
	}
	_, err := v.put(s, "a", `{"x":2}`, "")
	wantKind(t, err, secret.Denied, "secretsmanager:DescribeSecret")
}
