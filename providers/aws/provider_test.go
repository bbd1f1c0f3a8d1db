package aws

import (
	"maps"
	"testing"

	"github.com/google/go-cmp/cmp"

	esv1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	"github.com/keyferry/keyferry/internal/awstest"
	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/provider/providertest"
	"github.com/keyferry/keyferry/secret"
)

func TestValidate(t *testing.T) {
	cases := map[string]struct {
		change func(*esv1.AWSProvider)
		names  string
	}{
		"good":                  {change: func(*esv1.AWSProvider) {}},
		"parameter store":       {change: func(s *esv1.AWSProvider) { s.Service = esv1.AWSServiceParameterStore }},
		"certificates":          {change: func(s *esv1.AWSProvider) { s.Service = esv1.AWSServiceCertificateManager }, names: "SecretsManager and ParameterStore"},
		"no region":             {change: func(s *esv1.AWSProvider) { s.Region = "" }, names: "spec.provider.aws.region"},
		"a zone":                {change: func(s *esv1.AWSProvider) { s.Region = "eu-central-1b" }, names: "spec.provider.aws.region"},
		"window and force":      {change: deletes(true, 7), names: "forceDeleteWithoutRecovery"},
		"a window that is long": {change: deletes(false, 31), names: "recoveryWindowInDays"},
		"a window":              {change: deletes(false, 30)},
		"no key": {
			change: func(s *esv1.AWSProvider) { s.Auth.SecretRef.SecretAccessKey.Key = "" }, names: "spec.provider.aws.auth.secretRef.secretAccessKeySecretRef.key",
		},
		"a tag that the policy sets": {change: func(s *esv1.AWSProvider) {
			s.SessionTagsPolicy, s.SessionTags = esv1.AWSSessionTagsPolicySimple, []esv1.Tag{{Key: "esoNamespace", Value: "other"}}
		}, names: "sessionTags[0]"},
		"a custom tag that the policy sets": {change: func(s *esv1.AWSProvider) {
			s.SessionTagsPolicy, s.CustomSessionTags = esv1.AWSSessionTagsPolicyCustom, map[string]string{"esoNamespace": "other"}
		}, names: "customSessionTags"},
		"a tag twice": {change: func(s *esv1.AWSProvider) { s.SessionTags = []esv1.Tag{{Key: "a"}, {Key: "a"}} }, names: "sessionTags[1]"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			err := Provider().Validate(secretsSpec(providertest.NewEnv(t), awstest.AccessKey, c.change))
			if c.names == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			wantKind(t, err, secret.Invalid, c.names)
		})
	}
}

func deletes(force bool, window int64) func(*esv1.AWSProvider) {
	return func(s *esv1.AWSProvider) {
		s.SecretsManager = &esv1.SecretsManager{ForceDeleteWithoutRecovery: force, RecoveryWindowInDays: window}
	}
}

func TestSessionTags(t *testing.T) {
	consumer := provider.Consumer{Namespace: "team", StoreKind: "SecretStore", StoreName: "store"}
	builtins := map[string]string{"esoNamespace": "team", "esoStoreName": "store", "esoStoreKind": "SecretStore"}
	with := func(more map[string]string) map[string]string {
		out := maps.Clone(builtins)
		maps.Copy(out, more)
		return out
	}
	cases := map[string]struct {
		spec     esv1.AWSProvider
		consumer provider.Consumer
		want     map[string]string
		kind     secret.Kind
		per      bool
	}{
		"none": {consumer: consumer, want: map[string]string{}},
		"a list": {
			spec: esv1.AWSProvider{SessionTags: []esv1.Tag{{Key: "a", Value: "b"}}}, want: map[string]string{"a": "b"},
		},
		"simple": {
			spec:     esv1.AWSProvider{SessionTagsPolicy: esv1.AWSSessionTagsPolicySimple, CustomSessionTags: map[string]string{"x": "y"}},
			consumer: consumer, want: with(nil), per: true,
		},
		"custom": {
			spec:     esv1.AWSProvider{SessionTagsPolicy: esv1.AWSSessionTagsPolicyCustom, CustomSessionTags: map[string]string{"x": "y", "empty": ""}},
			consumer: consumer, want: with(map[string]string{"x": "y"}), per: true,
		},
		"nobody is there to tell of": {
			spec: esv1.AWSProvider{SessionTagsPolicy: esv1.AWSSessionTagsPolicySimple}, kind: secret.Unsupported, per: true,
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := sessionTags(&c.spec, c.consumer)
			if secret.KindOf(err) != c.kind || c.spec.PerConsumer() != c.per {
				t.Errorf("error %v, one session for each namespace: %v", err, c.spec.PerConsumer())
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// A role is assumed once, however much is read with it, and it is told who reads.
func TestOneRoleForManyReads(t *testing.T) {
	const arn = "arn:aws:iam::111122223333:role/reader"
	v := newSecretsWorld(t)
	v.aws.AddRole(awstest.Role{ARN: arn, ExternalID: "e"})
	v.aws.AddSecret("a", []byte("1"), nil)
	s := v.open(func(s *esv1.AWSProvider) {
		s.Role, s.ExternalID, s.SessionTagsPolicy, s.TransitiveTagKeys = arn, "e", esv1.AWSSessionTagsPolicySimple, []string{"esoNamespace"}
	})
	for range 10 {
		if _, err := s.Get(t.Context(), secret.Ref{Key: "a"}); err != nil {
			t.Fatal(err)
		}
	}
	want := []awstest.Assumption{{
		Role: arn, Session: "external-secrets-provider-aws", ExternalID: "e", By: "arn:aws:iam::111122223333:user/everything",
		Tags:       map[string]string{"esoNamespace": providertest.Namespace, "esoStoreName": "store", "esoStoreKind": "SecretStore"},
		Transitive: []string{"esoNamespace"},
	}}
	if diff := cmp.Diff(want, v.aws.Assumed()); diff != "" {
		t.Errorf("assumed (-want +got):\n%s", diff)
	}
}
