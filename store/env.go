package store

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/secret"
)

// Surroundings is where stores run: a cluster, or a set of files.
type Surroundings interface {
	// Load returns a Secret or ConfigMap, or the annotations of a ServiceAccount. It fails with NotFound if there is none.
	Load(ctx context.Context, kind, namespace, name string) (Loaded, error)
	// Token issues a token for a service account and says when it ends. It fails
	// with Unsupported where there are no service accounts.
	Token(ctx context.Context, req Account) (Issued, error)
	// HTTP returns a client for a store; trusted is true if an administrator names
	// the endpoint.
	HTTP(tls provider.TLS, trusted bool) (*http.Client, error)
}

// Loaded is a Secret or ConfigMap as it was read.
type Loaded struct {
	Data                map[string]secret.Value
	Labels, Annotations map[string]string
	// Type is that of a Secret.
	Type    string
	Version string
}

// Account is the service account a token is for.
type Account struct {
	Namespace, Name string
	Audiences       []string
	Lifetime        time.Duration
}

// Issued is a token and its end.
type Issued struct {
	Token   secret.Value
	Expires time.Time
}

// Dependency is an object that a store read, and the version it saw: empty if the
// object was not there.
type Dependency struct {
	Kind, Namespace, Name string
	Version               string
}

// env is the Env of one open store. It is where the namespace rule lives.
type env struct {
	place Place
	pool  *Pool
	label string
	// trusted is true if an administrator names the endpoints.
	trusted bool

	mu   sync.Mutex
	deps map[Dependency]string // without version → version
	// accounts are the keys of the tokens that the store asked for.
	accounts map[string]bool
}

var _ provider.Env = (*env)(nil)

// namespace resolves the namespace of a reference. A SecretStore reaches its own
// namespace and no other; a ClusterSecretStore the one that its manifest names, or
// else the consumer's.
func (e *env) namespace(field string, named *string) (string, error) {
	if e.place.Kind != KindClusterSecretStore {
		if named != nil && *named != e.place.Namespace {
			return "", &secret.Error{Kind: secret.Denied, Op: "open", Provider: e.place.Provider, Err: fmt.Errorf(
				"%s.namespace: a %s may refer to its own namespace only: remove the field, or use a cluster-wide kind", field, e.place.Kind)}
		}
		return e.place.Namespace, nil
	}
	if named != nil {
		return *named, nil
	}
	if e.place.Tenant == "" {
		return "", &secret.Error{Kind: secret.Unsupported, Op: "open", Provider: e.place.Provider, Err: fmt.Errorf("%s: %w", field, provider.ErrReferent)}
	}
	return e.place.Tenant, nil
}

// Credential implements provider.Env.
func (e *env) Credential(ctx context.Context, ref provider.CredentialRef) (secret.Value, error) {
	kind := ref.Kind
	if kind == "" {
		kind = "Secret"
	}
	ns, err := e.namespace(ref.Field, ref.Namespace)
	if err != nil {
		return secret.Value{}, err
	}
	obj, err := e.pool.cfg.Surroundings.Load(ctx, kind, ns, ref.Name)
	e.depend(Dependency{Kind: kind, Namespace: ns, Name: ref.Name}, obj.Version)
	if err != nil {
		return secret.Value{}, e.fail(ref.Field, kind, ns, ref.Name, err)
	}
	if !labelled(obj, ref.Label) {
		return secret.Value{}, &secret.Error{Kind: secret.Denied, Op: "open", Provider: e.place.Provider, Err: fmt.Errorf(
			"%s: %s %s/%s lacks the label %s: without it the %s is not sent to an address that a manifest names", ref.Field, kind, ns, ref.Name, ref.Label, kind)}
	}
	return e.pick(obj, ref, ns)
}

// labelled reports whether an object carries a "name=value" label; none is wanted
// if that is empty.
func labelled(obj Loaded, label string) bool {
	if label == "" {
		return true
	}
	name, want, _ := strings.Cut(label, "=")
	got, ok := obj.Labels[name]
	return ok && got == want
}

