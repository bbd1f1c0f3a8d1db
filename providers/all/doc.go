// Package all is the one list of the providers that a build has.
//
// It imports every provider and is imported by what assembles a program, never by
// what runs in it: those get the registry handed over. A provider that is not in
// the list is not there, and one that does not run the conformance suite fails the
// test of this package.
//
//	registry, err := all.Registry()
//	p, err := registry.Lookup("vault")
package all
