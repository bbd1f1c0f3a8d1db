// Package gcr makes OAuth access tokens of Google Cloud, for Artifact Registry and
// whatever else takes them.
//
// It must not use an identity that the spec does not name: the controller's own and that
// of the node are never asked for, and no file of the controller is read. Google's
// endpoints are fixed, except for the token_uri of a key, which is subject to the egress
// policy. Nothing is left to clean up: tokens end by themselves within the hour.
//
//	spec:
//	  projectID: example
//	  auth:
//	    workloadIdentity:
//	      serviceAccountRef: {name: puller}
//	      clusterLocation: europe-west1
//	      clusterName: prod
package gcr
