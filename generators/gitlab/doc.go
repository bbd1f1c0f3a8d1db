// Package gitlab makes deploy tokens of GitLab projects and groups.
//
// A deploy token lives until it is deleted or its expires_at is over, so every one that
// was made is named in the state, and Cleanup deletes it. It must not show a token, and
// it deletes none that it did not make.
//
//	spec:
//	  projectID: "42"
//	  name: registry-reader
//	  scopes: [read_registry]
//	  auth:
//	    token:
//	      secretRef: {name: gitlab, key: token}
package gitlab
