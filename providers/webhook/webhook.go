package webhook

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"

	"github.com/Azure/go-ntlmssp"

	esv1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	esmeta "github.com/keyferry/keyferry/api/meta/v1"
	"github.com/keyferry/keyferry/internal/httpx"
	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/secret"
	"github.com/keyferry/keyferry/template"
)

const (
	name = "webhook"
	root = "spec.provider.webhook."
	// label is what a Secret must carry to be sent anywhere: a manifest chooses the
	// address, so it must not choose from all Secrets of its namespace.
	label = "external-secrets.io/type=webhook"
)

// Provider returns the webhook provider. Its stores are a provider.Reader. Property
// and namespace are part of an address where a template uses them.
func Provider() provider.Provider {
	return provider.Define(provider.Definition[esv1.WebhookProvider]{
		Name: name, Label: "Webhook", Access: provider.ReadOnly, Validate: validate, Address: address, Open: open,
	})
}

// store holds everything that its manifest refers to; the funnel opens another when
// one of these changes. Only closed is written to after open.
type store struct {
	spec   *esv1.WebhookProvider
	env    provider.Env
	engine *template.Engine
	client *http.Client
	// secrets are what the templates see beside .remoteRef.
	secrets map[string]map[string]string
	login   *ntlm
	closed  atomic.Bool
}

// ntlm is a login that belongs to a connection: the requests of a store take turns,
// so that a handshake stays on the connection it began on.
type ntlm struct {
	user, password secret.Value
	turn           chan struct{}
	close          func()
}

var _ provider.Reader = (*store)(nil)

// open reads the credentials and makes no connection.
func open(ctx context.Context, spec *esv1.WebhookProvider, env provider.Env) (provider.Store, error) {
	engine, err := template.New(template.Options{})
	if err != nil {
		return nil, fail(secret.Ref{}, err)
	}
	s := &store{spec: spec, env: env, engine: engine, secrets: map[string]map[string]string{}}
	if err := s.readSecrets(ctx); err != nil {
		return nil, err
	}
	ca, err := s.readCA(ctx)
	if err != nil {
		return nil, err
	}
	if s.client, err = env.HTTP(provider.TLS{CA: ca}); err != nil {
		return nil, fail(secret.Ref{}, err)
	}
	if spec.Auth != nil && spec.Auth.NTLM != nil {
		if err := s.useNTLM(ctx, spec.Auth.NTLM); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// Close closes the connections that a login is bound to. Later calls fail with
// Unavailable.
func (s *store) Close() error {
	s.closed.Store(true)
	if s.login != nil {
		s.login.close()
	}
	return nil
}

// address returns ref, less a property that no template uses, which is resolved
// above, and less a namespace that none uses: consumers share what is not theirs alone.
func address(spec *esv1.WebhookProvider, ref secret.Ref) secret.Ref {
	if !uses(spec, "property") {
		ref.Property = ""
	}
	if !uses(spec, "namespace") {
		ref.Namespace = ""
	}
	return ref
}

func (s *store) readSecrets(ctx context.Context) error {
	for i, named := range s.spec.Secrets {
		field := fmt.Sprintf("%ssecrets[%d].secretRef", root, i)
		value, err := s.credential(ctx, named.SecretRef, field)
		if err != nil {
			return err
		}
		values := map[string]secret.Value{named.SecretRef.Key: value}
		if named.SecretRef.Key == "" { // all of the Secret, as a JSON object
			if values, err = value.Object(); err != nil {
				return fail(secret.Ref{}, err)
			}
		}
		if s.secrets[named.Name] == nil {
			s.secrets[named.Name] = map[string]string{}
		}
		for key, v := range values {
			s.secrets[named.Name][key] = string(v.Reveal())
		}
	}
	return nil
}

func (s *store) credential(ctx context.Context, ref esmeta.SecretKeySelector, field string) (secret.Value, error) {
	return s.env.Credential(ctx, provider.CredentialRef{
		Kind: "Secret", Namespace: ref.Namespace, Name: ref.Name, Key: ref.Key, Field: field, Label: label,
	})
}

func (s *store) readCA(ctx context.Context) ([]byte, error) {
	from := s.spec.CAProvider
	if len(s.spec.CABundle) > 0 || from == nil {
		return s.spec.CABundle, nil
	}
	ca, err := s.env.Credential(ctx, provider.CredentialRef{
		Kind: string(from.Type), Namespace: from.Namespace, Name: from.Name, Key: from.Key, Field: root + "caProvider",
	})
	return ca.Reveal(), err
}

func (s *store) useNTLM(ctx context.Context, spec *esv1.NTLMProtocol) error {
	user, err := s.credential(ctx, spec.UserName, root+"auth.ntlm.usernameSecret")
	if err != nil {
		return err
	}
	password, err := s.credential(ctx, spec.Password, root+"auth.ntlm.passwordSecret")
	if err != nil {
		return err
	}
	if s.client, err = httpx.Private(s.client); err != nil {
		return fail(secret.Ref{}, err)
	}
	s.login = &ntlm{user: user, password: password, turn: make(chan struct{}, 1), close: s.client.CloseIdleConnections}
	s.client.Transport = ntlmssp.Negotiator{RoundTripper: s.client.Transport}
	return nil
}

// timeout returns ctx with the limit of the manifest, if it has one.
func (s *store) timeout(ctx context.Context) (context.Context, context.CancelFunc) {
	if s.spec.Timeout == nil || s.spec.Timeout.Duration == 0 {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, s.spec.Timeout.Duration)
}

// fail completes an error with what it concerns.
func fail(ref secret.Ref, err error) error {
	e := secret.Error{Kind: secret.KindOf(err), Err: err}
	if known, ok := errors.AsType[*secret.Error](err); ok {
		e = *known
	}
	if e.Op == "" {
		e.Op = "read"
	}
	e.Provider, e.Ref = name, ref
	return &e
}

func invalid(field, why string) error {
	return &secret.Error{Kind: secret.Invalid, Provider: name, Op: "configure", Err: fmt.Errorf("%s%s %s", root, field, why)}
}
