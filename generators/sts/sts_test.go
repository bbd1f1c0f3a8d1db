package sts

import (
	"encoding/json"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sts/types"
	"github.com/google/go-cmp/cmp"

	"github.com/keyferry/keyferry/api/generators/v1alpha1"
	"github.com/keyferry/keyferry/generator"
	"github.com/keyferry/keyferry/generator/generatortest"
	"github.com/keyferry/keyferry/internal/awstest"
	"github.com/keyferry/keyferry/internal/identity/aws"
	"github.com/keyferry/keyferry/provider/providertest"
	"github.com/keyferry/keyferry/secret"
)

func start(t *testing.T, env *providertest.Env) (*awstest.Server, generator.Generator) {
	t.Helper()
	server := awstest.Start(t, env.Time)
	server.Trust(awstest.Situated("sts:*")...)
	return server, define(awsidentity.Endpoints{STS: &server.URL})
}

func specFor(env *providertest.Env, situation providertest.Situation, asked *v1alpha1.RequestParameters) *v1alpha1.STSSessionTokenSpec {
	return &v1alpha1.STSSessionTokenSpec{
		Region: awstest.Region, RequestParameters: asked,
		Auth: awstest.Login(env, awstest.KeyOf(situation)),
	}
}

func TestConformance(t *testing.T) {
	env := providertest.NewEnv(t)
	server, g := start(t, env)
	noRegion := specFor(env, providertest.Good, nil)
	noRegion.Region = ""
	generatortest.Run(t, generatortest.Harness{
		Env: env, Generator: g, Reached: server.Reached(), Lasts: 12 * time.Hour,
		Spec:   func(s providertest.Situation) any { return specFor(env, s, nil) },
		Secret: []string{"secret_access_key", "session_token"}, Public: []string{"access_key_id", "expiration"},
		Invalid: map[string]any{
			"spec.region":                            noRegion,
			"spec.requestParameters.sessionDuration": specFor(env, providertest.Good, &v1alpha1.RequestParameters{SessionDuration: new(int32(899))}),
			"spec.requestParameters.serialNumber":    specFor(env, providertest.Good, &v1alpha1.RequestParameters{TokenCode: new("123456")}),
		},
	})
}

func TestRequestAndValues(t *testing.T) {
	cases := map[string]struct {
		asked *v1alpha1.RequestParameters
		want  url.Values
		lasts time.Duration
	}{
		"nothing is asked for": {nil, url.Values{}, 12 * time.Hour},
		"empty is not asked":   {&v1alpha1.RequestParameters{SerialNumber: new(""), TokenCode: new("")}, url.Values{}, 12 * time.Hour},
		"duration and second factor": {
			&v1alpha1.RequestParameters{SessionDuration: new(int32(900)), SerialNumber: new("arn:aws:iam::111122223333:mfa/kim"), TokenCode: new("123456")},
			url.Values{"DurationSeconds": {"900"}, "SerialNumber": {"arn:aws:iam::111122223333:mfa/kim"}, "TokenCode": {"123456"}},
			15 * time.Minute,
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			env := providertest.NewEnv(t)
			server, g := start(t, env)
			out, err := g.Generate(t.Context(), specFor(env, providertest.Good, c.asked), env)
			if err != nil {
				t.Fatal(err)
			}
			var sent url.Values
			if err := json.Unmarshal(server.Calls()[0].Input, &sent); err != nil {
				t.Fatal(err)
			}
			c.want.Set("Action", "GetSessionToken")
			c.want.Set("Version", "2011-06-15")
			if diff := cmp.Diff(c.want, sent); diff != "" {
				t.Errorf("request (-want +got):\n%s", diff)
			}
			end := env.Time.Now().Add(c.lasts)
			if got := string(out.Values["expiration"].Reveal()); got != strconv.FormatInt(end.Unix(), 10) || !out.Life.Expires.Equal(end) {
				t.Errorf("expiration is %s and the end %v, want %v", got, out.Life.Expires, end)
			}
			if id := string(out.Values["access_key_id"].Reveal()); !strings.HasPrefix(id, "ASIA") || out.State != nil {
				t.Errorf("the key is %s, the state %s", id, out.State)
			}
		})
	}
}

func TestRefusalSaysWhoMayAsk(t *testing.T) {
	env := providertest.NewEnv(t)
	_, g := start(t, env)
	_, err := g.Generate(t.Context(), specFor(env, providertest.Underprivileged, nil), env)
	if secret.KindOf(err) != secret.Denied || !strings.Contains(err.Error(), "keys of an IAM user") {
		t.Errorf("error %v", err)
	}
}

func TestAnswersWithoutCredentials(t *testing.T) {
	for name, c := range map[string]*types.Credentials{"none": nil, "empty": {}, "no end": {AccessKeyId: new("a"), SecretAccessKey: new("b"), SessionToken: new("c")}} {
		if _, err := output(c); secret.KindOf(err) != secret.Internal {
			t.Errorf("%s: error %v, want one that is Internal", name, err)
		}
	}
}

func TestOnMoto(t *testing.T) {
	address := awstest.Moto(t)
	env := providertest.NewEnv(t)
	spec := specFor(env, providertest.Good, &v1alpha1.RequestParameters{SessionDuration: new(int32(3600))})
	out, err := define(awsidentity.Endpoints{STS: &address}).Generate(t.Context(), spec, env)
	if err != nil {
		t.Fatal(err)
	}
	if keys := secret.Keys(out.Values); !cmp.Equal(keys, []string{"access_key_id", "expiration", "secret_access_key", "session_token"}) {
		t.Errorf("keys %v", keys)
	}
	if left := time.Until(out.Life.Expires); left < 50*time.Minute || left > 70*time.Minute {
		t.Errorf("the values last %v, want an hour", left)
	}
}
