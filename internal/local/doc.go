// Package local runs ExternalSecrets without Kubernetes: manifests in, files out.
//
// Manifests is the cluster's part of the input, read from YAML; Surroundings gives
// stores the Secrets and ConfigMaps in it; Output is a folder, or a stream, in the
// place of the API server; Engine makes one pass over ExternalSecrets, and Keeper
// goes on doing so when they are due or something changed. What should be written is
// decided by package plan, as in a cluster. It must not import a provider, a
// controller or a client library, and prints nothing: it reports.
//
// Values leave it in two ways: to the folder or stream of an Output, and to the
// store that a credential opens.
//
//	m, err := local.Load(local.Input{Paths: []string{"app.yaml"}})
//	out, err := local.Open(local.Options{Dir: "out", Format: local.FormatFiles})
//	engine := local.NewEngine(local.Config{Pool: pool, Templates: templates, Surroundings: s, Output: out, Clock: clock})
//	engine.Sync(ctx, m, m.ExternalSecrets, clock.Now(), report)
package local
