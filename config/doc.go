// Package config holds the manifests that put Keyferry into a cluster, and the tests
// that apply them to a real API server and run the controller with the rights that
// they grant.
//
// It is tests alone and must not hold code that others call. A right that the
// controller does not use is not granted; a new one in all namespaces is first added
// to the list in the test, where it is seen.
//
//	kubectl apply -k config
package config
