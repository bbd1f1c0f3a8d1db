package vaultdynamicsecret

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/keyferry/keyferry/api/generators/v1alpha1"
	"github.com/keyferry/keyferry/generator"
	"github.com/keyferry/keyferry/internal/vaultapi"
	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/secret"
)

const (
	kind = "VaultDynamicSecret"
	spec = "spec.provider"
)

// Generator returns the generator. Its values are the members of what resultType
// names. Its Renew fails with Unsupported for what the server does not extend.
func Generator() generator.Generator {
	return generator.Define(generator.Definition[v1alpha1.VaultDynamicSecretSpec]{
		Kind: kind, Validate: validate, Generate: generate, Renew: renew, Cleanup: cleanup,
	})
}

func validate(s *v1alpha1.VaultDynamicSecretSpec) error {
	if s.Provider == nil {
		return fail(secret.Invalid, errors.New(spec+": must name a server"))
	}
	if err := vaultapi.CheckVault(spec, s.Provider); err != nil {
		return fail(secret.Invalid, err)
	}
	types := []v1alpha1.VaultDynamicSecretResultType{
		"", v1alpha1.VaultDynamicSecretResultTypeData, v1alpha1.VaultDynamicSecretResultTypeAuth, v1alpha1.VaultDynamicSecretResultTypeRaw,
	}
	switch {
	case strings.Trim(s.Path, "/") == "":
		return fail(secret.Invalid, errors.New("spec.path: must be a path of the API, such as database/creds/app"))
	case !slices.Contains(types, s.ResultType):
		return fail(secret.Invalid, errors.New("spec.resultType: must be Data, Auth or Raw"))
	}
	if _, err := parameters(s); err != nil {
		return fail(secret.Invalid, err)
	}
	if _, _, err := retries(s); err != nil {
		return fail(secret.Invalid, err)
	}
	return nil
}

func open(ctx context.Context, s *v1alpha1.VaultDynamicSecretSpec, env provider.Env) (*vaultapi.Client, error) {
	c, err := vaultapi.Vault(ctx, spec, s.Provider, env)
	if err != nil {
		return nil, err
	}
	c.Provider = kind
	return vaultapi.Open(ctx, c, env)
}

func generate(ctx context.Context, s *v1alpha1.VaultDynamicSecretSpec, env provider.Env) (generator.Output, error) {
	c, err := open(ctx, s, env)
	if err != nil {
		return generator.Output{}, err
	}
	reply, err := ask(ctx, c, s, env)
	if err != nil {
		c.Abandon(nil) // what the call may have made ends with the login
		return generator.Output{}, err
	}
	out, err := output(reply, s)
	switch {
	case err != nil:
		c.Abandon(reply.Lease)
	case !reply.Held: // else the token of the login has to live on
		c.Abandon(nil)
	}
	return out, err
}

// ask makes the call, as often as the manifest allows while the server is away or busy.
func ask(ctx context.Context, c *vaultapi.Client, s *v1alpha1.VaultDynamicSecretSpec, env provider.Env) (vaultapi.Reply, error) {
	body, err := parameters(s)
	if err != nil {
		return vaultapi.Reply{}, err
	}
	more, wait, err := retries(s)
	if err != nil {
		return vaultapi.Reply{}, err
	}
	call := vaultapi.Call{
		Field: "spec.path", Method: cmp.Or(s.Method, http.MethodGet), Path: s.Path, Query: url.Values(s.GetParameters), Body: body,
	}
	for ; ; more-- {
		reply, err := c.Ask(ctx, call)
		passing := errors.Is(err, secret.Unavailable) || errors.Is(err, secret.RateLimited)
		if !passing || more == 0 || ctx.Err() != nil {
			return reply, err
		}
		select {
		case <-env.Clock().After(max(wait, secret.RetryAfterOf(err))):
		case <-ctx.Done():
			return reply, err
		}
	}
}

