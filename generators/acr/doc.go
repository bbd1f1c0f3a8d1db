// Package acr makes tokens of Azure container registries: an identity gets a token of
// Entra ID, the registry exchanges it for a refresh token, and with a scope that for an
// access token.
//
// It must not use an identity that the spec does not name: the controller's own is
// never asked for. A managed identity is that of the node; the egress policy refuses the
// address that hands it out unless an administrator allows it. Nothing is left to clean
// up: tokens end by themselves.
//
//	spec:
//	  registry: example.azurecr.io
//	  scope: repository:app:pull
//	  auth:
//	    workloadIdentity:
//	      serviceAccountRef: {name: puller}
package acr
