// Package store is the funnel: every call to a secret backend goes through it.
//
// It opens stores and keeps them by identity, decides what a store may read of its
// surroundings (the namespace rule, in one place), lets callers that want the same
// key share one read, limits what runs at once, stops calling a backend that
// refuses or fails, retries what is worth it, and counts. It knows no provider, no
// Kubernetes client and no template; what a secret means is decided above it.
//
//	pool := store.New(store.Config{Registry: registry, Surroundings: cluster, Clock: clock})
//	defer pool.Close()
//	answers := pool.Read(ctx, place, []secret.Ref{{Key: "db"}}, since)
//
// A read may be answered by one that another caller began, if that one began at or
// after since. A caller that must see the store as it is now passes the present.
package store
