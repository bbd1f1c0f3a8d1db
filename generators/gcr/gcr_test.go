package gcr

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keyferry/keyferry/api/externalsecrets/v1"
	"github.com/keyferry/keyferry/api/generators/v1alpha1"
	esmeta "github.com/keyferry/keyferry/api/meta/v1"
	"github.com/keyferry/keyferry/generator/generatortest"
	"github.com/keyferry/keyferry/internal/restapi/resttest"
	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/provider/providertest"
	"github.com/keyferry/keyferry/secret"
)

const (
	email    = "puller@example.iam.gserviceaccount.com"
	pool     = "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/k8s"
	endpoint = "https://tokens.example.com/token"
)

func newEnv(t *testing.T, g *google) *providertest.Env {
	t.Helper()
	env := providertest.NewEnv(t)
	g.clock = env.Time
	env.Put("Secret", providertest.Namespace, "key", g.keys(t))
	env.Put("Secret", providertest.Namespace, "aws", map[string]string{
		"aws_access_key_id": "AKIAEXAMPLE", "aws_secret_access_key": "aws-secret-key-0001", "aws_session_token": "aws-session-token-0001",
	})
	env.Put("Secret", providertest.Namespace, "half-aws", map[string]string{"aws_access_key_id": "AKIAEXAMPLE"})
	env.Put("ServiceAccount", providertest.Namespace, "puller", map[string]string{annotation: email})
	env.Put("ServiceAccount", providertest.Namespace, "plain", map[string]string{})
	env.Issue = func(_ context.Context, req provider.TokenRequest) (string, error) {
		return fmt.Sprintf("token of %s for %v", req.ServiceAccount, req.Audiences), nil
	}
	return env
}

func good() *v1alpha1.GCRAccessTokenSpec {
	return &v1alpha1.GCRAccessTokenSpec{ProjectID: "example", Auth: v1alpha1.GCPSMAuth{
		SecretRef: &v1.GCPSMAuthSecretRef{SecretAccessKey: esmeta.SecretKeySelector{Name: "key", Key: "good"}},
	}}
}

func withKey(key string) *v1alpha1.GCRAccessTokenSpec {
	s := good()
	s.Auth.SecretRef.SecretAccessKey.Key = key
	return s
}

func identity(f func(*v1alpha1.GCPWorkloadIdentity)) *v1alpha1.GCRAccessTokenSpec {
	w := &v1alpha1.GCPWorkloadIdentity{
		ServiceAccountRef: esmeta.ServiceAccountSelector{Name: "puller"}, ClusterLocation: "europe-west1", ClusterName: "prod",
	}
	if f != nil {
		f(w)
	}
	return &v1alpha1.GCRAccessTokenSpec{ProjectID: "example", Auth: v1alpha1.GCPSMAuth{WorkloadIdentity: w}}
}

func federated(f func(*v1alpha1.GCPWorkloadIdentityFederation)) *v1alpha1.GCRAccessTokenSpec {
	w := &v1alpha1.GCPWorkloadIdentityFederation{}
	f(w)
	return &v1alpha1.GCRAccessTokenSpec{ProjectID: "example", Auth: v1alpha1.GCPSMAuth{WorkloadIdentityFederation: w}}
}

func configured(f func(*v1alpha1.GCPWorkloadIdentityFederation)) *v1alpha1.GCRAccessTokenSpec {
	return federated(func(w *v1alpha1.GCPWorkloadIdentityFederation) {
		w.CredConfig = &v1alpha1.ConfigMapReference{Name: "config", Key: "config.json"}
		w.ExternalTokenEndpoint = endpoint
		if f != nil {
			f(w)
		}
	})
}

func TestConformance(t *testing.T) {
	g := &google{}
	env := newEnv(t, g)
	w := resttest.NewWorld(t, g.hosts())
	generatortest.Run(t, generatortest.Harness{
		Env: env, Generator: Generator(), Secret: []string{"password"}, Public: []string{"username", "expiry"}, Lasts: time.Hour,
		Transport: w.Transport, Reached: w.Reached(), RetryAfter: resttest.RetryAfter,
		Spec: func(s providertest.Situation) any {
			switch s {
			case providertest.BadCredential:
				return withKey("wrong")
			case providertest.Underprivileged:
				return identity(func(w *v1alpha1.GCPWorkloadIdentity) { w.ServiceAccountRef.Name = "puller"; w.ClusterName = "denied" })
			}
			return good()
		},
		Invalid: invalid(),
	})
}

