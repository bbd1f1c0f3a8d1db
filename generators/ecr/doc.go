// Package ecr makes the login of Amazon's container registries, private and public: what a
// container runtime needs to pull and push images.
//
// It must not show a token anywhere, and it leaves nothing to clean up: a token ends
// twelve hours after it was made, and nobody can end it before.
//
//	spec:
//	  region: eu-central-1
//	  role: arn:aws:iam::111122223333:role/pull
//	  auth:
//	    jwt:
//	      serviceAccountRef: {name: puller}
package ecr
