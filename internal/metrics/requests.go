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
	parts := resourcePath(r.URL.Path)
	if parts == nil {
		return "discover", "-"
	}
	resource = parts[0]
	if len(parts) > 2 {
		resource += "/" + parts[2]
	}
	return verbOf(r, len(parts) > 1), resource
}

// resourcePath returns what follows group, version and namespace: resource, name and
// subresource. It is nil for a path that names no resource.
func resourcePath(path string) []string {
	parts := strings.Split(strings.Trim(path, "/"), "/")
	switch {
	case parts[0] == "api" && len(parts) > 2:
		parts = parts[2:]
	case parts[0] == "apis" && len(parts) > 3:
		parts = parts[3:]
	default:
		return nil
	}
	if parts[0] == "namespaces" && len(parts) > 2 && parts[2] != "status" && parts[2] != "finalize" {
		parts = parts[2:]
	}
	return parts
}

func verbOf(r *http.Request, named bool) string {
	switch r.Method {
	case http.MethodPost:
		return "create"
	case http.MethodPut:
		return "update"
	case http.MethodGet:
		if watch := r.URL.Query().Get("watch"); watch == "true" || watch == "1" {
			return "watch"
		}
		if !named {
			return "list"
		}
	}
	return strings.ToLower(r.Method)
}