func invalid() map[string]any {
	return map[string]any{
		"spec.auth": &v1alpha1.GCRAccessTokenSpec{ProjectID: "example"},
		"spec.auth.secretRef.secretAccessKeySecretRef": withKey(""),
		"spec.auth.workloadIdentity.serviceAccountRef.name": identity(func(w *v1alpha1.GCPWorkloadIdentity) {
			w.ServiceAccountRef.Name = ""
		}),
		"spec.auth.workloadIdentity.clusterLocation": identity(func(w *v1alpha1.GCPWorkloadIdentity) { w.ClusterLocation = "" }),
		"spec.auth.workloadIdentity.clusterName":     identity(func(w *v1alpha1.GCPWorkloadIdentity) { w.ClusterName = "" }),
		"spec.auth.workloadIdentityFederation": configured(func(w *v1alpha1.GCPWorkloadIdentityFederation) {
			w.ServiceAccountRef = &esmeta.ServiceAccountSelector{Name: "puller"}
		}),
		"spec.auth.workloadIdentityFederation.audience": federated(func(w *v1alpha1.GCPWorkloadIdentityFederation) {
			w.ServiceAccountRef = &esmeta.ServiceAccountSelector{Name: "puller"}
		}),
		"spec.auth.workloadIdentityFederation.credConfig": configured(func(w *v1alpha1.GCPWorkloadIdentityFederation) { w.CredConfig.Key = "" }),
		"spec.auth.workloadIdentityFederation.serviceAccountRef.name": federated(func(w *v1alpha1.GCPWorkloadIdentityFederation) {
			w.ServiceAccountRef, w.Audience = &esmeta.ServiceAccountSelector{}, pool
		}),
		"spec.auth.workloadIdentityFederation.awsSecurityCredentials.awsCredentialsSecretRef": federated(func(w *v1alpha1.GCPWorkloadIdentityFederation) {
			w.AwsSecurityCredentials, w.Audience = &v1alpha1.AwsCredentialsConfig{Region: "eu-west-1"}, pool
		}),
	}
}

func TestOutput(t *testing.T) {
	g := &google{}
	env := newEnv(t, g)
	out, err := Generator().Generate(t.Context(), good(), resttest.NewWorld(t, g.hosts()).Env(env))
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for k, v := range out.Values {
		got[k] = string(v.Reveal())
	}
	expires := env.Time.Now().Add(time.Hour)
	want := map[string]string{"username": "oauth2accesstoken", "password": "ya29.of " + email + " 1", "expiry": strconv.FormatInt(expires.Unix(), 10)}
	if diff := cmp.Diff(want, got); diff != "" || !out.Life.Expires.Equal(expires) {
		t.Errorf("ends %v, %s", out.Life.Expires, diff)
	}
}

