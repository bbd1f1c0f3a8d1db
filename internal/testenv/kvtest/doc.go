// Package kvtest holds providers of KV engines to the contract on a real OpenBao: it makes
// the server, its users and the Harness of package providertest, and the test says how a
// store is opened.
//
// It must not know a provider, and reads and writes past them as root.
//
//	providertest.Run(t, kvtest.V2(t, func(ctx context.Context, l kvtest.Login, env provider.Env) (provider.Store, error) {
//		return Provider().Open(ctx, specFor(l), env)
//	}))
package kvtest
