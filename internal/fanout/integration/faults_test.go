package integration

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	esv1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
)

// at answers so where the path of a request of that method holds a part.
func at(method, part string, status metav1.Status) func(*http.Request) *metav1.Status {
	status.Kind, status.APIVersion, status.Status = "Status", "v1", metav1.StatusFailure
	return func(req *http.Request) *metav1.Status {
		if req.Method == method && strings.Contains(req.URL.Path, part) {
			return &status
		}
		return nil
	}
}

func TestNamespaceThatFails(t *testing.T) {
	k := start(t)
	k.requests.answer(at("POST", "-b/externalsecrets", metav1.Status{Code: 503, Reason: metav1.StatusReasonServiceUnavailable}))
	a, b := k.namespace("a", k.member()), k.namespace("b", k.member())
	ces := k.ces("db", k.team())
	status := k.status(ces.Name, []string{a}, b+": Unavailable: create: the API server answered ServiceUnavailable (nothing was changed; it is tried again)")
	got := &esv1.ClusterExternalSecret{Status: status}
	if condition(got, "Reconciling").Status != "True" {
		t.Errorf("conditions are %v", status.Conditions)
	}
	k.requests.answer(nil)
	k.status(ces.Name, []string{a, b})
}

func TestWriteThatComesTooLate(t *testing.T) {
	k := start(t)
	a := k.namespace("a", k.member())
	ces := k.ces("db", k.team())
	k.status(ces.Name, []string{a})
	k.since()
	conflict, left := at("PUT", "/externalsecrets/", metav1.Status{Code: 409, Reason: metav1.StatusReasonConflict}), 3
	k.requests.answer(func(req *http.Request) *metav1.Status {
		status := conflict(req)
		if status == nil || left == 0 {
			return nil
		}
		left--
		return status
	})
	k.patch(ces, `{spec: {externalSecretSpec: {refreshInterval: 5m}}}`)
	k.await("spec", func() string { return cmp.Diff(5*time.Minute, k.child(a, ces.Name).Spec.RefreshInterval.Duration) })
	k.status(ces.Name, []string{a})
	if got := k.since(); got["PUT externalsecrets *"] != 4 {
		t.Errorf("requests are %v", got)
	}
}

// That a namespace is going can be known from the API server's answer alone.
func TestNamespaceThatGoesUnseen(t *testing.T) {
	k := start(t)
	k.requests.answer(at("POST", "-b/externalsecrets", metav1.Status{
		Code: 403, Reason: metav1.StatusReasonForbidden,
		Details: &metav1.StatusDetails{Causes: []metav1.StatusCause{{Type: corev1.NamespaceTerminatingCause}}},
	}))
	a := k.namespace("a", k.member())
	k.namespace("b", k.member())
	ces := k.ces("db", k.team())
	k.await("an attempt", func() string {
		if k.asked("POST externalsecrets") < 2 {
			return "none"
		}
		return ""
	})
	k.status(ces.Name, []string{a})
}
