package openbao

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	esv1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	"github.com/keyferry/keyferry/internal/vaultapi"
	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/secret"
)

const (
	name = "openBao"
	spec = "spec.provider.openBao"
	auth = spec + ".auth"
)

// Provider returns the provider. Its stores are a Reader, a Lister, a Checker, which
// looks at the mount too, a Writer and a Deleter; they log in with their first call,
// and Close revokes what they logged in for.
func Provider() provider.Provider {
	return provider.Define(provider.Definition[esv1.OpenBaoProvider]{
		Name: name, Label: "OpenBao", Access: provider.ReadWrite, Flat: true,
		Validate: func(s *esv1.OpenBaoProvider) error {
			if err := validate(s); err != nil {
				return &secret.Error{Kind: secret.Invalid, Op: "open", Provider: name, Err: err}
			}
			return nil
		},
		Open: open,
	})
}

func open(ctx context.Context, s *esv1.OpenBaoProvider, env provider.Env) (provider.Store, error) {
	auth, err := method(s.Auth)
	if err != nil {
		return nil, err
	}
	ca, err := vaultapi.CA(ctx, env, spec+".caProvider", s.CABundle, s.CAProvider)
	if err != nil {
		return nil, err
	}
	c := vaultapi.Config{
		Provider: name, Spec: spec, Server: s.Server, TLS: provider.TLS{CA: ca},
		Namespace: value(s.Namespace), Mount: value(s.Path), KV: 2, CheckMount: true,
		Auth: auth, AuthNamespace: value(s.Namespace),
	}
	if s.Version == esv1.OpenBaoKVStoreV1 {
		c.KV = 1
	}
	if s.Auth.Namespace != nil {
		c.AuthNamespace = *s.Auth.Namespace
	}
	return vaultapi.Open(ctx, c, env)
}

func validate(s *esv1.OpenBaoProvider) error {
	if err := vaultapi.CheckAddress(spec, s.Server, value(s.Path), nil); err != nil {
		return err
	}
	switch s.Version {
	case "", esv1.OpenBaoKVStoreV1, esv1.OpenBaoKVStoreV2:
	default:
		return fmt.Errorf("%s.version: must be v1 or v2", spec)
	}
	if p := s.CAProvider; p != nil {
		switch {
		case len(s.CABundle) > 0:
			return errors.New(spec + ".caBundle and " + spec + ".caProvider are alternatives: keep one")
		case p.Name == "" || p.Key == "":
			return errors.New(spec + ".caProvider: must have a name and a key")
		}
	}
	_, err := method(s.Auth)
	return err
}

// method returns the one auth method of a manifest.
func method(a *esv1.OpenBaoAuth) (vaultapi.Method, error) {
	if a == nil {
		a = &esv1.OpenBaoAuth{}
	}
	var all []vaultapi.Method
	if a.TokenSecretRef != nil {
		all = append(all, vaultapi.Token(auth+".tokenSecretRef", *a.TokenSecretRef))
	}
	switch r := a.AppRole; {
	case r == nil:
	case r.RoleID != "" && r.RoleRef != nil:
		all = append(all, vaultapi.Refused(auth+".appRole", "roleId and roleRef are alternatives: keep one"))
	default:
		all = append(all, vaultapi.AppRole(auth+".appRole", esv1.VaultAppRole(*r)))
	}
	if u := a.UserPass; u != nil {
		all = append(all, vaultapi.Password(auth+".userPass", cmp.Or(u.Path, "userpass"), u.Username, u.SecretRef))
	}
	return vaultapi.Choose(auth, all)
}

func value(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
