package sts

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/aws-sdk-go-v2/service/sts/types"

	"github.com/keyferry/keyferry/api/generators/v1alpha1"
	"github.com/keyferry/keyferry/generator"
	"github.com/keyferry/keyferry/internal/identity/aws"
	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/secret"
)

const (
	kind = "STSSessionToken"
	op   = "generate"

	// shortest and longest are what a session may last, in seconds.
	shortest, longest = 900, 129600
)

var (
	errStrange  = errors.New("STS answered without credentials")
	errDenied   = errors.New("STS GetSessionToken answered AccessDenied: it takes the keys of an IAM user, not those of a role or another session, and a tokenCode that was not used before")
	errTogether = errors.New("spec.requestParameters.serialNumber and tokenCode go together: set both, or none")
)

// Generator returns the generator of kind STSSessionToken. It makes "access_key_id",
// "secret_access_key", "session_token" and "expiration" in seconds since 1970. Where
// another endpoint than that of AWS is is read once, from the process environment.
func Generator() generator.Generator { return define(awsidentity.EndpointsFromEnv()) }

func define(endpoints awsidentity.Endpoints) generator.Generator {
	return generator.Define(generator.Definition[v1alpha1.STSSessionTokenSpec]{
		Kind: kind,
		Validate: func(spec *v1alpha1.STSSessionTokenSpec) error {
			if err := check(spec.RequestParameters); err != nil {
				return fail(secret.Invalid, err)
			}
			return identity(spec).Check(endpoints)
		},
		Generate: func(ctx context.Context, spec *v1alpha1.STSSessionTokenSpec, env provider.Env) (generator.Output, error) {
			session, err := awsidentity.Open(ctx, identity(spec), endpoints, env)
			if err != nil {
				return generator.Output{}, err
			}
			got, err := ask(ctx, session, spec.RequestParameters)
			env.Observe("GetSessionToken", err)
			if err != nil {
				return generator.Output{}, err
			}
			return output(got)
		},
	})
}

func check(asked *v1alpha1.RequestParameters) error {
	if asked == nil {
		return nil
	}
	if d := asked.SessionDuration; d != nil && (*d < shortest || *d > longest) {
		return fmt.Errorf("spec.requestParameters.sessionDuration: must be %d to %d seconds", shortest, longest)
	}
	if (aws.ToString(asked.SerialNumber) == "") != (aws.ToString(asked.TokenCode) == "") {
		return errTogether
	}
	return nil
}

func identity(spec *v1alpha1.STSSessionTokenSpec) awsidentity.Spec {
	return awsidentity.Spec{Provider: kind, Field: "spec", AuthField: "spec.auth", Region: spec.Region, Role: spec.Role, Auth: spec.Auth}
}

func ask(ctx context.Context, s *awsidentity.Session, asked *v1alpha1.RequestParameters) (*types.Credentials, error) {
	client := sts.NewFromConfig(s.Config, func(o *sts.Options) {
		if s.Endpoints.STS != nil {
			o.BaseEndpoint = s.Endpoints.STS
		}
	})
	in := &sts.GetSessionTokenInput{}
	if asked != nil {
		in.DurationSeconds = asked.SessionDuration
		if aws.ToString(asked.SerialNumber) != "" {
			in.SerialNumber, in.TokenCode = asked.SerialNumber, asked.TokenCode
		}
	}
	out, err := client.GetSessionToken(ctx, in)
	if awsidentity.Refused(err) {
		return nil, fail(secret.Denied, errDenied)
	}
	if err != nil {
		return nil, s.Fail(op, secret.Ref{}, err)
	}
	return out.Credentials, nil
}

func output(c *types.Credentials) (generator.Output, error) {
	if c == nil || c.AccessKeyId == nil || c.SecretAccessKey == nil || c.SessionToken == nil || c.Expiration == nil {
		return generator.Output{}, fail(secret.Internal, errStrange)
	}
	return generator.Output{
		Values: map[string]secret.Value{
			"access_key_id":     secret.FromString(*c.AccessKeyId),
			"secret_access_key": secret.FromString(*c.SecretAccessKey),
			"session_token":     secret.FromString(*c.SessionToken),
			"expiration":        secret.FromString(strconv.FormatInt(c.Expiration.Unix(), 10)),
		},
		Life: generator.Life{Expires: *c.Expiration},
	}, nil
}

func fail(k secret.Kind, err error) error {
	return &secret.Error{Kind: k, Op: op, Provider: kind, Err: err}
}
