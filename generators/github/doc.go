// Package github makes installation access tokens of a GitHub App, for github.com and
// GitHub Enterprise Server.
//
// It must not show the app's private key or a token anywhere, and it leaves nothing to
// clean up: a token ends an hour after it was made, and only whoever holds it could end
// it before.
//
//	spec:
//	  appID: "12345"
//	  installID: "678"
//	  repositories: [payments]
//	  permissions: {contents: read}
//	  auth:
//	    privateKey:
//	      secretRef: {name: github-app, key: private-key.pem}
package github
