// Package resttest puts services that are reached by fixed names on loopback, for the
// tests of generators: a World answers for all the hosts that it was given, with TLS
// and without, and brings about the faults of package providertest.
//
// It must not know a service: what one does is in the handlers of the test. A request
// to a host that the World does not have fails the test.
//
//	w := resttest.NewWorld(t, map[string]http.Handler{"api.github.com": fake})
//	generatortest.Run(t, generatortest.Harness{Transport: w.Transport, Reached: w.Reached(), …})
//	out, err := github.Generator().Generate(t.Context(), spec, w.Env(env))
package resttest
