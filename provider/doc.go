// Package provider is the contract between Keyferry and a secret backend.
//
// A provider only moves bytes. Property paths, decoding, templates, ownership,
// retries, limits and caching are written once, above it. What a backend can do
// is said by the interfaces that its store implements; there are no stub methods.
// Package providertest holds every store to what is promised here.
//
// All methods of a Store may be called concurrently, end soon after their context
// does, may be repeated, and fail with a *secret.Error whose text holds neither a
// value nor a credential nor a response body.
//
//	p := provider.Define(provider.Definition[v1.FakeProvider]{
//		Name: "fake", Label: "Fake", Access: provider.ReadWrite, Open: open,
//	})
//	registry, err := provider.NewRegistry(p)
package provider
