package vault

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
	name = "vault"
	spec = "spec.provider.vault"
)

// Provider returns the provider. Its stores are a Reader, a Lister and a Checker;
// they log in with their first call, and Close revokes what they logged in for.
func Provider() provider.Provider {
	return provider.Define(provider.Definition[esv1.VaultProvider]{
		Name: name, Label: "HashiCorp/Vault", Access: provider.ReadOnly,
		Validate: func(s *esv1.VaultProvider) error {
			if err := validate(s); err != nil {
				return &secret.Error{Kind: secret.Invalid, Op: "open", Provider: name, Err: err}
			}
			return nil
		},
		Open: open,
	})
}

func open(ctx context.Context, s *esv1.VaultProvider, env provider.Env) (provider.Store, error) {
	auth, err := method(s.Auth)
	if err != nil {
		return nil, err
	}
	tls, err := transport(ctx, s, env)
	if err != nil {
		return nil, err
	}
	namespace := value(s.Namespace)
	authNamespace := namespace
	if s.Auth.Namespace != nil {
		authNamespace = *s.Auth.Namespace
	}
	return vaultapi.Open(ctx, vaultapi.Config{
		Provider: name, Spec: spec, Server: s.Server, TLS: tls,
		Namespace: namespace, Headers: s.Headers,
		ForwardInconsistent: s.ForwardInconsistent, ReadYourWrites: s.ReadYourWrites,
		Mount: value(s.Path), KV: kv(s.Version),
		Auth: auth, AuthNamespace: authNamespace,
	}, env)
}

// transport reads what secures the connection. The certificate of auth.cert takes
// the place of that of tls: the server knows the client by it.
func transport(ctx context.Context, s *esv1.VaultProvider, env provider.Env) (provider.TLS, error) {
	ca, err := vaultapi.CA(ctx, env, spec+".caProvider", s.CABundle, s.CAProvider)
	if err != nil {
		return provider.TLS{}, err
	}
	t := provider.TLS{CA: ca}
	cert, key, fields := s.ClientTLS.CertSecretRef, s.ClientTLS.KeySecretRef, [2]string{spec + ".tls.certSecretRef", spec + ".tls.keySecretRef"}
	if a := s.Auth.Cert; a != nil {
		cert, key, fields = &a.ClientCert, &a.SecretRef, [2]string{spec + ".auth.cert.clientCert", spec + ".auth.cert.secretRef"}
	}
	if cert == nil {
		return t, nil
	}
	pem, err := vaultapi.Secret(fields[0], *cert)(ctx, env)
	if err != nil {
		return provider.TLS{}, err
	}
	t.Cert = pem.Reveal()
	t.Key, err = vaultapi.Secret(fields[1], *key)(ctx, env)
	return t, err
}

func validate(s *esv1.VaultProvider) error {
	if err := vaultapi.CheckAddress(spec, s.Server, value(s.Path), s.Headers); err != nil {
		return err
	}
	switch s.Version {
	case "", esv1.VaultKVStoreV2:
	case esv1.VaultKVStoreV1:
		if s.CheckAndSet != nil && s.CheckAndSet.Required {
			return errors.New(spec + ".checkAndSet.required: KV v1 has no check-and-set: use version v2 or remove it")
		}
	default:
		return fmt.Errorf("%s.version: must be v1 or v2", spec)
	}
	if p := s.CAProvider; p != nil && (p.Name == "" || p.Key == "") {
		return errors.New(spec + ".caProvider: must have a name and a key")
	}
	if err := validateTLS(s.ClientTLS); err != nil {
		return err
	}
	_, err := method(s.Auth)
	return err
}

func validateTLS(t esv1.VaultClientTLS) error {
	switch {
	case t.CertSecretRef == nil && t.KeySecretRef == nil:
		return nil
	case t.CertSecretRef == nil || t.KeySecretRef == nil:
		return errors.New(spec + ".tls: certSecretRef and keySecretRef belong together: name both")
	}
	return cmp.Or(vaultapi.CheckRef(spec+".tls.certSecretRef", *t.CertSecretRef), vaultapi.CheckRef(spec+".tls.keySecretRef", *t.KeySecretRef))
}

func kv(v esv1.VaultKVStoreVersion) int {
	if v == esv1.VaultKVStoreV1 {
		return 1
	}
	return 2
}

func value(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
