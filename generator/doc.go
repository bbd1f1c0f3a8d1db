// Package generator is the contract between Keyferry and what makes credentials:
// passwords, keys, tokens of a service, leases of Vault.
//
// A generator makes values and knows how to extend and to end them. When that
// happens, where the values go and what is remembered of them is decided above it.
// Two calls share nothing: a generator keeps no state between them, and what Cleanup
// or Renew needs to know is in the State of the output, which holds no secret value.
// Package generatortest holds every generator to what is promised here.
//
// All functions may be called concurrently, end soon after their context does, and
// fail with a *secret.Error whose text holds neither a value nor a credential nor a
// response body.
//
//	g := generator.Define(generator.Definition[v1alpha1.UUIDSpec]{Kind: "UUID", Generate: generate})
//	registry, err := generator.NewRegistry(g)
package generator
