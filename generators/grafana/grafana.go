package grafana

import (
	"cmp"
	"context"
	"encoding/json"
	"net/url"
	"time"

	"github.com/keyferry/keyferry/api/generators/v1alpha1"
	"github.com/keyferry/keyferry/generator"
	"github.com/keyferry/keyferry/internal/restapi"
	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/secret"
)

const (
	kind          = "Grafana"
	tokenField    = "spec.auth.token"
	passwordField = "spec.auth.basic.password"
)

// Generator returns the generator of kind Grafana. It makes "login" and "token"; Cleanup
// deletes the token, and the service account if it was made here and has no other.
func Generator() generator.Generator {
	return generator.Define(generator.Definition[v1alpha1.GrafanaSpec]{
		Kind: kind, Validate: validate, Generate: generate, Cleanup: cleanup,
	})
}

// state says which token was made. Its names are those of ESO, so that either cleans up
// what the other left.
type state struct {
	ServiceAccount stateAccount `json:"serviceAccount"`
}

type stateAccount struct {
	ID      int64  `json:"id"`
	Login   string `json:"login"`
	TokenID int64  `json:"tokenID"`
}

func validate(spec *v1alpha1.GrafanaSpec) error {
	if _, err := address(spec); err != nil {
		return err
	}
	return cmp.Or(
		restapi.Required(kind, "spec.serviceAccount.name", spec.ServiceAccount.Name, "it is what the service account is called in Grafana"),
		restapi.Required(kind, "spec.serviceAccount.role", spec.ServiceAccount.Role, "set it to None, Viewer, Editor or Admin"),
		validateAuth(spec.Auth),
	)
}

func validateAuth(auth v1alpha1.GrafanaAuth) error {
	switch {
	case auth.Token != nil:
		return restapi.Selector(kind, tokenField, auth.Token.Name, auth.Token.Key)
	case auth.Basic != nil:
		return cmp.Or(
			restapi.Required(kind, "spec.auth.basic.username", auth.Basic.Username, "set it to the name of a user"),
			restapi.Selector(kind, passwordField, auth.Basic.Password.Name, auth.Basic.Password.Key),
		)
	}
	return restapi.Invalid(kind, "spec.auth", "is empty: set token or basic")
}

func address(spec *v1alpha1.GrafanaSpec) (*url.URL, error) {
	base, err := restapi.Endpoint(kind, "spec.url", spec.URL)
	if err != nil {
		return nil, err
	}
	return base.JoinPath("api", "serviceaccounts"), nil
}

func generate(ctx context.Context, spec *v1alpha1.GrafanaSpec, env provider.Env) (out generator.Output, err error) {
	s, err := open(ctx, spec, env)
	if err != nil {
		return generator.Output{}, err
	}
	a, t, err := s.issue(ctx, spec)
	if err != nil {
		return generator.Output{}, err
	}
	out.Values = map[string]secret.Value{"login": secret.FromString(a.Login), "token": secret.FromString(t.Key)}
	if life := spec.ServiceAccount.SecondsToLive; life != nil {
		out.Life.Expires = env.Clock().Now().Add(time.Duration(*life) * time.Second)
	}
	out.State, err = json.Marshal(state{stateAccount{ID: a.ID, Login: a.Login, TokenID: t.ID}})
	return out, err
}

func cleanup(ctx context.Context, spec *v1alpha1.GrafanaSpec, env provider.Env, raw json.RawMessage) error {
	var left state
	if err := json.Unmarshal(raw, &left); err != nil {
		return restapi.Invalid(kind, "state", "is not that of a service account's token")
	}
	if left.ServiceAccount.ID == 0 || left.ServiceAccount.TokenID == 0 {
		return nil
	}
	s, err := open(ctx, spec, env)
	if err != nil {
		return err
	}
	return s.end(ctx, account{ID: left.ServiceAccount.ID}, func(t token) bool { return t.ID == left.ServiceAccount.TokenID })
}

// open reads the credential; nobody is asked yet.
func open(ctx context.Context, spec *v1alpha1.GrafanaSpec, env provider.Env) (*session, error) {
	client, err := restapi.New(env, kind)
	if err != nil {
		return nil, err
	}
	s := &session{client: client}
	if s.base, err = address(spec); err != nil {
		return nil, err
	}
	if t := spec.Auth.Token; t != nil {
		v, err := env.Credential(ctx, provider.CredentialRef{Name: t.Name, Key: t.Key, Field: tokenField})
		s.header = restapi.Header(v)
		return s, err
	}
	b := spec.Auth.Basic
	v, err := env.Credential(ctx, provider.CredentialRef{Name: b.Password.Name, Key: b.Password.Key, Field: passwordField})
	s.header = map[string][]string{"Authorization": {"Basic " + restapi.Basic(b.Username, v)}}
	return s, err
}
