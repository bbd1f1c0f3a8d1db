// Package quay makes tokens of Quay robot accounts that are federated with a Kubernetes
// service account, for quay.io and for Quay on premises.
//
// It must not send a token of the service account that the cluster's API server would
// take: if the spec names no audience, the token is for the registry. Nothing is left
// to clean up: a token ends by itself within the hour.
//
//	spec:
//	  robotAccount: team+puller
//	  serviceAccountRef: {name: puller}
package quay
