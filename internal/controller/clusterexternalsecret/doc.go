// Package clusterexternalsecret keeps an ExternalSecret in each namespace that a
// ClusterExternalSecret selects.
//
// It says what a ClusterExternalSecret asks for and how its status reads; package
// fanout does the rest. It reads no secret and no store, and must not import another
// controller: what is in an ExternalSecret is that controller's work.
//
//	err := clusterexternalsecret.Setup(ctx, mgr, live, fanout.Config{Clock: clock, …})
package clusterexternalsecret
