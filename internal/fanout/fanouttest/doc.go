// Package fanouttest checks what every kind of package fanout has to hold to.
//
// It must not start a controller: integration does.
//
//	fanouttest.StatusIsWrittenWhole(t, kind(nil), func(o *v1.ClusterExternalSecret) *v1.ClusterExternalSecretStatus {
//		return &o.Status
//	})
package fanouttest
