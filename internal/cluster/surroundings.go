package cluster

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keyferry/keyferry/internal/httpx"
	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/secret"
	"github.com/keyferry/keyferry/store"
)

const defaultLifetime = 10 * time.Minute

// Surroundings implements store.Surroundings on a cluster.
type Surroundings struct {
	client           client.Client
	tenants, trusted *httpx.Clients
}

var _ store.Surroundings = (*Surroundings)(nil)

// New returns the surroundings of a cluster. The client must read from the API
// server, not from a cache. Tenants is for endpoints that a namespace names, trusted
// for those of cluster stores.
func New(c client.Client, tenants, trusted *httpx.Clients) *Surroundings {
	return &Surroundings{client: c, tenants: tenants, trusted: trusted}
}

// Load implements store.Surroundings.
func (s *Surroundings) Load(ctx context.Context, kind, namespace, name string) (store.Loaded, error) {
	key := client.ObjectKey{Namespace: namespace, Name: name}
	switch kind {
	case "Secret":
		var obj corev1.Secret
		if err := s.client.Get(ctx, key, &obj); err != nil {
			return store.Loaded{}, Error("read", err)
		}
		return store.Loaded{Data: values(obj.Data), Labels: obj.Labels, Annotations: obj.Annotations, Type: string(obj.Type), Version: obj.ResourceVersion}, nil
	case "ConfigMap":
		var obj corev1.ConfigMap
		if err := s.client.Get(ctx, key, &obj); err != nil {
			return store.Loaded{}, Error("read", err)
		}
		data := values(obj.BinaryData)
		maps.Copy(data, texts(obj.Data))
		return store.Loaded{Data: data, Labels: obj.Labels, Version: obj.ResourceVersion}, nil
	case "ServiceAccount":
		var obj corev1.ServiceAccount
		if err := s.client.Get(ctx, key, &obj); err != nil {
			return store.Loaded{}, Error("read", err)
		}
		return store.Loaded{Data: texts(obj.Annotations), Labels: obj.Labels, Version: obj.ResourceVersion}, nil
	}
	return store.Loaded{}, &secret.Error{Kind: secret.Invalid, Op: "read", Err: fmt.Errorf("kind %q: it must be Secret, ConfigMap or ServiceAccount", kind)}
}

func values(data map[string][]byte) map[string]secret.Value {
	out := make(map[string]secret.Value, len(data))
	for k, v := range data {
		out[k] = secret.New(v)
	}
	return out
}

func texts(data map[string]string) map[string]secret.Value {
	out := make(map[string]secret.Value, len(data))
	for k, v := range data {
		out[k] = secret.FromString(v)
	}
	return out
}

// Token implements store.Surroundings.
func (s *Surroundings) Token(ctx context.Context, a store.Account) (store.Issued, error) {
	lifetime := max(a.Lifetime, defaultLifetime)
	seconds := int64(lifetime / time.Second)
	audiences := a.Audiences
	if slices.Contains(audiences, provider.ClusterAudience) {
		if len(audiences) > 1 {
			return store.Issued{}, &secret.Error{Kind: secret.Invalid, Op: "token", Err: fmt.Errorf("a token for the API server has no other audience")}
		}
		audiences = nil // the API server fills in its own
	}
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: a.Namespace, Name: a.Name}}
	req := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{Audiences: audiences, ExpirationSeconds: &seconds}}
	if err := s.client.SubResource("token").Create(ctx, account, req); err != nil {
		return store.Issued{}, Error("token", err)
	}
	return store.Issued{Token: secret.FromString(req.Status.Token), Expires: req.Status.ExpirationTimestamp.Time}, nil
}

// HTTP implements store.Surroundings.
func (s *Surroundings) HTTP(t provider.TLS, trusted bool) (*http.Client, error) {
	if trusted {
		return s.trusted.Client(t)
	}
	return s.tenants.Client(t)
}

// Error gives an error of the API server its kind. Its text is the reason alone:
// messages of the API server can quote what was sent. What k8s.io/apimachinery says
// of the error, IsNotFound and the like, it says of the result too.
func Error(op string, err error) error {
	if err == nil {
		return nil
	}
	text := "the API server did not answer"
	if reason := apierrors.ReasonForError(err); reason != metav1.StatusReasonUnknown {
		text = fmt.Sprintf("the API server answered %s", reason)
	}
	out := &secret.Error{Kind: kindOf(err), Op: op, Err: reduced{text, err}}
	if seconds, ok := apierrors.SuggestsClientDelay(err); ok {
		out.RetryAfter = time.Duration(seconds) * time.Second
	}
	return out
}

// reduced is an error that can be told by what it is, under a text that may be shown.
type reduced struct {
	text  string
	whole error
}

func (r reduced) Error() string { return r.text }

func (r reduced) Unwrap() error { return r.whole }

func kindOf(err error) secret.Kind {
	switch {
	case apierrors.IsNotFound(err):
		return secret.NotFound
	case apierrors.IsForbidden(err):
		return secret.Denied
	case apierrors.IsUnauthorized(err):
		return secret.Unauthenticated
	case apierrors.IsConflict(err), apierrors.IsAlreadyExists(err):
		return secret.Conflict
	case apierrors.IsInvalid(err), apierrors.IsBadRequest(err), apierrors.IsRequestEntityTooLargeError(err):
		return secret.Invalid
	case apierrors.IsTooManyRequests(err):
		return secret.RateLimited
	}
	return secret.Unavailable
}
