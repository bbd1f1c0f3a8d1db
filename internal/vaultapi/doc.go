// Package vaultapi is the client that the vault and openBao providers and the
// VaultDynamicSecret generator share: login and the life of the token, reads, listings
// and writes of both versions of the KV secrets engine, leases, over plain HTTP.
//
// It retries nothing (that is the funnel's) and shows nothing of what a server
// answered: an error names the path, the field of the manifest and the way out. Of
// the process environment it uses the AWS identity alone, for the iam login of cluster
// stores. A manifest becomes a Config; nothing here asks which of them it serves.
//
//	c, err := vaultapi.Open(ctx, vaultapi.Config{
//		Provider: "vault", Spec: "spec.provider.vault",
//		Server:   "https://vault.example.com", Mount: "secret", KV: 2,
//		Auth:     vaultapi.Token("spec.provider.vault.auth.tokenSecretRef", ref),
//	}, env)
//	s, err := c.Get(ctx, secret.Ref{Key: "team/db"})
package vaultapi
