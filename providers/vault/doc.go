// Package vault reads and writes the KV secrets of HashiCorp Vault, and of servers
// that speak its API.
//
// It turns the manifest of a store into the Config of package vaultapi, which does
// the work. It does no I/O of its own.
//
//	registry, err := provider.NewRegistry(vault.Provider())
package vault