// pick returns one value of an object. What else is in it is said only to those who
// can look: not to the users of a cluster store.
func (e *env) pick(obj Loaded, ref provider.CredentialRef, ns string) (secret.Value, error) {
	if ref.Key == "" {
		return secret.Secret{Fields: obj.Data}.Whole(), nil
	}
	v, ok := obj.Data[ref.Key]
	if !ok {
		has := ""
		if e.place.Kind != KindClusterSecretStore {
			has = fmt.Sprintf("; it has %v", secret.Keys(obj.Data))
		}
		return secret.Value{}, &secret.Error{Kind: secret.Unauthenticated, Op: "open", Provider: e.place.Provider, Err: fmt.Errorf(
			"%s: %s/%s has no key %q%s", ref.Field, ns, ref.Name, ref.Key, has)}
	}
	return v, nil
}

// Token implements provider.Env.
func (e *env) Token(ctx context.Context, req provider.TokenRequest) (secret.Value, error) {
	ns, err := e.namespace(req.Field, req.Namespace)
	if err != nil {
		return secret.Value{}, err
	}
	if len(req.Audiences) == 0 {
		return secret.Value{}, &secret.Error{Kind: secret.Invalid, Op: "token", Provider: e.place.Provider, Err: fmt.Errorf("%s.audiences: a token needs an audience", req.Field)}
	}
	account := Account{Namespace: ns, Name: req.ServiceAccount, Audiences: req.Audiences, Lifetime: req.Lifetime}
	e.mu.Lock()
	e.accounts[account.key()] = true
	e.mu.Unlock()
	token, err := e.pool.tokens.get(ctx, account)
	if err != nil {
		return secret.Value{}, e.fail(req.Field, "ServiceAccount", ns, req.ServiceAccount, err)
	}
	return token, nil
}

// HTTP implements provider.Env.
func (e *env) HTTP(t provider.TLS) (*http.Client, error) {
	return e.pool.cfg.Surroundings.HTTP(t, e.trusted)
}

// Consumer is what provider.ConsumerOf returns.
func (e *env) Consumer() provider.Consumer {
	ns := e.place.Tenant
	if e.place.Kind != KindClusterSecretStore {
		ns = e.place.Namespace
	}
	return provider.Consumer{Namespace: ns, StoreKind: e.place.Kind, StoreName: e.place.Name}
}

// Clock implements provider.Env.
func (e *env) Clock() provider.Clock { return e.pool.cfg.Clock }

// Observe implements provider.Env.
func (e *env) Observe(call string, err error) { e.pool.cfg.Metrics.Call(e.label, call, err) }

// refused says that the backend did not accept what the store logged in with.
func (e *env) refused() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for key := range e.accounts {
		e.pool.tokens.forget(key)
	}
	clear(e.accounts)
}

func (e *env) depend(d Dependency, version string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.deps[d] = version
}

func (e *env) dependencies() []Dependency {
	e.mu.Lock()
	defer e.mu.Unlock()
	out := make([]Dependency, 0, len(e.deps))
	for d, version := range e.deps {
		d.Version = version
		out = append(out, d)
	}
	return out
}

// fail says which field of the store led to an object that could not be read. What
// is not there is Unauthenticated, and keeps no trace of NotFound: that would say
// that the secret which the credential opens is gone.
func (e *env) fail(field, kind, ns, name string, err error) error {
	out := &secret.Error{Kind: secret.KindOf(err), Op: "open", Provider: e.place.Provider, RetryAfter: secret.RetryAfterOf(err)}
	cause := err
	if inner, ok := errors.AsType[*secret.Error](err); ok && inner.Err != nil {
		cause = inner.Err
	}
	if errors.Is(err, secret.NotFound) {
		out.Kind = secret.Unauthenticated
		cause = errors.New(cause.Error())
	}
	out.Err = fmt.Errorf("%s: %s %s/%s: %w", field, kind, ns, name, cause)
	return out
}

// sawOther reports whether the store read this object in another version.
func (e *env) sawOther(d Dependency, version string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	seen, ok := e.deps[d]
	return ok && seen != version
}
