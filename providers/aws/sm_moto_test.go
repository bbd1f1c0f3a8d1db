package aws

import (
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/google/go-cmp/cmp"

	esv1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	"github.com/keyferry/keyferry/internal/awstest"
	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/provider/providertest"
	"github.com/keyferry/keyferry/secret"
)

// TestALifeOnMoto is what a push goes through, at a server that others wrote and read
// with a plain client.
func TestALifeOnMoto(t *testing.T) {
	address := awstest.Moto(t)
	env := providertest.NewEnv(t)
	env.Time = providertest.NewClock(time.Now()) // moto's sessions end by the wall clock
	front := awstest.Front(t, address)
	t.Setenv("AWS_SECRETSMANAGER_ENDPOINT", front.URL)
	t.Setenv("AWS_STS_ENDPOINT", front.URL)
	past := secretsOf(address)
	v := secretsWorld{t, front, env}
	s := v.open(func(s *esv1.AWSProvider) {
		s.AdditionalRoles, s.Role = []string{"arn:aws:iam::123456789012:role/between"}, "arn:aws:iam::123456789012:role/writer"
		s.SessionTagsPolicy = esv1.AWSSessionTagsPolicySimple
	})
	wantValue := func(what, want string) {
		t.Helper()
		if got, ok := past.value(t, "a"); string(got) != want || ok != (want != "") {
			t.Errorf("%s: there %v, %d bytes, want %q", what, ok, len(got), want)
		}
	}
	metadata := envelope(`{"tags":{"team":"a"},"description":"d","kmsKeyId":"alias/k","secretPushFormat":"string"}`)
	v.mustPut(s, "a", "1", "")
	wantValue("create", "1")
	v.mustPut(s, "a", "2", metadata)
	wantValue("change", "2")
	v.mustPut(s, "a", "3", "")
	wantValue("change again", "3")
	if r := v.mustPut(s, "a", "3", metadata); r.Written {
		t.Error("what is there already was written again")
	}
	was, err := past.DescribeSecret(t.Context(), &secretsmanager.DescribeSecretInput{SecretId: new("a")})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(ownTags("team", "a"), tagMap(was.Tags)); diff != "" || *was.Description != "d" || *was.KmsKeyId != "alias/k" {
		t.Errorf("description %q, key %q, tags (-want +got):\n%s", *was.Description, *was.KmsKeyId, diff)
	}
	if err := s.Delete(t.Context(), secret.Ref{Key: "a"}, provider.DeleteOptions{Owner: provider.ManagedBy}); err != nil {
		t.Fatal(err)
	}
	wantValue("delete", "")
	v.mustPut(s, "a", "4", "")
	wantValue("push after delete", "4")
	if n := front.Count("sts:AssumeRole"); n != 2 {
		t.Errorf("%d roles assumed, want each once", n)
	}
}
