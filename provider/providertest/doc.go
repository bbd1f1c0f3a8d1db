// Package providertest is the conformance suite that every provider passes, and the
// Env that provider tests use.
//
// The suite knows no backend. A Harness says how to fill one, how to open a store on
// it with good, wrong and weak credentials, how to make it fail, and what its stores
// can do; what the backend cannot do is named with a reason that the test prints.
// Of stores that write, it looks into the backend past them to see what they did.
// Every error that the suite sees is also searched for the values and credentials
// that were in play. It must not be made lenient for one backend: a store that does
// not pass breaks a promise of package provider.
//
//	providertest.Run(t, providertest.Harness{
//		Env: env, Open: open, Seed: seed, Delete: remove,
//		Abilities: []providertest.Ability{providertest.Reader, providertest.Lister},
//		Page:      500,
//		Reached:   proxy.Reached(),
//		Without:   map[string]string{"get/empty value": "the backend refuses it"},
//	})
package providertest
