// Package arch holds what a linter cannot see of the architecture: which way
// imports point, over everything that is imported indirectly; that each package
// says what it is for; that what is written about the repository is there.
//
// It is tests alone and must not hold code that others call. A
// rule about imports is a line of its table:
//
//	{of: "store", never: kubernetesClients, why: "the funnel runs without Kubernetes"},
//
// .golangci.yml has the same table for direct imports, so that an editor shows it.
package arch
