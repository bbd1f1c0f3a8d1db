package awsidentity

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/smithy-go/logging"

	esv1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	esmeta "github.com/keyferry/keyferry/api/meta/v1"
	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/secret"
)

// Spec says who to be, and where. It is what the manifests of all that use AWS have in
// common.
type Spec struct {
	// Provider is whose errors they are: "aws".
	Provider string
	// Field is the path of region, role and the like, AuthField that of secretRef and
	// jwt, both for errors.
	Field, AuthField string
	// Region is required.
	Region string
	// Auth is whose credentials: its jwt goes before its secretRef.
	Auth esv1.AWSAuth
	// AdditionalRoles are assumed in their order, and then Role.
	AdditionalRoles []string
	Role            string
	// ExternalID, Tags and TransitiveTags are for Role, and have no meaning without.
	ExternalID     string
	Tags           map[string]string
	TransitiveTags []string
}

// region is the form that the names of regions have.
var region = regexp.MustCompile(`^[a-z]{2,5}(-[a-z]+){1,2}-[0-9]{1,2}$`)

// elsewhere is what may be a region of something that speaks the API of AWS: it
// becomes part of a host name.
var elsewhere = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

// Check fails with Invalid for what cannot work, and names the field. It does no I/O.
func (s Spec) Check(e Endpoints) error {
	form := region
	if e.any() {
		form = elsewhere
	}
	account, keys := s.account(), s.Auth.SecretRef
	switch {
	case s.Region == "":
		return s.invalid("%s.region is empty: name one, such as eu-central-1", s.Field)
	case !form.MatchString(s.Region):
		return s.invalid("%s.region: %q is no region: name one, such as eu-central-1", s.Field, s.Region)
	case account != nil && account.Name == "":
		return s.invalid("%s.jwt.serviceAccountRef.name is empty: name a service account", s.AuthField)
	}
	if err := e.check(); err != nil {
		return s.invalid("%w", err)
	}
	if keys == nil || account != nil {
		return nil
	}
	err := cmp.Or(s.complete("accessKeyIDSecretRef", keys.AccessKeyID), s.complete("secretAccessKeySecretRef", keys.SecretAccessKey))
	if err == nil && keys.SessionToken != nil {
		err = s.complete("sessionTokenSecretRef", *keys.SessionToken)
	}
	return err
}

// account is auth.jwt.serviceAccountRef; nil if there is none.
func (s Spec) account() *esmeta.ServiceAccountSelector {
	if s.Auth.JWTAuth == nil {
		return nil
	}
	return s.Auth.JWTAuth.ServiceAccountRef
}

func (s Spec) complete(field string, ref esmeta.SecretKeySelector) error {
	switch {
	case ref.Name == "":
		return s.invalid("%s.secretRef.%s.name is empty: name a Secret", s.AuthField, field)
	case ref.Key == "":
		return s.invalid("%s.secretRef.%s.key is empty: name a key of the Secret", s.AuthField, field)
	}
	return nil
}

func (s Spec) invalid(format string, args ...any) error {
	return s.fail(secret.Invalid, fmt.Errorf(format, args...))
}

func (s Spec) fail(kind secret.Kind, err error) error {
	return &secret.Error{Kind: kind, Op: "open", Provider: s.Provider, Err: err}
}

// Session is somebody at AWS. It holds no connection and needs no closing.
type Session struct {
	// Config is for the clients of services. Its credentials are renewed before they
	// end, and fail with a *secret.Error.
	Config aws.Config
	// Endpoints are what the session was opened with.
	Endpoints Endpoints

	spec  Spec
	clock provider.Clock
}

// Open reads the credentials that the manifest refers to. It makes no call to AWS: roles
// are assumed when they are needed. It fails with Invalid as Check does, and as the Env
// does for what the manifest refers to.
func Open(ctx context.Context, s Spec, e Endpoints, env provider.Env) (*Session, error) {
	if err := s.Check(e); err != nil {
		return nil, err
	}
	client, err := env.HTTP(provider.TLS{})
	if err != nil {
		return nil, err
	}
	out := &Session{spec: s, clock: env.Clock(), Endpoints: e, Config: aws.Config{
		Region: s.Region, HTTPClient: patient{client}, ConfigSources: e.sources,
		Retryer: func() aws.Retryer { return aws.NopRetryer{} }, Logger: logging.Nop{},
	}}
	credentials, err := out.base(ctx, env)
	if err != nil {
		return nil, err
	}
	for i, role := range s.AdditionalRoles {
		credentials = out.assume(credentials, role, fmt.Sprintf("%s.additionalRoles[%d]", s.Field, i))
	}
	if s.Role != "" {
		credentials = out.assumeLast(credentials)
	}
	out.Config.Credentials = credentials
	return out, nil
}

// patient hands requests over with a body that can only be read. That of the SDK can also
// write itself, and fails to do so once the SDK has closed it, which is when an answer
// begins. The transport looks for more of the body at about that time, and would close
// the connection while the answer is read.
type patient struct{ *http.Client }

// Do implements aws.HTTPClient.
func (p patient) Do(r *http.Request) (*http.Response, error) {
	if r.Body == nil {
		return p.Client.Do(r)
	}
	out := *r
	out.Body = struct{ io.ReadCloser }{r.Body}
	return p.Client.Do(&out)
}

// Now is the time of the session's clock.
func (s *Session) Now() time.Time { return s.clock.Now() }
