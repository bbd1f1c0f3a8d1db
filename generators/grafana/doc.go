// Package grafana makes tokens of Grafana service accounts, and the account if there is
// none of that name.
//
// It must not touch an account that it did not make, other than to add a token and to
// delete that token again. An account that it made has a token that says so, whose key
// nobody has and which has expired; such an account goes with its last other token.
//
//	spec:
//	  url: https://grafana.example.com
//	  serviceAccount: {name: dashboards, role: Viewer}
//	  auth:
//	    token: {name: grafana-admin, key: token}
package grafana
