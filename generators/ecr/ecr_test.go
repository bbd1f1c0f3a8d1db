package ecr

import (
	"context"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	esv1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	"github.com/keyferry/keyferry/api/generators/v1alpha1"
	esmeta "github.com/keyferry/keyferry/api/meta/v1"
	"github.com/keyferry/keyferry/generator"
	"github.com/keyferry/keyferry/generator/generatortest"
	"github.com/keyferry/keyferry/internal/awstest"
	"github.com/keyferry/keyferry/internal/identity/aws"
	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/provider/providertest"
	"github.com/keyferry/keyferry/secret"
)

func start(t *testing.T, env *providertest.Env) (*awstest.Server, generator.Generator) {
	t.Helper()
	server := awstest.Start(t, env.Time)
	server.Trust(awstest.Situated("ecr:*", "ecr-public:*")...)
	return server, define(awsidentity.Endpoints{ECR: &server.URL, ECRPublic: &server.URL, STS: &server.URL})
}

func specFor(env *providertest.Env, situation providertest.Situation, scope string) *v1alpha1.ECRAuthorizationTokenSpec {
	return &v1alpha1.ECRAuthorizationTokenSpec{
		Region: awstest.Region, Scope: scope,
		Auth: awstest.Login(env, awstest.KeyOf(situation)),
	}
}

func TestConformance(t *testing.T) {
	for scope, public := range map[string][]string{"": {"username", "expires_at", "proxy_endpoint"}, "public": {"username", "expires_at"}} {
		t.Run("scope "+scope, func(t *testing.T) {
			env := providertest.NewEnv(t)
			server, g := start(t, env)
			noRegion, badScope := specFor(env, providertest.Good, scope), specFor(env, providertest.Good, "both")
			noRegion.Region = ""
			generatortest.Run(t, generatortest.Harness{
				Env: env, Generator: g, Reached: server.Reached(), Lasts: 12 * time.Hour,
				Spec:   func(s providertest.Situation) any { return specFor(env, s, scope) },
				Secret: []string{"password"}, Public: public,
				Invalid: map[string]any{"spec.region": noRegion, "spec.scope": badScope},
				Without: map[string]string{"values/new": "a registry may hand out one token to all who ask at one time"},
			})
		})
	}
}

func plain(out generator.Output) map[string]string {
	got := map[string]string{}
	for key, v := range out.Values {
		got[key] = string(v.Reveal())
	}
	return got
}

func TestValues(t *testing.T) {
	cases := map[string]struct {
		scope, call string
		want        map[string]string
	}{
		"of a private registry": {"private", "ecr:GetAuthorizationToken", map[string]string{"proxy_endpoint": "https://111122223333.dkr.ecr.eu-central-1.amazonaws.com"}},
		"of public registries":  {"public", "ecr-public:GetAuthorizationToken", map[string]string{}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			env := providertest.NewEnv(t)
			server, g := start(t, env)
			out, err := g.Generate(t.Context(), specFor(env, providertest.Good, c.scope), env)
			if err != nil {
				t.Fatal(err)
			}
			end := env.Time.Now().Add(12 * time.Hour)
			c.want["username"], c.want["password"], _ = strings.Cut(awstest.RegistryToken, ":")
			c.want["expires_at"] = strconv.FormatInt(end.Unix(), 10)
			if diff := cmp.Diff(c.want, plain(out)); diff != "" {
				t.Errorf("values (-want +got):\n%s", diff)
			}
			if !out.Life.Expires.Equal(end) || out.State != nil {
				t.Errorf("the end is %v, want %v; the state is %s", out.Life.Expires, end, out.State)
			}
			if server.Count() != 1 || server.Count(c.call) != 1 {
				t.Errorf("the calls are %v", server.Calls())
			}
		})
	}
}

// TestARoleOfAServiceAccountAndAnother: jwt logs in, and the role is assumed on top.
func TestARoleOfAServiceAccountAndAnother(t *testing.T) {
	const first, second = "arn:aws:iam::111122223333:role/account", "arn:aws:iam::111122223333:role/pull"
	env := providertest.NewEnv(t)
	server, g := start(t, env)
	server.AddRole(awstest.Role{ARN: first, Token: "a-token-of-the-account"})
	server.AddRole(awstest.Role{ARN: second})
	env.Put("ServiceAccount", providertest.Namespace, "puller", map[string]string{"eks.amazonaws.com/role-arn": first})
	env.Issue = func(context.Context, provider.TokenRequest) (string, error) { return "a-token-of-the-account", nil }
	spec := &v1alpha1.ECRAuthorizationTokenSpec{
		Region: awstest.Region, Role: second,
		Auth: esv1.AWSAuth{JWTAuth: &esv1.AWSJWTAuth{ServiceAccountRef: &esmeta.ServiceAccountSelector{Name: "puller"}}},
	}
	if _, err := g.Generate(t.Context(), spec, env); err != nil {
		t.Fatal(err)
	}
	var roles []string
	for _, a := range server.Assumed() {
		roles = append(roles, a.Role)
	}
	if diff := cmp.Diff([]string{first, second}, roles); diff != "" {
		t.Errorf("roles (-want +got):\n%s", diff)
	}
}

func TestAnswersThatAreNoLogin(t *testing.T) {
	now := time.Unix(0, 0)
	text := func(s string) *string { return &s }
	for name, l := range map[string]login{
		"nothing":         {},
		"no end":          {token: text("QVdTOng=")},
		"no Base64":       {token: text("!" + providertest.Mark), expires: &now},
		"no password":     {token: text("QVdTOg=="), expires: &now},
		"no user and all": {token: text("QVdT"), expires: &now},
	} {
		_, err := l.output()
		if secret.KindOf(err) != secret.Internal || strings.Contains(err.Error(), providertest.Mark) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

func TestOnMoto(t *testing.T) {
	url := awstest.Moto(t)
	env := providertest.NewEnv(t)
	out, err := define(awsidentity.Endpoints{ECR: &url}).Generate(t.Context(), specFor(env, providertest.Good, ""), env)
	if err != nil {
		t.Fatal(err)
	}
	if got := plain(out); got["username"] != "AWS" || got["password"] == "" || !strings.Contains(got["proxy_endpoint"], awstest.Region) || out.Life.Expires.IsZero() {
		t.Errorf("keys %v, user %q, endpoint %q, end %v", secret.Keys(out.Values), got["username"], got["proxy_endpoint"], out.Life.Expires)
	}
}
