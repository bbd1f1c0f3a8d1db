// Package controller puts the controllers together: caches that hold metadata where
// that is enough, the funnel on the cluster as its surroundings, the metrics server,
// probes and leader election.
//
// It decides nothing about any object; that is what the packages below it are for.
//
//	err := controller.Run(ctx, config, controller.Options{Registry: registry})
package controller
