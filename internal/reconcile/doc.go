// Package reconcile is what all controllers share: how long to wait after which
// kind of error, what a condition says, and the events that go with it.
//
// It holds no state of any object and knows no kind of object; a controller
// observes, asks package plan, applies, and reports through this package.
//
//	wait, again := reconcile.Backoff(err, failures)
//	message := reconcile.Message(err)
package reconcile
