package vault

import (
	"context"

	esv1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	"github.com/keyferry/keyferry/internal/vaultapi"
	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/secret"
)

const (
	name = "vault"
	spec = "spec.provider.vault"
)

// Provider returns the provider. Its stores are a Reader, a Lister, a Checker, a
// Writer and a Deleter; they log in with their first call, and Close revokes what
// they logged in for.
func Provider() provider.Provider {
	return provider.Define(provider.Definition[esv1.VaultProvider]{
		Name: name, Label: "HashiCorp/Vault", Access: provider.ReadWrite, Flat: true,
		Validate: func(s *esv1.VaultProvider) error {
			if err := vaultapi.CheckVault(spec, s); err != nil {
				return &secret.Error{Kind: secret.Invalid, Op: "open", Provider: name, Err: err}
			}
			return nil
		},
		Open: func(ctx context.Context, s *esv1.VaultProvider, env provider.Env) (provider.Store, error) {
			c, err := vaultapi.Vault(ctx, spec, s, env)
			if err != nil {
				return nil, err
			}
			c.Provider = name
			return vaultapi.Open(ctx, c, env)
		},
	})
}