func TestWhomATokenIsOf(t *testing.T) {
	gke := func(project string) string {
		return "identitynamespace:" + project + ".svc.id.goog:https://container.googleapis.com/v1/projects/" + project + "/locations/europe-west1/clusters/prod"
	}
	cases := map[string]struct {
		spec *v1alpha1.GCRAccessTokenSpec
		want string
	}{
		"a key":                            {good(), "ya29.of " + email + " 1"},
		"a key with an address of its own": {withKey("elsewhere"), "ya29.of " + email + " 1"},
		"an account of a cluster":          {identity(nil), "ya29.of " + email + " by (" + gke("example") + " token of puller for [example.svc.id.goog]) 2"},
		"an account of another project":    {identity(func(w *v1alpha1.GCPWorkloadIdentity) { w.ClusterProjectID = "other" }), "ya29.of " + email + " by (" + gke("other") + " token of puller for [other.svc.id.goog]) 2"},
		"an account without an annotation": {identity(func(w *v1alpha1.GCPWorkloadIdentity) { w.ServiceAccountRef.Name = "plain" }), "ya29.of (" + gke("example") + " token of plain for [example.svc.id.goog]) 1"},
		"an account that the pool trusts": {federated(func(w *v1alpha1.GCPWorkloadIdentityFederation) {
			w.ServiceAccountRef, w.Audience = &esmeta.ServiceAccountSelector{Name: "plain", Audiences: []string{"more"}}, pool
		}), "ya29.of (" + pool + " token of plain for [" + pool + " more]) 1"},
		"one that is annotated": {federated(func(w *v1alpha1.GCPWorkloadIdentityFederation) {
			w.ServiceAccountRef, w.Audience = &esmeta.ServiceAccountSelector{Name: "puller"}, pool
		}), "ya29.of " + email + " by (" + pool + " token of puller for [" + pool + "]) 2"},
		"one that the spec says to act as": {federated(func(w *v1alpha1.GCPWorkloadIdentityFederation) {
			w.ServiceAccountRef, w.Audience, w.GCPServiceAccountEmail = &esmeta.ServiceAccountSelector{Name: "puller"}, pool, "other@example.iam.gserviceaccount.com"
		}), "ya29.of other@example.iam.gserviceaccount.com by (" + pool + " token of puller for [" + pool + "]) 2"},
		"an AWS identity": {federated(func(w *v1alpha1.GCPWorkloadIdentityFederation) {
			w.AwsSecurityCredentials, w.Audience = &v1alpha1.AwsCredentialsConfig{Region: "eu-west-1", AwsCredentialsSecretRef: v1alpha1.SecretReference{Name: "aws"}}, pool
		}), "ya29.of (" + pool + " AKIAEXAMPLE in eu-west-1) 1"},
		"one of another issuer":              {configured(nil), "ya29.of " + email + " by (" + pool + " token of elsewhere) for 600s 2"},
		"one of another issuer, as the spec": {configured(func(w *v1alpha1.GCPWorkloadIdentityFederation) { w.Audience = pool + "-2" }), "ya29.of " + email + " by (" + pool + "-2 token of elsewhere) for 600s 2"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			g := &google{}
			env := newEnv(t, g)
			env.Put("ConfigMap", providertest.Namespace, "config", map[string]string{"config.json": config0(nil)})
			out, err := Generator().Generate(t.Context(), c.spec, resttest.NewWorld(t, g.hosts()).Env(env))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, string(out.Values["password"].Reveal())); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// config0 is a configuration that works, after a change.
func config0(f func(map[string]any)) string {
	c := map[string]any{
		"type": "external_account", "audience": pool, "subject_token_type": typeOfJWT, "token_url": exchangeURL,
		"service_account_impersonation_url": "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/" + email + ":generateAccessToken",
		"service_account_impersonation":     map[string]any{"token_lifetime_seconds": 600},
		"credential_source": map[string]any{
			"url": endpoint, "headers": map[string]string{"Metadata": "yes"},
			"format": map[string]string{"type": "json", "subject_token_field_name": "id_token"},
		},
	}
	if f != nil {
		f(c)
	}
	b, _ := json.Marshal(c)
	return string(b)
}

func TestConfigurations(t *testing.T) {
	source := func(k string, v any) func(map[string]any) {
		return func(c map[string]any) { c["credential_source"].(map[string]any)[k] = v }
	}
	set := func(k string, v any) func(map[string]any) { return func(c map[string]any) { c[k] = v } }
	cases := map[string]struct {
		change func(map[string]any)
		in     string
	}{
		"of another type":                  {set("type", "authorized_user"), "external_account"},
		"without an audience":              {set("audience", ""), "audience"},
		"of another exchange":              {set("token_url", "https://sts.evil.example.com/v1/token"), "token_url"},
		"to act as somebody, elsewhere":    {set("service_account_impersonation_url", "https://evil.example.com/"), "service_account_impersonation_url"},
		"with a file of the controller":    {source("file", "/var/run/secrets/kubernetes.io/serviceaccount/token"), "serviceAccountRef"},
		"with a program of the controller": {source("executable", map[string]string{"command": "/bin/sh"}), "file or program"},
		"with the node's AWS identity":     {source("environment_id", "aws1"), "awsSecurityCredentials"},
		"of an endpoint not allowed":       {source("url", "https://evil.example.com/"), "externalTokenEndpoint"},
		"without an endpoint":              {source("url", ""), "externalTokenEndpoint"},
		"of JSON without a field":          {source("format", map[string]string{"type": "json"}), "subject_token_field_name"},
		"no JSON":                          {nil, "JSON"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			text := providertest.Mark
			if c.change != nil {
				text = config0(c.change)
			}
			env := newEnv(t, &google{})
			env.Put("ConfigMap", providertest.Namespace, "config", map[string]string{"config.json": text})
			_, err := Generator().Generate(t.Context(), configured(nil), resttest.NewWorld(t, nil).Env(env))
			if secret.KindOf(err) != secret.Invalid || !strings.Contains(err.Error(), c.in) || strings.Contains(err.Error(), providertest.Mark) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestRefusals(t *testing.T) {
	aws := func(name string) *v1alpha1.GCRAccessTokenSpec {
		return federated(func(w *v1alpha1.GCPWorkloadIdentityFederation) {
			w.AwsSecurityCredentials = &v1alpha1.AwsCredentialsConfig{Region: "eu-west-1", AwsCredentialsSecretRef: v1alpha1.SecretReference{Name: name}}
			w.Audience = pool
		})
	}
	cases := map[string]struct {
		spec *v1alpha1.GCRAccessTokenSpec
		in   string
	}{
		"a key that is no JSON":       {withKey("text"), "no JSON"},
		"a key of another type":       {withKey("user"), "type service_account"},
		"a key that is no key":        {withKey("broken"), "PEM"},
		"a key that is sent in plain": {withKey("plain"), "token_uri"},
		"half a key of AWS":           {aws("half-aws"), "aws_secret_access_key"},
		"a pool that does not know": {federated(func(w *v1alpha1.GCPWorkloadIdentityFederation) {
			w.ServiceAccountRef, w.Audience = &esmeta.ServiceAccountSelector{Name: "plain"}, "//elsewhere"
		}), "workloadIdentityFederation"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			g := &google{}
			env := newEnv(t, g)
			_, err := Generator().Generate(t.Context(), c.spec, resttest.NewWorld(t, g.hosts()).Env(env))
			if secret.KindOf(err) != secret.Unauthenticated || !strings.Contains(err.Error(), c.in) || strings.Contains(err.Error(), providertest.Mark) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// TestCallerIdentity checks the form of the AWS token, and that it is good for one audience.
func TestCallerIdentity(t *testing.T) {
	g := &google{}
	env := newEnv(t, g)
	l := login{env: env}
	spec := &v1alpha1.AwsCredentialsConfig{Region: "cn-north-1", AwsCredentialsSecretRef: v1alpha1.SecretReference{Name: "aws"}}
	token, err := l.callerIdentity(t.Context(), spec, pool)
	if err != nil {
		t.Fatal(err)
	}
	text, err := url.QueryUnescape(string(token.Reveal()))
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		URL, Method string
		Headers     []struct{ Key, Value string }
	}
	if err := json.Unmarshal([]byte(text), &got); err != nil || got.Method != http.MethodPost ||
		got.URL != "https://sts.cn-north-1.amazonaws.com.cn?Action=GetCallerIdentity&Version=2011-06-15" {
		t.Errorf("got %s %s, %v", got.Method, got.URL, err)
	}
	headers := map[string]string{}
	for _, h := range got.Headers {
		headers[h.Key] = h.Value
	}
	signed := "SignedHeaders=host;x-amz-date;x-amz-security-token;x-goog-cloud-target-resource,"
	if !strings.Contains(headers["authorization"], signed) {
		t.Error("the signature does not cover the audience")
	}
	delete(headers, "authorization")
	want := map[string]string{
		"host": "sts.cn-north-1.amazonaws.com.cn", "x-amz-date": "20300102T030405Z",
		"x-amz-security-token": "aws-session-token-0001", "x-goog-cloud-target-resource": pool,
	}
	if diff := cmp.Diff(want, headers); diff != "" {
		t.Error(diff)
	}
}
