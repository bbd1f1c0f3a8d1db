package awsidentity_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/google/go-cmp/cmp"

	esv1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	esmeta "github.com/keyferry/keyferry/api/meta/v1"
	"github.com/keyferry/keyferry/internal/awstest"
	"github.com/keyferry/keyferry/internal/identity/aws"
	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/provider/providertest"
	"github.com/keyferry/keyferry/secret"
)

const (
	reader  = "arn:aws:iam::111122223333:role/reader"
	between = "arn:aws:iam::444455556666:role/between"
)

// world is a server and what a manifest can refer to.
type world struct {
	*testing.T
	aws *awstest.Server
	env *providertest.Env
}

func newWorld(t *testing.T) world {
	env := providertest.NewEnv(t)
	w := world{t, awstest.Start(t, env.Time), env}
	env.Put("", providertest.Namespace, "key", map[string]string{"id": awstest.AccessKey + "\n", "secret": awstest.SecretKey})
	env.Put("ServiceAccount", providertest.Namespace, "app", map[string]string{"eks.amazonaws.com/role-arn": reader})
	return w
}

func (w world) endpoints() awsidentity.Endpoints {
	return awsidentity.Endpoints{SecretsManager: &w.aws.URL, SSM: &w.aws.URL, STS: &w.aws.URL}
}

// spec is a manifest that uses an access key.
func spec(changes ...func(*awsidentity.Spec)) awsidentity.Spec {
	s := awsidentity.Spec{
		Provider: "aws", Field: "spec.provider.aws", AuthField: "spec.provider.aws.auth", Region: awstest.Region,
		Auth: esv1.AWSAuth{SecretRef: &esv1.AWSAuthSecretRef{AccessKeyID: key("id"), SecretAccessKey: key("secret")}},
	}
	for _, change := range changes {
		change(&s)
	}
	return s
}

func key(name string) esmeta.SecretKeySelector {
	return esmeta.SecretKeySelector{Name: "key", Key: name}
}

func account(s *awsidentity.Spec) {
	s.Auth = esv1.AWSAuth{JWTAuth: &esv1.AWSJWTAuth{
		ServiceAccountRef: &esmeta.ServiceAccountSelector{Name: "app", Audiences: []string{"more", "sts.amazonaws.com"}},
	}}
}

func (w world) open(s awsidentity.Spec) *awsidentity.Session {
	w.Helper()
	session, err := awsidentity.Open(w.Context(), s, w.endpoints(), w.env)
	if err != nil {
		w.Fatal(err)
	}
	return session
}

// identify makes a call that every credential may make.
func (w world) identify(ctx context.Context, s *awsidentity.Session) (string, error) {
	client := sts.NewFromConfig(s.Config, func(o *sts.Options) { o.BaseEndpoint = s.Endpoints.STS })
	out, err := client.GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		return "", s.Fail("check", secret.Ref{}, err)
	}
	return *out.Arn, nil
}

// who is identify for sessions that are good.
func (w world) who(s *awsidentity.Session) string {
	w.Helper()
	arn, err := w.identify(w.Context(), s)
	if err != nil {
		w.Fatal(err)
	}
	return arn
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
	if err != nil && strings.Contains(err.Error(), providertest.Mark) {
		t.Errorf("the error holds what the service sent: %v", err)
	}
}

func TestAccessKey(t *testing.T) {
	w := newWorld(t)
	if got := w.who(w.open(spec())); !strings.HasSuffix(got, ":user/everything") {
		t.Errorf("the caller is %s", got)
	}
}

