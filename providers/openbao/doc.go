// Package openbao reads and writes the KV secrets of OpenBao.
//
// It turns the manifest of a store into the Config of package vaultapi, which does
// the work, as it does for package vault. It does no I/O of its own but reading the
// bundle of authorities to trust.
//
//	registry, err := provider.NewRegistry(openbao.Provider())
package openbao
