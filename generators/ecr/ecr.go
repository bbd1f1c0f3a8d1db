package ecr

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecrpublic"

	"github.com/keyferry/keyferry/api/generators/v1alpha1"
	"github.com/keyferry/keyferry/generator"
	"github.com/keyferry/keyferry/internal/identity/aws"
	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/secret"
)

const (
	kind = "ECRAuthorizationToken"
	op   = "generate"

	private = "private"
	public  = "public"
)

var errStrange = errors.New("the registry answered without a token that can be read")

// Generator returns the generator of kind ECRAuthorizationToken. It makes "username",
// "password", "expires_at" in seconds since 1970 and, for private registries,
// "proxy_endpoint". Where other endpoints than those of AWS are is read once, from the
// process environment.
func Generator() generator.Generator { return define(awsidentity.EndpointsFromEnv()) }

func define(endpoints awsidentity.Endpoints) generator.Generator {
	return generator.Define(generator.Definition[v1alpha1.ECRAuthorizationTokenSpec]{
		Kind: kind,
		Validate: func(spec *v1alpha1.ECRAuthorizationTokenSpec) error {
			if spec.Scope != "" && spec.Scope != private && spec.Scope != public {
				return fail(secret.Invalid, fmt.Errorf("spec.scope: %q is neither %s nor %s", spec.Scope, private, public))
			}
			return identity(spec).Check(endpoints)
		},
		Generate: func(ctx context.Context, spec *v1alpha1.ECRAuthorizationTokenSpec, env provider.Env) (generator.Output, error) {
			session, err := awsidentity.Open(ctx, identity(spec), endpoints, env)
			if err != nil {
				return generator.Output{}, err
			}
			ask := askPrivate
			if spec.Scope == public {
				ask = askPublic
			}
			got, err := ask(ctx, session)
			err = session.Fail(op, secret.Ref{}, err)
			env.Observe("GetAuthorizationToken", err)
			if err != nil {
				return generator.Output{}, err
			}
			return got.output()
		},
	})
}

func identity(spec *v1alpha1.ECRAuthorizationTokenSpec) awsidentity.Spec {
	return awsidentity.Spec{Provider: kind, Field: "spec", AuthField: "spec.auth", Region: spec.Region, Role: spec.Role, Auth: spec.Auth}
}

// login is what both kinds of registry answer with. The token is the user and the
// password in Base64.
type login struct {
	token, registry *string
	expires         *time.Time
}

func askPrivate(ctx context.Context, s *awsidentity.Session) (login, error) {
	client := ecr.NewFromConfig(s.Config, func(o *ecr.Options) {
		if s.Endpoints.ECR != nil {
			o.BaseEndpoint = s.Endpoints.ECR
		}
	})
	out, err := client.GetAuthorizationToken(ctx, &ecr.GetAuthorizationTokenInput{})
	if err != nil || len(out.AuthorizationData) == 0 {
		return login{}, err
	}
	data := out.AuthorizationData[0]
	return login{data.AuthorizationToken, data.ProxyEndpoint, data.ExpiresAt}, nil
}

func askPublic(ctx context.Context, s *awsidentity.Session) (login, error) {
	client := ecrpublic.NewFromConfig(s.Config, func(o *ecrpublic.Options) {
		if s.Endpoints.ECRPublic != nil {
			o.BaseEndpoint = s.Endpoints.ECRPublic
		}
	})
	out, err := client.GetAuthorizationToken(ctx, &ecrpublic.GetAuthorizationTokenInput{})
	if err != nil || out.AuthorizationData == nil {
		return login{}, err
	}
	return login{token: out.AuthorizationData.AuthorizationToken, expires: out.AuthorizationData.ExpiresAt}, nil
}

func (l login) output() (generator.Output, error) {
	plain, err := base64.StdEncoding.DecodeString(aws.ToString(l.token))
	user, password, ok := strings.Cut(string(plain), ":")
	if err != nil || !ok || password == "" || l.expires == nil {
		return generator.Output{}, fail(secret.Internal, errStrange)
	}
	values := map[string]secret.Value{
		"username": secret.FromString(user), "password": secret.FromString(password),
		"expires_at": secret.FromString(strconv.FormatInt(l.expires.Unix(), 10)),
	}
	if l.registry != nil {
		values["proxy_endpoint"] = secret.FromString(*l.registry)
	}
	return generator.Output{Values: values, Life: generator.Life{Expires: *l.expires}}, nil
}

func fail(k secret.Kind, err error) error {
	return &secret.Error{Kind: k, Op: op, Provider: kind, Err: err}
}
