// Package testenv is the one door to real servers for tests, demos and benchmarks:
// a Kubernetes control plane (test/cluster) and OpenBao (test/openbao).
//
// A test asks for the server that all tests of its process share:
//
//	cluster := testenv.Cluster(t)
//	client, err := kubernetes.NewForConfig(cluster.Config())
//	namespace := cluster.Namespace(t)
//
//	bao := testenv.OpenBao(t) // KV v2 at secret/, KV v1 at kv1/
//	_, err = bao.Do(t.Context(), "POST", "secret/data/db", map[string]any{"data": map[string]string{"user": "u"}})
//
// or, to stop it, kill it or fill it, for one of its own: StartCluster, StartOpenBao.
// Whatever has no test to live in uses NewControlPlane and NewBao. All of them end
// with the process that started them, however it ends.
//
// The binaries are built when they are missing, minutes the first time, and kept
// in $KEYFERRY_CACHE or keyferry in the user's cache folder, under the hash of
// their sources. It must be called from inside the checkout, never from a
// synctest bubble, and never by the product.
package testenv
