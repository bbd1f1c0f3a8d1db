// Package vaultdynamicsecret asks HashiCorp Vault, OpenBao, and what speaks their API
// for secrets that they make: database logins, certificates, tokens.
//
// What was made mostly ends with the token that asked for it. So the token of a login
// is not revoked while what it made is in use: it is renewed together with the lease,
// and revoked together with it. The package must not keep a token itself: its state
// has IDs and accessors alone.
//
//	registry, err := generator.NewRegistry(vaultdynamicsecret.Generator())
package vaultdynamicsecret
