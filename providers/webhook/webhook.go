package webhook

import (
	"context"
	"errors"
	"sync/atomic"

	esv1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	"github.com/keyferry/keyferry/internal/webhookapi"
	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/secret"
)

const (
	name = "webhook"
	root = "spec.provider.webhook."
)

var errClosed = errors.New("the store is closed")

// Provider returns the webhook provider. Its stores are a provider.Reader,
// provider.Writer and provider.Deleter. Property and namespace are part of an address
// where a template uses them.
func Provider() provider.Provider {
	return provider.Define(provider.Definition[esv1.WebhookProvider]{
		Name: name, Label: "Webhook", Access: provider.ReadWrite, Address: address, Open: open,
		Validate: func(spec *esv1.WebhookProvider) error { return settings(spec).Validate() },
	})
}

func settings(spec *esv1.WebhookProvider) webhookapi.Settings {
	return webhookapi.Settings{Name: name, Root: root, Spec: spec}
}

// store holds everything that its manifest refers to; the funnel opens another when
// one of these changes. Only closed is written to after open.
type store struct {
	client *webhookapi.Client
	closed atomic.Bool
}

var (
	_ provider.Reader  = (*store)(nil)
	_ provider.Writer  = (*store)(nil)
	_ provider.Deleter = (*store)(nil)
)

// open reads the credentials and makes no connection.
func open(ctx context.Context, spec *esv1.WebhookProvider, env provider.Env) (provider.Store, error) {
	client, err := webhookapi.Open(ctx, settings(spec), env)
	if err != nil {
		return nil, err
	}
	return &store{client: client}, nil
}

// Close closes the connections that a login is bound to. Later calls fail with
// Unavailable.
func (s *store) Close() error {
	s.closed.Store(true)
	s.client.Close()
	return nil
}

// address returns ref, less a property that no template uses, which is resolved
// above, and less a namespace that none uses: consumers share what is not theirs alone.
func address(spec *esv1.WebhookProvider, ref secret.Ref) secret.Ref {
	if !settings(spec).Uses("property") {
		ref.Property = ""
	}
	if !settings(spec).Uses("namespace") {
		ref.Namespace = ""
	}
	return ref
}

// Get asks the service for ref. Status 404 is NotFound, and so is a JSON path that
// selects nothing when ref has a property. Metadata is Unsupported, and so is a
// version that no template uses.
func (s *store) Get(ctx context.Context, ref secret.Ref) (secret.Secret, error) {
	ref = address(s.client.Spec, ref) // what does not tell reads apart is not rendered either
	switch {
	case s.closed.Load():
		return secret.Secret{}, fail("read", ref, &secret.Error{Kind: secret.Unavailable, Err: errClosed})
	case ref.Metadata:
		return secret.Secret{}, fail("read", ref, &secret.Error{Kind: secret.Unsupported, Err: errors.New("a webhook has no metadata; leave metadataPolicy out")})
	case ref.Version != "" && !s.client.Uses("version"):
		return secret.Secret{}, fail("read", ref, &secret.Error{Kind: secret.Unsupported, Err: errors.New("no template of the store uses .remoteRef.version; leave version out")})
	case ref.Namespace == "" && s.client.Uses("namespace"):
		return secret.Secret{}, fail("read", ref, &secret.Error{Kind: secret.Invalid, Err: errors.New("a template of the store uses .remoteRef.namespace, and there is no namespace here")})
	}
	value, err := s.client.Get(ctx, ref, s.client.Asking())
	if err != nil {
		return secret.Secret{}, fail("read", ref, err)
	}
	return secret.Secret{Value: value}, nil
}

// fail completes an error with what it concerns.
func fail(op string, ref secret.Ref, err error) error {
	e := secret.Error{Kind: secret.KindOf(err), Err: err}
	if known, ok := errors.AsType[*secret.Error](err); ok {
		e = *known
	}
	if e.Op == "" {
		e.Op = op
	}
	e.Provider, e.Ref = name, ref
	return &e
}
