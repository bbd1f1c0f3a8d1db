package vaultapi

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	esv1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	"github.com/keyferry/keyferry/provider"
)

// Vault returns the Config of a manifest that CheckVault accepts, less the name of the
// provider. It reads what secures the connection and fails as Secret does.
func Vault(ctx context.Context, spec string, s *esv1.VaultProvider, env provider.Env) (Config, error) {
	auth, err := vaultMethod(spec+".auth", s.Auth)
	if err != nil {
		return Config{}, err
	}
	tls, err := transport(ctx, spec, s, env)
	if err != nil {
		return Config{}, err
	}
	namespace := value(s.Namespace)
	authNamespace := namespace
	if s.Auth.Namespace != nil {
		authNamespace = *s.Auth.Namespace
	}
	return Config{
		Spec: spec, Server: s.Server, TLS: tls, Namespace: namespace, Headers: s.Headers,
		ForwardInconsistent: s.ForwardInconsistent, ReadYourWrites: s.ReadYourWrites,
		Mount: value(s.Path), KV: kv(s.Version),
		Auth: auth, AuthNamespace: authNamespace,
	}, nil
}

// transport reads what secures the connection. The certificate of auth.cert takes
// the place of that of tls: the server knows the client by it.
func transport(ctx context.Context, spec string, s *esv1.VaultProvider, env provider.Env) (provider.TLS, error) {
	ca, err := CA(ctx, env, spec+".caProvider", s.CABundle, s.CAProvider)
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
	pem, err := Secret(fields[0], *cert)(ctx, env)
	if err != nil {
		return provider.TLS{}, err
	}
	t.Cert = pem.Reveal()
	t.Key, err = Secret(fields[1], *key)(ctx, env)
	return t, err
}

// CheckVault tells why a manifest cannot work; spec is its place, for errors. It does
// no I/O.
func CheckVault(spec string, s *esv1.VaultProvider) error {
	if err := CheckAddress(spec, s.Server, value(s.Path), s.Headers); err != nil {
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
	if err := checkTLS(spec+".tls", s.ClientTLS); err != nil {
		return err
	}
	_, err := vaultMethod(spec+".auth", s.Auth)
	return err
}

func checkTLS(field string, t esv1.VaultClientTLS) error {
	switch {
	case t.CertSecretRef == nil && t.KeySecretRef == nil:
		return nil
	case t.CertSecretRef == nil || t.KeySecretRef == nil:
		return errors.New(field + ": certSecretRef and keySecretRef belong together: name both")
	}
	return cmp.Or(CheckRef(field+".certSecretRef", *t.CertSecretRef), CheckRef(field+".keySecretRef", *t.KeySecretRef))
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
