// Package integration runs the controllers of ClusterExternalSecret and
// ClusterPushSecret against a real API server and counts what they ask of it. It has
// nothing but tests.
//
// All tests share one control plane; each has its own controllers, which see the
// cluster-wide objects that bear the label of the test, and its own namespaces. It
// must not wait for time to pass: what is awaited is a state of the cluster.
//
//	go test ./internal/fanout/integration
package integration
