package webhookapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/Azure/go-ntlmssp"

	esv1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	esmeta "github.com/keyferry/keyferry/api/meta/v1"
	"github.com/keyferry/keyferry/internal/httpx"
	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/secret"
	"github.com/keyferry/keyferry/template"
)

// label is what a Secret must carry to be sent anywhere: a manifest chooses the
// address, so it must not choose from all Secrets of its namespace.
const label = "external-secrets.io/type=webhook"

// Settings are a spec, and what is different between those who use it.
type Settings struct {
	// Name is the provider or the generator, for errors.
	Name string
	// Root is the path of the spec in its manifest, with a dot at the end.
	Root string
	Spec *esv1.WebhookProvider
	// NoRef says that nothing is asked for by a key: templates have no .remoteRef.
	NoRef bool
}

// Invalid returns the error of a field of the spec.
func (s Settings) Invalid(field, why string) error {
	return &secret.Error{Kind: secret.Invalid, Provider: s.Name, Op: "configure", Err: fmt.Errorf("%s%s %s", s.Root, field, why)}
}

func (s Settings) fail(err error) error {
	e := secret.Error{Kind: secret.KindOf(err), Op: "open", Err: err}
	if known, ok := errors.AsType[*secret.Error](err); ok {
		e = *known
	}
	e.Provider = s.Name
	return &e
}

// Client holds everything that its spec refers to, as it was when the client was
// opened. It is safe for concurrent use.
type Client struct {
	Settings
	env    provider.Env
	engine *template.Engine
	http   *http.Client
	// secrets are what the templates see beside .remoteRef.
	secrets map[string]map[string]string
	login   *ntlm
}

// ntlm is a login that belongs to a connection: the requests of a client take turns,
// so that a handshake stays on the connection it began on.
type ntlm struct {
	user, password secret.Value
	turn           chan struct{}
	close          func()
}

// Open reads the credentials and makes no connection. It fails like Env.Credential and
// Env.HTTP do.
func Open(ctx context.Context, s Settings, env provider.Env) (*Client, error) {
	engine, err := template.New(template.Options{})
	if err != nil {
		return nil, s.fail(err)
	}
	c := &Client{Settings: s, env: env, engine: engine, secrets: map[string]map[string]string{}}
	if err := c.readSecrets(ctx); err != nil {
		return nil, err
	}
	ca, err := c.readCA(ctx)
	if err != nil {
		return nil, err
	}
	if c.http, err = env.HTTP(provider.TLS{CA: ca}); err != nil {
		return nil, s.fail(err)
	}
	if s.Spec.Auth != nil && s.Spec.Auth.NTLM != nil {
		if err := c.useNTLM(ctx, s.Spec.Auth.NTLM); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// Close closes the connections that a login is bound to. Requests under way end as they
// would have.
func (c *Client) Close() {
	if c.login != nil {
		c.login.close()
	}
}

func (c *Client) readSecrets(ctx context.Context) error {
	for i, named := range c.Spec.Secrets {
		field := fmt.Sprintf("%ssecrets[%d].secretRef", c.Root, i)
		value, err := c.credential(ctx, named.SecretRef, field)
		if err != nil {
			return err
		}
		values := map[string]secret.Value{named.SecretRef.Key: value}
		if named.SecretRef.Key == "" { // all of the Secret, as a JSON object
			if values, err = value.Object(); err != nil {
				return c.fail(err)
			}
		}
		if c.secrets[named.Name] == nil {
			c.secrets[named.Name] = map[string]string{}
		}
		for key, v := range values {
			c.secrets[named.Name][key] = string(v.Reveal())
		}
	}
	return nil
}

func (c *Client) credential(ctx context.Context, ref esmeta.SecretKeySelector, field string) (secret.Value, error) {
	return c.env.Credential(ctx, provider.CredentialRef{
		Kind: "Secret", Namespace: ref.Namespace, Name: ref.Name, Key: ref.Key, Field: field, Label: label,
	})
}

func (c *Client) readCA(ctx context.Context) ([]byte, error) {
	from := c.Spec.CAProvider
	if len(c.Spec.CABundle) > 0 || from == nil {
		return c.Spec.CABundle, nil
	}
	ca, err := c.env.Credential(ctx, provider.CredentialRef{
		Kind: string(from.Type), Namespace: from.Namespace, Name: from.Name, Key: from.Key, Field: c.Root + "caProvider",
	})
	return ca.Reveal(), err
}

func (c *Client) useNTLM(ctx context.Context, spec *esv1.NTLMProtocol) error {
	user, err := c.credential(ctx, spec.UserName, c.Root+"auth.ntlm.usernameSecret")
	if err != nil {
		return err
	}
	password, err := c.credential(ctx, spec.Password, c.Root+"auth.ntlm.passwordSecret")
	if err != nil {
		return err
	}
	if c.http, err = httpx.Private(c.http); err != nil {
		return c.fail(err)
	}
	c.login = &ntlm{user: user, password: password, turn: make(chan struct{}, 1), close: c.http.CloseIdleConnections}
	c.http.Transport = ntlmssp.Negotiator{RoundTripper: c.http.Transport}
	return nil
}

// timeout returns ctx with the limit of the manifest, if it has one.
func (c *Client) timeout(ctx context.Context) (context.Context, context.CancelFunc) {
	if c.Spec.Timeout == nil || c.Spec.Timeout.Duration == 0 {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, c.Spec.Timeout.Duration)
}
