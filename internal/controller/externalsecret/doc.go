// Package externalsecret keeps the Secrets of ExternalSecrets in step with their
// stores: it observes, lets package plan decide, applies, and reports.
//
// A pass over an object that is not due costs nothing, one that finds nothing
// changed costs no call to the API server but the status. What an object depends on
// is watched; an event only makes the object due, and carries nothing. It must not
// import a provider or another controller.
//
//	err := externalsecret.Setup(ctx, mgr, externalsecret.Config{Pool: pool, …})
package externalsecret
