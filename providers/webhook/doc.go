// Package webhook reads secrets from any HTTP service, and writes them there: the
// manifest says with templates what to ask and send, and with a JSON path where in the
// answer the value is.
//
// It must not send a Secret that does not carry the label
// external-secrets.io/type=webhook, must not let a remote reference choose the
// host, and must not show an answer, a header or a URL in an error. It does not
// list: an HTTP service has no common way to. It does not check credentials:
// that cannot be told without asking for a secret. It cannot tell whose a secret is, nor
// that somebody else writes at the same time.
//
//	provider:
//	  webhook:
//	    url: "https://vault.example/v1/{{ .remoteRef.key }}"
//	    headers:
//	      Authorization: "Bearer {{ .auth.token }}"
//	    result:
//	      jsonPath: "$.data.{{ .remoteRef.property }}"
//	    secrets:
//	    - name: auth
//	      secretRef: {name: vault-token, key: token}
package webhook
