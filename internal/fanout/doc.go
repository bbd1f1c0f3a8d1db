// Package fanout makes one cluster-wide object many: a child of it in each namespace
// that it selects, kept as the object says and deleted where it is no longer wanted.
// ClusterExternalSecret and ClusterPushSecret are two kinds of it.
//
// What is due is a pair of an object and a namespace. An event about a namespace or
// a child makes only its pairs due, a change of the object those that are not in
// order. All is compared in memory: a pair that is in order costs no call, another
// one write, and the status is written once for many. It touches no object that it
// does not control, and puts nothing on a namespace.
//
//	kind := fanout.Kind[*v1.ClusterExternalSecret, *v1.ExternalSecret]{Name: "clusterexternalsecret", …}
//	err := fanout.Setup(ctx, mgr, live, kind, fanout.Config{Clock: clock, …})
package fanout
