// Package all is the one list of the generators that a build has.
//
// It imports every generator and is imported by what assembles a program, never by
// what runs in it: those get the registry handed over. A generator that is not in the
// list is not there, and one that does not run the conformance suite, or has no page in
// docs/generator, fails the test of this package.
//
//	registry, err := all.Registry()
//	g, err := registry.Lookup("Password")
package all
