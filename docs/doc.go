// Package docs holds the documentation, and the tests that keep it true: every
// manifest in it and in examples is taken by a real API server, the table of flags
// is that of the command, and every metric is named.
//
// It is tests alone and must not hold code that others call. After a flag changed:
//
//	go test ./docs -run Flags -update
package docs
