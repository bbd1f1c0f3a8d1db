// Package cluster is a Kubernetes cluster as the surroundings of stores: it reads
// the Secrets and ConfigMaps that their manifests refer to, issues service account
// tokens, hands out HTTP clients, and says when something that a store read has
// changed.
//
// It holds metadata of Secrets, never their data, and decides nothing about who may
// read what: the funnel does that before it asks.
//
//	s := cluster.New(client, httpClients, clock)
//	pool := store.New(store.Config{Surroundings: s, …})
package cluster
