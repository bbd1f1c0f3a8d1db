// Package kubernetes is the provider "kubernetes": it reads and writes the
// Secrets of one namespace, of this cluster or of another one.
//
// It speaks HTTP on the transport of its Env instead of using client-go, which
// would repeat calls below the funnel and, at high verbosity, log what servers
// answer. It must not read a namespace other than remoteNamespace, nor write to one
// unless the metadata of a push through a cluster store names it; not watch, cache, or
// let a 404 that is not the API server's own pass for a missing secret. A Secret that
// another object controls is never written to, and one without our mark never deleted.
//
//	spec := &esv1.KubernetesProvider{
//		RemoteNamespace: "shared",
//		Auth: &esv1.KubernetesAuth{ServiceAccount: &esmeta.ServiceAccountSelector{Name: "reader"}},
//	}
//	store, err := kubernetes.Provider().Open(ctx, spec, env)
//	got, err := store.(provider.Reader).Get(ctx, secret.Ref{Key: "db"}) // got.Fields["password"]
package kubernetes