func TestRolesAreAssumedInOrderAndOnceInTheirLife(t *testing.T) {
	w := newWorld(t)
	w.aws.AddRole(awstest.Role{ARN: between, Trusts: []string{"arn:aws:iam::111122223333:user/everything"}})
	w.aws.AddRole(awstest.Role{ARN: reader, ExternalID: "e-1", Trusts: []string{"arn:aws:sts::444455556666:assumed-role/between/external-secrets-provider-aws"}})
	s := w.open(spec(func(s *awsidentity.Spec) {
		s.AdditionalRoles, s.Role, s.ExternalID = []string{between}, reader, "e-1"
		s.Tags, s.TransitiveTags = map[string]string{"team": "a", "env": "b"}, []string{"team"}
	}))
	if n := w.aws.Count(); n != 0 {
		t.Errorf("opening made %d calls", n)
	}
	var group sync.WaitGroup
	for range 20 {
		group.Go(func() {
			if arn, err := w.identify(t.Context(), s); err != nil || !strings.Contains(arn, "assumed-role/reader") {
				t.Errorf("the caller is %s, %v", arn, err)
			}
		})
	}
	group.Wait()
	want := []awstest.Assumption{
		{Role: between, Session: "external-secrets-provider-aws", By: "arn:aws:iam::111122223333:user/everything", Tags: map[string]string{}},
		{
			Role: reader, Session: "external-secrets-provider-aws", ExternalID: "e-1",
			By:   "arn:aws:sts::444455556666:assumed-role/between/external-secrets-provider-aws",
			Tags: map[string]string{"team": "a", "env": "b"}, Transitive: []string{"team"},
		},
	}
	if diff := cmp.Diff(want, w.aws.Assumed()); diff != "" {
		t.Errorf("assumed (-want +got):\n%s", diff)
	}
	w.env.Time.Advance(56 * time.Minute) // they have an hour
	w.who(s)
	w.who(s)
	if n := len(w.aws.Assumed()); n != 4 {
		t.Errorf("%d roles assumed after their end came near, want each once more", n)
	}
}

func TestACredentialThatCannotBeRenewedIsUsedToItsEnd(t *testing.T) {
	w := newWorld(t)
	w.aws.AddRole(awstest.Role{ARN: reader})
	s := w.open(spec(func(s *awsidentity.Spec) { s.Role = reader }))
	w.who(s)
	w.aws.Inject(awstest.Fault{Action: "sts:AssumeRole", Code: "InternalFailure", Status: 500})
	w.env.Time.Advance(58 * time.Minute)
	w.who(s)
	w.env.Time.Advance(2 * time.Minute)
	_, err := w.identify(t.Context(), s)
	wantKind(t, err, secret.Unavailable, "spec.provider.aws.role")
}

func TestServiceAccount(t *testing.T) {
	w := newWorld(t)
	w.aws.AddRole(awstest.Role{ARN: reader, Token: "the-token-of-app"})
	var asked []provider.TokenRequest
	w.env.Issue = func(_ context.Context, r provider.TokenRequest) (string, error) {
		asked = append(asked, r)
		return "the-token-of-app", nil
	}
	s := w.open(spec(account))
	if got := w.who(s); !strings.Contains(got, "assumed-role/reader") {
		t.Errorf("the caller is %s", got)
	}
	w.who(s)
	if len(asked) != 1 || !cmp.Equal(asked[0].Audiences, []string{"sts.amazonaws.com", "more"}) || asked[0].ServiceAccount != "app" {
		t.Errorf("tokens asked for: %+v", asked)
	}
	w.env.Put("ServiceAccount", providertest.Namespace, "app", map[string]string{"eks.amazonaws.com/role-arn": reader, "eks.amazonaws.com/audience": "own"})
	w.who(w.open(spec(account, func(s *awsidentity.Spec) { s.Auth.JWTAuth.ServiceAccountRef.Audiences = nil })))
	if got := asked[len(asked)-1].Audiences; !cmp.Equal(got, []string{"own"}) {
		t.Errorf("audiences %v, want that of the annotation", got)
	}
}

