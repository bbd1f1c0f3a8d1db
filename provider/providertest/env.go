package providertest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/secret"
)

// Namespace is where an Env resolves references that name no namespace.
const Namespace = "team"

const envOp = "open"

var (
	_ provider.Env = (*Env)(nil)

	errNoPEM = errors.New("the CA bundle holds no PEM certificate")
)

// Env is a provider.Env for tests: objects from memory, a clock that stands still,
// unrestricted HTTP, and a record of what was observed and handed out. It behaves
// like a store in Namespace that may name any other. Safe for concurrent use.
type Env struct {
	// Time is the clock that stores get.
	Time *Clock
	// Referent makes the Env that of a cluster store without a consumer: a
	// reference without a namespace fails with provider.ErrReferent. Set it before use.
	Referent bool
	// Issue answers Token; nil fails it with Unsupported. Set it before use.
	Issue func(context.Context, provider.TokenRequest) (string, error)

	mu      sync.Mutex
	objects map[string]object
	calls   []Call
	handed  []secret.Value
	clients []*http.Client
}

type object struct {
	data, labels map[string]string
}

// Call is one call that a store has observed.
type Call struct {
	Name string
	Err  error
}

// NewEnv returns an empty Env. Its idle connections end with the test.
func NewEnv(t T) *Env {
	e := &Env{
		Time:    NewClock(time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)),
		objects: map[string]object{},
	}
	t.Cleanup(func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		for _, c := range e.clients {
			c.CloseIdleConnections()
		}
	})
	return e
}

func objectKey(kind, namespace, name string) string {
	if kind == "" {
		kind = "Secret"
	}
	return kind + "/" + namespace + "/" + name
}

// Put sets the data of a Secret or ConfigMap, or the annotations of a ServiceAccount; an empty kind is Secret, nil data
// removes it. Its labels stay.
func (e *Env) Put(kind, namespace, name string, data map[string]string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	key := objectKey(kind, namespace, name)
	if data == nil {
		delete(e.objects, key)
		return
	}
	e.objects[key] = object{data: maps.Clone(data), labels: e.objects[key].labels}
}

// Label sets the labels of a Secret.
func (e *Env) Label(namespace, name string, labels map[string]string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	key := objectKey("", namespace, name)
	e.objects[key] = object{data: e.objects[key].data, labels: maps.Clone(labels)}
}

// Calls returns what was observed so far.
func (e *Env) Calls() []Call {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.calls)
}

// Credential implements provider.Env: the whole object as a JSON object of strings
// for an empty key, Unauthenticated if it is not there, Denied if it lacks the label.
func (e *Env) Credential(ctx context.Context, ref provider.CredentialRef) (secret.Value, error) {
	ns, err := e.resolve(ctx, ref.Field, ref.Namespace)
	if err != nil {
		return secret.Value{}, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	o, ok := e.objects[objectKey(ref.Kind, ns, ref.Name)]
	if !ok {
		return secret.Value{}, envError(secret.Unauthenticated, "%s: %s is not there", ref.Field, objectKey(ref.Kind, ns, ref.Name))
	}
	if name, value, _ := strings.Cut(ref.Label, "="); ref.Label != "" && o.labels[name] != value {
		return secret.Value{}, envError(secret.Denied, "%s: %s lacks the label %s", ref.Field, objectKey(ref.Kind, ns, ref.Name), ref.Label)
	}
	v, err := o.pick(ref)
	if err == nil && (ref.Kind == "" || ref.Kind == "Secret") {
		e.hand(v)
	}
	return v, err
}

func (o object) pick(ref provider.CredentialRef) (secret.Value, error) {
	if ref.Key == "" {
		fields := make(map[string]secret.Value, len(o.data))
		for k, v := range o.data {
			fields[k] = secret.FromString(v)
		}
		return secret.Secret{Fields: fields}.Whole(), nil
	}
	v, ok := o.data[ref.Key]
	if !ok {
		return secret.Value{}, envError(secret.Unauthenticated, "%s: %s has no key %q", ref.Field, ref.Name, ref.Key)
	}
	return secret.FromString(v), nil
}

// Token implements provider.Env with what Issue returns.
func (e *Env) Token(ctx context.Context, req provider.TokenRequest) (secret.Value, error) {
	ns, err := e.resolve(ctx, req.Field, req.Namespace)
	if err != nil {
		return secret.Value{}, err
	}
	if len(req.Audiences) == 0 {
		return secret.Value{}, envError(secret.Invalid, "%s: a token needs an audience", req.Field)
	}
	if e.Issue == nil {
		return secret.Value{}, envError(secret.Unsupported, "%s: there are no service accounts here", req.Field)
	}
	req.Namespace = &ns
	token, err := e.Issue(ctx, req)
	if err != nil {
		return secret.Value{}, err
	}
	v := secret.FromString(token)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.hand(v)
	return v, nil
}

func (e *Env) resolve(ctx context.Context, field string, named *string) (string, error) {
	switch {
	case ctx.Err() != nil:
		return "", &secret.Error{Kind: secret.Unavailable, Op: envOp, Err: ctx.Err()}
	case field == "":
		return "", envError(secret.Internal, "a reference must carry its field")
	case named != nil:
		return *named, nil
	case e.Referent:
		return "", envError(secret.Unsupported, "%s: %w", field, provider.ErrReferent)
	}
	return Namespace, nil
}

// hand records a value and, if it is a JSON object, each of its members.
func (e *Env) hand(v secret.Value) {
	e.handed = append(e.handed, v)
	members, err := v.Object()
	if err != nil {
		return
	}
	for _, member := range members {
		e.handed = append(e.handed, member)
	}
}

// HTTP implements provider.Env. The client's Transport is an *http.Transport of its
// own; it follows no redirect.
func (e *Env) HTTP(t provider.TLS) (*http.Client, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName}
	if len(t.CA) > 0 {
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(t.CA) {
			return nil, &secret.Error{Kind: secret.Invalid, Op: envOp, Err: errNoPEM}
		}
	}
	if len(t.Cert) > 0 {
		pair, err := tls.X509KeyPair(t.Cert, t.Key.Reveal())
		if err != nil { // its text can quote the input
			return nil, envError(secret.Invalid, "the client certificate and its key cannot be read")
		}
		config.Certificates = []tls.Certificate{pair}
	}
	c := &http.Client{
		Transport: &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true, MaxIdleConnsPerHost: 64},
		CheckRedirect: func(next *http.Request, _ []*http.Request) error {
			return envError(secret.Invalid, "the answer was %d, and redirects are not followed", next.Response.StatusCode)
		},
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.clients = append(e.clients, c)
	return c, nil
}

// Consumer is what provider.ConsumerOf returns: a SecretStore "store" in Namespace.
func (e *Env) Consumer() provider.Consumer {
	return provider.Consumer{Namespace: Namespace, StoreKind: "SecretStore", StoreName: "store"}
}

// Clock implements provider.Env.
func (e *Env) Clock() provider.Clock { return e.Time }

// Observe implements provider.Env: Calls returns what it was told.
func (e *Env) Observe(call string, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.calls = append(e.calls, Call{Name: call, Err: err})
}

// secrets returns the credentials and tokens that were handed out.
func (e *Env) secrets() []secret.Value {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.handed)
}

func envError(kind secret.Kind, format string, args ...any) error {
	return &secret.Error{Kind: kind, Op: envOp, Err: fmt.Errorf(format, args...)}
}
