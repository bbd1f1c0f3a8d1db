package metrics

import (
	"net/http"
	"strings"
)

// RoundTripper counts the requests to the API server, by verb and resource.
func (m *Metrics) RoundTripper(next http.RoundTripper) http.RoundTripper {
	return countingTripper{next, m}
}

type countingTripper struct {
	next http.RoundTripper
	m    *Metrics
}

// RoundTrip implements http.RoundTripper.
func (t countingTripper) RoundTrip(r *http.Request) (*http.Response, error) {
	verb, resource := describe(r)
	t.m.requests.WithLabelValues(verb, resource).Inc()
	return t.next.RoundTrip(r)
}

// WrappedRoundTripper lets client-go find the transport underneath.
func (t countingTripper) WrappedRoundTripper() http.RoundTripper { return t.next }

// describe returns the Kubernetes verb of a request and its resource, with the
// subresource behind a slash.
func describe(r *http.Request) (verb, resource string) {
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	switch {
	case parts[0] == "api" && len(parts) > 2:
		parts = parts[2:]
	case parts[0] == "apis" && len(parts) > 3:
		parts = parts[3:]
	default:
		return "discover", "-"
	}
	if parts[0] == "namespaces" && len(parts) > 2 {
		parts = parts[2:]
	}
	resource = parts[0]
	if len(parts) > 2 {
		resource += "/" + parts[2]
	}
	switch {
	case r.Method == http.MethodPost:
		return "create", resource
	case r.Method == http.MethodPut:
		return "update", resource
	case r.Method != http.MethodGet:
		return strings.ToLower(r.Method), resource
	case r.URL.Query().Get("watch") != "":
		return "watch", resource
	case len(parts) == 1:
		return "list", resource
	}
	return "get", resource
}