func TestLoginFailures(t *testing.T) {
	issue := func(context.Context, provider.TokenRequest) (string, error) { return "another-token", nil }
	cases := map[string]struct {
		prepare func(w world)
		spec    awsidentity.Spec
		kind    secret.Kind
		names   string
	}{
		"the key is not known": {
			prepare: func(w world) {
				w.env.Put("", providertest.Namespace, "key", map[string]string{"id": "AKIANOBODY", "secret": providertest.Mark})
			},
			spec: spec(), kind: secret.Unauthenticated, names: "InvalidClientTokenId",
		},
		"the Secret is not there": {
			prepare: func(w world) { w.env.Put("", providertest.Namespace, "key", nil) },
			spec:    spec(), kind: secret.Unauthenticated, names: "spec.provider.aws.auth.secretRef.accessKeyIDSecretRef",
		},
		"the key is empty": {
			prepare: func(w world) {
				w.env.Put("", providertest.Namespace, "key", map[string]string{"id": "AKIANOBODY", "secret": " \n"})
			},
			spec: spec(), kind: secret.Unauthenticated, names: "spec.provider.aws.auth.secretRef.secretAccessKeySecretRef",
		},
		"the role does not trust us": {
			prepare: func(w world) { w.aws.AddRole(awstest.Role{ARN: reader, ExternalID: "other"}) },
			spec:    spec(func(s *awsidentity.Spec) { s.Role = reader }), kind: secret.Denied, names: "spec.provider.aws.role",
		},
		"an additional role does not trust us": {
			prepare: func(w world) { w.aws.AddRole(awstest.Role{ARN: reader}) },
			spec:    spec(func(s *awsidentity.Spec) { s.Role, s.AdditionalRoles = reader, []string{between} }), kind: secret.Denied, names: "spec.provider.aws.additionalRoles[0]",
		},
		"the service account has no role": {
			prepare: func(w world) { w.env.Put("ServiceAccount", providertest.Namespace, "app", map[string]string{"a": "b"}) },
			spec:    spec(account), kind: secret.Unauthenticated, names: "eks.amazonaws.com/role-arn",
		},
		"the token is refused": {
			prepare: func(w world) { w.aws.AddRole(awstest.Role{ARN: reader, Token: "t"}); w.env.Issue = issue },
			spec:    spec(account), kind: secret.Unauthenticated, names: "spec.provider.aws.auth.jwt.serviceAccountRef",
		},
		"STS is throttled": {
			prepare: func(w world) { w.aws.Inject(awstest.Fault{Action: "sts:AssumeRole", Code: "Throttling", Status: 400}) },
			spec:    spec(func(s *awsidentity.Spec) { s.Role = reader }), kind: secret.RateLimited, names: "spec.provider.aws.role",
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			c.prepare(w)
			s, err := awsidentity.Open(t.Context(), c.spec, w.endpoints(), w.env)
			if err == nil {
				_, err = w.identify(t.Context(), s)
			}
			wantKind(t, err, c.kind, c.names)
		})
	}
}

func TestTheDefaultChainIsTheControllers(t *testing.T) {
	w := newWorld(t)
	t.Setenv("AWS_ACCESS_KEY_ID", awstest.AccessKey)
	t.Setenv("AWS_SECRET_ACCESS_KEY", awstest.SecretKey)
	none := spec(func(s *awsidentity.Spec) { s.Auth.SecretRef = nil })
	if got := w.who(w.open(none)); !strings.HasSuffix(got, ":user/everything") {
		t.Errorf("the caller is %s", got)
	}
	t.Setenv("AWS_ACCESS_KEY_ID", "")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "")
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", t.TempDir()+"/none")
	t.Setenv("AWS_CONFIG_FILE", t.TempDir()+"/none")
	_, err := w.identify(t.Context(), w.open(none))
	wantKind(t, err, secret.Unauthenticated, "spec.provider.aws.auth")
}