// parameters are the body of a write.
func parameters(s *v1alpha1.VaultDynamicSecretSpec) (secret.Value, error) {
	if s.Parameters == nil || len(s.Parameters.Raw) == 0 {
		return secret.FromString("{}"), nil
	}
	v := secret.New(s.Parameters.Raw)
	if _, err := v.Object(); err != nil {
		return secret.Value{}, errors.New("spec.parameters: must be an object")
	}
	return v, nil
}

// retries is how often a call is repeated, and how long is waited before.
func retries(s *v1alpha1.VaultDynamicSecretSpec) (more int32, wait time.Duration, err error) {
	if s.RetrySettings == nil {
		return 0, 0, nil
	}
	if n := s.RetrySettings.MaxRetries; n != nil {
		more = *n
	}
	if more < 0 {
		return 0, 0, errors.New("spec.retrySettings.maxRetries: must not be negative")
	}
	wait = time.Second
	if text := s.RetrySettings.RetryInterval; text != nil {
		if wait, err = time.ParseDuration(*text); err != nil || wait < 0 {
			return 0, 0, errors.New("spec.retrySettings.retryInterval: must be a duration, such as 5s")
		}
	}
	return more, wait, nil
}

// output takes the values out of an answer.
func output(r vaultapi.Reply, s *v1alpha1.VaultDynamicSecretSpec) (generator.Output, error) {
	part, name := r.Data, "data"
	switch s.ResultType {
	case v1alpha1.VaultDynamicSecretResultTypeAuth:
		part, name = r.Auth, "auth"
	case v1alpha1.VaultDynamicSecretResultTypeRaw:
		part, name = r.All, "content"
	}
	out := generator.Output{Values: map[string]secret.Value{}, Life: r.Life}
	switch {
	case part.Len() == 0 && !s.AllowEmptyResponse:
		return generator.Output{}, fail(secret.Invalid, fmt.Errorf("the answer has no %s: check spec.path, spec.method and spec.resultType, or set spec.allowEmptyResponse", name))
	case part.Len() > 0:
		var members map[string]json.RawMessage
		if err := json.Unmarshal(part.Reveal(), &members); err != nil {
			return generator.Output{}, fail(secret.Invalid, fmt.Errorf("the %s of the answer is no object: set spec.resultType to Raw", name))
		}
		for key, raw := range members {
			if out.Values[key] = secret.FromJSON(raw); string(raw) == "null" {
				out.Values[key] = secret.Value{}
			}
		}
	}
	if r.Lease == nil {
		return out, nil
	}
	var err error
	out.State, err = json.Marshal(r.Lease)
	return out, err
}

func renew(ctx context.Context, s *v1alpha1.VaultDynamicSecretSpec, env provider.Env, state json.RawMessage) (generator.Life, error) {
	if len(state) == 0 {
		return generator.Life{}, fail(secret.Unsupported, errors.New("there is no lease that could be extended"))
	}
	var life generator.Life
	err := with(ctx, s, env, state, func(c *vaultapi.Client, l vaultapi.Lease) (err error) {
		life, err = c.Renew(ctx, l)
		return err
	})
	return life, err
}

func cleanup(ctx context.Context, s *v1alpha1.VaultDynamicSecretSpec, env provider.Env, state json.RawMessage) error {
	return with(ctx, s, env, state, func(c *vaultapi.Client, l vaultapi.Lease) error { return c.Revoke(ctx, l) })
}

// with does something with a lease in a session of its own.
func with(ctx context.Context, s *v1alpha1.VaultDynamicSecretSpec, env provider.Env, state json.RawMessage, do func(*vaultapi.Client, vaultapi.Lease) error) error {
	var lease vaultapi.Lease
	if err := json.Unmarshal(state, &lease); err != nil || lease == (vaultapi.Lease{}) {
		return fail(secret.Invalid, errors.New("the state names nothing that was made"))
	}
	c, err := open(ctx, s, env)
	if err != nil {
		return err
	}
	err = do(c, lease)
	c.Abandon(nil)
	return err
}

func fail(kindOf secret.Kind, err error) error {
	return &secret.Error{Kind: kindOf, Op: "generate", Provider: kind, Err: err}
}
