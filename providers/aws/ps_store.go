package aws

import (
	"context"
	"errors"
	"strconv"
	"sync/atomic"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"

	esv1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	"github.com/keyferry/keyferry/internal/identity/aws"
	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/secret"
)

// parameterBatch is how many parameters one call reads.
const parameterBatch = 10

var (
	errParametersClosed = errors.New("the store is closed")
	errParameterAbsent  = errors.New("there is no such parameter in Parameter Store")
	errParameterVersion = errors.New("there is no such parameter in Parameter Store, or not this version or label of it")
	errNoParameter      = errors.New("the answer of Parameter Store has no parameter")
)

// parameters is Parameter Store, with a prefix before all names.
type parameters struct {
	*parameterCalls
	prefix string
}

// parameterCalls makes the calls of a store.
type parameterCalls struct {
	client  *ssm.Client
	session *awsidentity.Session
	env     provider.Env
	// single is true once GetParameters turned out not to be allowed.
	single atomic.Bool
	closed atomic.Bool
}

var (
	_ provider.Reader  = (*parameters)(nil)
	_ provider.Batcher = (*parameters)(nil)
	_ provider.Lister  = (*parameters)(nil)
	_ provider.Checker = (*parameters)(nil)
	_ provider.Writer  = (*parameters)(nil)
	_ provider.Deleter = (*parameters)(nil)
)

func openParameterStore(ctx context.Context, spec *esv1.AWSProvider, env provider.Env) (provider.Store, error) {
	session, err := login(ctx, spec, env)
	if err != nil {
		return nil, err
	}
	client := ssm.NewFromConfig(session.Config, func(o *ssm.Options) {
		if session.Endpoints.SSM != nil {
			o.BaseEndpoint = session.Endpoints.SSM
		}
	})
	return &parameters{&parameterCalls{client: client, session: session, env: env}, spec.Prefix}, nil
}

// Close ends the store; later calls fail with Unavailable.
func (p *parameterCalls) Close() error {
	p.closed.Store(true)
	return nil
}

// call makes one call of the API and returns what it came to in our terms.
func (p *parameterCalls) call(op, api string, ref secret.Ref, do func() error) error {
	if p.closed.Load() {
		return p.fail(secret.Unavailable, op, ref, errParametersClosed)
	}
	err := p.session.Fail(op, ref, do())
	p.env.Observe(api, err)
	return err
}

func (p *parameterCalls) fail(kind secret.Kind, op string, ref secret.Ref, err error) error {
	return &secret.Error{Kind: kind, Op: op, Provider: name, Ref: ref, Err: err}
}

// Check implements provider.Checker. That the credentials may not list parameters is
// no failure: stores that only read do not need it, and the answer proves who they are.
func (p *parameterCalls) Check(ctx context.Context) error {
	_, refused, err := p.page(ctx, "check", secret.Ref{}, &ssm.DescribeParametersInput{MaxResults: aws.Int32(1)})
	if refused {
		return nil
	}
	return err
}

// name is what Parameter Store calls the parameter of a ref.
func (p *parameters) name(ref secret.Ref) *string { return aws.String(p.prefix + ref.Key) }

// content is the value of a parameter.
func (p *parameterCalls) content(op string, ref secret.Ref, got *types.Parameter) (secret.Secret, error) {
	if got.Value == nil {
		return secret.Secret{}, p.fail(secret.Internal, op, ref, errNoParameter)
	}
	return secret.Secret{Value: secret.FromString(*got.Value), Version: parameterVersion(got.Version)}, nil
}

func parameterVersion(n int64) secret.Version { return secret.Version(strconv.FormatInt(n, 10)) }