func TestTheControllersServiceAccountGoesToTheSTSOfTheAdministrator(t *testing.T) {
	w := newWorld(t)
	w.aws.AddRole(awstest.Role{ARN: reader, Token: "token-of-the-controller"})
	file := t.TempDir() + "/token"
	if err := os.WriteFile(file, []byte("token-of-the-controller"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("AWS_ROLE_ARN", reader)
	t.Setenv("AWS_WEB_IDENTITY_TOKEN_FILE", file)
	none := spec(func(s *awsidentity.Spec) { s.Auth.SecretRef = nil })
	if got := w.who(w.open(none)); !strings.Contains(got, "assumed-role/reader") {
		t.Errorf("the caller is %s", got)
	}
	w.aws.AddRole(awstest.Role{ARN: reader, Token: "another"})
	_, err := w.identify(t.Context(), w.open(none))
	wantKind(t, err, secret.Unauthenticated, "the controller's own")
}

func TestAManifestWithCredentialsUsesNothingOfTheEnvironment(t *testing.T) {
	w := newWorld(t)
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIAOFTHECONTROLLER")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "controller")
	t.Setenv("AWS_SESSION_TOKEN", "controller")
	t.Setenv("AWS_REGION", "eu-north-1")
	t.Setenv("AWS_PROFILE", "none-such")
	if got := w.who(w.open(spec())); !strings.HasSuffix(got, ":user/everything") {
		t.Errorf("the caller is %s", got)
	}
}

// slow is an Env whose transport looks for more of a request's body after the answer has
// begun, as that of net/http does when the machine is busy.
type slow struct {
	*providertest.Env
	found []error
}

func (s *slow) HTTP(tls provider.TLS) (*http.Client, error) {
	c, err := s.Env.HTTP(tls)
	if err != nil {
		return nil, err
	}
	return &http.Client{Transport: late{c.Transport, &s.found}}, nil
}

type late struct {
	http.RoundTripper
	found *[]error
}

func (l late) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := l.RoundTripper.RoundTrip(r)
	_ = r.Body.Close()
	_, more := io.Copy(io.Discard, r.Body)
	*l.found = append(*l.found, more)
	return resp, err
}

func TestABodyThatTheSDKHasClosedEndsQuietly(t *testing.T) {
	w := newWorld(t)
	env := &slow{Env: w.env}
	s, err := awsidentity.Open(t.Context(), spec(), w.endpoints(), env)
	if err != nil {
		t.Fatal(err)
	}
	w.who(s)
	if diff := cmp.Diff([]error{nil}, env.found); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestCheck(t *testing.T) {
	bad := "not an address"
	cases := map[string]struct {
		change    func(*awsidentity.Spec)
		endpoints awsidentity.Endpoints
		names     string
	}{
		"good":                       {change: func(*awsidentity.Spec) {}},
		"a region of the government": {change: func(s *awsidentity.Spec) { s.Region = "us-gov-west-1" }},
		"a region of a sovereign":    {change: func(s *awsidentity.Spec) { s.Region = "eusc-de-east-1" }},
		"no region":                  {change: func(s *awsidentity.Spec) { s.Region = "" }, names: "spec.provider.aws.region"},
		"an availability zone":       {change: func(s *awsidentity.Spec) { s.Region = "eu-central-1a" }, names: "spec.provider.aws.region"},
		"a host for a region":        {change: func(s *awsidentity.Spec) { s.Region = "x.example.com/" }, names: "spec.provider.aws.region"},
		"another cloud's region":     {change: func(s *awsidentity.Spec) { s.Region = "local" }, endpoints: awsidentity.Endpoints{SSM: new("http://10.0.0.1:4566")}},
		"a host for a region of another cloud": {
			change: func(s *awsidentity.Spec) { s.Region = "a.b" }, endpoints: awsidentity.Endpoints{SSM: new("http://10.0.0.1:4566")}, names: "spec.provider.aws.region",
		},
		"a bad endpoint":        {change: func(*awsidentity.Spec) {}, endpoints: awsidentity.Endpoints{STS: &bad}, names: "AWS_STS_ENDPOINT"},
		"no key in a reference": {change: func(s *awsidentity.Spec) { s.Auth.SecretRef.AccessKeyID.Key = "" }, names: "accessKeyIDSecretRef.key"},
		"no Secret":             {change: func(s *awsidentity.Spec) { s.Auth.SecretRef.SecretAccessKey.Name = "" }, names: "secretAccessKeySecretRef.name"},
		"half a token": {
			change: func(s *awsidentity.Spec) { s.Auth.SecretRef.SessionToken = &esmeta.SecretKeySelector{Name: "key"} }, names: "sessionTokenSecretRef.key",
		},
		"no service account": {change: func(s *awsidentity.Spec) {
			s.Auth.JWTAuth = &esv1.AWSJWTAuth{ServiceAccountRef: &esmeta.ServiceAccountSelector{}}
		}, names: "jwt.serviceAccountRef.name"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			err := spec(c.change).Check(c.endpoints)
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

func TestEndpointsComeFromTheEnvironment(t *testing.T) {
	w := newWorld(t)
	t.Setenv("AWS_STS_ENDPOINT", w.aws.URL)
	t.Setenv("AWS_ENDPOINT_URL_SSM", w.aws.URL)
	s, err := awsidentity.Open(t.Context(), spec(), awsidentity.EndpointsFromEnv(), w.env)
	if err != nil {
		t.Fatal(err)
	}
	w.who(s)
	_, err = ssm.NewFromConfig(s.Config).GetParameter(t.Context(), &ssm.GetParameterInput{Name: new("none")})
	wantKind(t, s.Fail("read", secret.Ref{Key: "none"}, err), secret.NotFound)
	if n := w.aws.Count("ssm:GetParameter"); n != 1 {
		t.Errorf("%d calls came through the SDK's own variable", n)
	}
}

func TestErrors(t *testing.T) {
	cases := map[string]struct {
		code, message string
		status        int
		kind          secret.Kind
		names         string
	}{
		"not there":           {code: "ResourceNotFoundException", status: 400, kind: secret.NotFound, names: "ResourceNotFoundException"},
		"deleted":             {code: "InvalidRequestException", message: "because it was marked for deletion.", status: 400, kind: secret.NotFound},
		"not like this":       {code: "InvalidRequestException", message: "no rotation", status: 400, kind: secret.Invalid},
		"denied":              {code: "AccessDeniedException", status: 400, kind: secret.Denied, names: "secretsmanager:GetSecretValue"},
		"denied by KMS":       {code: "AccessDeniedException", message: "Access to KMS is not allowed", status: 400, kind: secret.Denied, names: "KMS"},
		"key is gone":         {code: "DecryptionFailure", status: 400, kind: secret.Denied},
		"unknown key":         {code: "UnrecognizedClientException", status: 400, kind: secret.Unauthenticated},
		"wrong key":           {code: "InvalidSignatureException", status: 403, kind: secret.Unauthenticated},
		"expired":             {code: "ExpiredTokenException", status: 400, kind: secret.Unauthenticated},
		"throttled":           {code: "ThrottlingException", status: 400, kind: secret.RateLimited},
		"too many":            {code: "LimitExceededException", status: 400, kind: secret.RateLimited},
		"exists":              {code: "ResourceExistsException", status: 400, kind: secret.Conflict},
		"bad request":         {code: "ValidationException", status: 400, kind: secret.Invalid},
		"broken":              {code: "InternalServiceError", status: 500, kind: secret.Unavailable},
		"unknown and broken":  {code: "Whatever", status: 502, kind: secret.Unavailable},
		"unknown and denied":  {code: "Whatever", status: 403, kind: secret.Denied},
		"unknown and unknown": {code: "Whatever", status: 404, kind: secret.Invalid},
		"a value for a code":  {code: providertest.Mark, status: 400, kind: secret.Invalid},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.aws.Inject(awstest.Fault{Action: "secretsmanager:GetSecretValue", Code: c.code, Message: c.message, Status: c.status})
			s := w.open(spec())
			client := secretsmanager.NewFromConfig(s.Config, func(o *secretsmanager.Options) { o.BaseEndpoint = s.Endpoints.SecretsManager })
			_, err := client.GetSecretValue(t.Context(), &secretsmanager.GetSecretValueInput{SecretId: new("x")})
			failed := s.Fail("read", secret.Ref{Key: "x"}, err)
			wantKind(t, failed, c.kind, "aws read x", c.names)
			if n := w.aws.Count(); n != 1 {
				t.Errorf("%d calls, want one: the funnel retries", n)
			}
		})
	}
}

func TestErrorsOfTheWay(t *testing.T) {
	w := newWorld(t)
	s := w.open(spec())
	gone := "http://127.0.0.1:1"
	call := func(endpoint string) error {
		client := secretsmanager.NewFromConfig(s.Config, func(o *secretsmanager.Options) { o.BaseEndpoint = &endpoint })
		_, err := client.GetSecretValue(t.Context(), &secretsmanager.GetSecretValueInput{SecretId: new("x")})
		return s.Fail("read", secret.Ref{Key: "x"}, err)
	}
	wantKind(t, call(gone), secret.Unavailable, "127.0.0.1:1")
	proxy := providertest.NewProxy(t, w.aws.URL, nil, 9*time.Second)
	err := call(proxy.URL(providertest.Throttled))
	wantKind(t, err, secret.RateLimited)
	if got := secret.RetryAfterOf(err); got != 9*time.Second {
		t.Errorf("RetryAfter %v", got)
	}
	wantKind(t, call(proxy.URL(providertest.Down)), secret.Unavailable)
	wantKind(t, s.Fail("read", secret.Ref{}, context.DeadlineExceeded), secret.Unavailable)
	if s.Fail("read", secret.Ref{}, nil) != nil {
		t.Error("nil has become an error")
	}
	if err := errors.New(providertest.Mark); strings.Contains(s.Fail("read", secret.Ref{}, err).Error(), providertest.Mark) {
		t.Error("an unknown error shows its text")
	}
}
