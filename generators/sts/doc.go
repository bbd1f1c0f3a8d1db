// Package sts makes session tokens of AWS: keys of an IAM user that end by themselves, with
// the rights of the user and, if asked for, the mark that a second factor was shown.
//
// It must not show a key anywhere, and it leaves nothing to clean up: nobody can end a
// session before its time.
//
//	spec:
//	  region: eu-central-1
//	  requestParameters: {sessionDuration: 3600}
//	  auth:
//	    secretRef:
//	      accessKeyIDSecretRef: {name: aws-user, key: id}
//	      secretAccessKeySecretRef: {name: aws-user, key: key}
package sts
