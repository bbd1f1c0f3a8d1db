// Package fake is the provider "fake": a store whose secrets are in its manifest.
// It is for demonstrations and tests, and the reference that other providers are
// read beside: the smallest store that keeps every promise of package provider.
//
// It does no I/O. What is written stays in the memory of the open store that took it:
// stores share nothing, also not those of one name. It must not be given real
// secrets, since whoever may read the store may read them.
//
//	spec := &esv1.FakeProvider{Data: []esv1.FakeProviderData{{Key: "greeting", Value: "hello"}}}
//	store, err := fake.Provider().Open(ctx, spec, env)
//	got, err := store.(provider.Reader).Get(ctx, secret.Ref{Key: "greeting"})
package fake
