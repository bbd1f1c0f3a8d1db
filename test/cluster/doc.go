// Command cluster is a Kubernetes control plane in one binary, for the tests,
// demos and benchmarks of Keyferry: etcd, kube-apiserver and
// kube-controller-manager, unmodified, each in a process of its own, on loopback
// and on free ports. There are no nodes: nothing runs, everything is stored,
// authorized by RBAC, garbage collected.
//
//	cluster up --dir /tmp/demo < /dev/tty
//
// makes certificates, keys and kubeconfigs in the directory, which must be empty,
// starts the three, and prints one line of JSON once all are ready:
//
//	{"kubeconfig":"/tmp/demo/admin.kubeconfig","server":"https://127.0.0.1:20001","pids":{"etcd":1,"apiserver":2,"controllerManager":3}}
//
// A component that dies is started again on its port, and the line is printed
// again once it is ready. SIGTERM, SIGINT or the end of standard input ends all of
// them: a parent that holds the other end of a pipe leaves nothing behind, however
// it dies. What the components log is in the directory.
//
// It does not keep data for a second start, and must not be reachable from
// elsewhere: etcd does not sync to disk and the administrator's key is in a file.
package main
