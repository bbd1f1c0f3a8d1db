// Package webhook makes values by asking any HTTP service for them: the manifest says
// with templates what to ask, and the answer is a JSON object, or has one where a JSON
// path says.
//
// It must not send a Secret that does not carry the label
// external-secrets.io/type=webhook, and must not show an answer, a header or a URL in an
// error. Nothing is cleaned up: what the service made is the service's to end.
//
//	spec:
//	  url: "https://tokens.example.com/new"
//	  method: POST
//	  headers:
//	    Authorization: "Bearer {{ .auth.token }}"
//	  result:
//	    jsonPath: $.credentials
//	  secrets:
//	  - name: auth
//	    secretRef: {name: tokens, key: token}
package webhook
