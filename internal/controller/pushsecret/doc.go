// Package pushsecret keeps external stores in step with the Secrets that PushSecrets
// select: it observes, lets package plan decide, writes through the funnel, and
// reports.
//
// What a PushSecret depends on is watched, so that a rotation arrives at once; an
// event only makes the object due. What has been, or may have been, written is in the
// status before it is written, so that it can be deleted whatever happens. It must
// not import a provider or another controller.
//
//	err := pushsecret.Setup(ctx, mgr, live, pushsecret.Config{Pool: pool, …})
package pushsecret
