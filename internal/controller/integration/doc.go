// Package integration holds the controllers to their behaviour on the real API
// server: objects go in, and Secrets, conditions, events, metrics and calls to the
// stores are what is looked at.
//
// It has tests alone. Each runs a controller of its own, limited to a namespace and
// a controller class of its own, on the control plane that all of them share, and
// reads from a backend whose content, faults and calls the test steers:
//
//	k := start(t)
//	k.backend.set("db", "s3cret")
//	k.store("main", steered)
//	k.externalSecret("app", `{secretStoreRef: {name: main}, data: [{secretKey: p, remoteRef: {key: db}}]}`)
//	k.awaitData("app", map[string]string{"p": "s3cret"})
//
// Nothing sleeps: what happens is awaited, and that nothing happens is shown by a
// later event that has been dealt with. A clock that jumps stands for the hours
// between refreshes. It must not test what package plan decides alone.
package integration
