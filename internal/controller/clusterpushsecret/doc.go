// Package clusterpushsecret keeps a PushSecret in each namespace that a
// ClusterPushSecret selects.
//
// It says what a ClusterPushSecret asks for and how its status reads; package fanout
// does the rest. It reads no secret and writes to no store, and must not import
// another controller: what is in a PushSecret is that controller's work.
//
//	err := clusterpushsecret.Setup(ctx, mgr, live, fanout.Config{Clock: clock, …})
package clusterpushsecret
