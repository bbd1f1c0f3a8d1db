// Package cloudsmith makes access tokens of Cloudsmith: a token of a Kubernetes service
// account is exchanged for one of a Cloudsmith service by OpenID Connect.
//
// It must not send a token of the service account that the cluster's API server would
// take: if the spec names no audience, the token is for the Cloudsmith API. Nothing is
// left to clean up: a token ends by itself.
//
//	spec:
//	  orgSlug: acme
//	  serviceSlug: puller-x1y2
//	  serviceAccountRef: {name: puller}
package cloudsmith
