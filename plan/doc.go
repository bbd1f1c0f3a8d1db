// Package plan decides. From an ExternalSecret, what its stores answered and
// what exists in the cluster it computes what should be fetched, when, and which
// object should be written: without I/O, without a clock (the time is a
// parameter) and without logging, so that every decision is tested in
// microseconds and the controller and the command line decide alike.
//
// It must not import a client library, reach a store or print a value. Its
// errors carry a secret.Kind, name the field of the spec and hold no value.
//
//	sources, err := plan.Sources(&es.Spec)             // what to read
//	// … the store layer answers …
//	data, err := plan.Collect(ctx, engine, &es.Spec, sources, answers)
//	action, err := plan.Apply(ctx, plan.Target{Object: es, Data: data, Engine: engine, Existing: live})
//	// action.Verb says what to write, action.Ready what to report.
package plan
