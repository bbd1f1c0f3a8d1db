package vaultapi

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/secret"
)

const revokeTimeout = 10 * time.Second

// Config is what the manifest of a store says.
type Config struct {
	// Provider is the provider's name and Spec its place in the manifest
	// ("spec.provider.vault"), both for errors.
	Provider, Spec string
	Server         string
	// Namespace is where the secrets are.
	Namespace string
	// Headers are added to every request. They cannot replace the token.
	Headers map[string]string
	// ForwardInconsistent asks a server that lags behind to forward the request.
	ForwardInconsistent bool
	// ReadYourWrites makes every request ask for a state no older than that of the
	// last login.
	ReadYourWrites bool
	TLS            provider.TLS
	// Mount is the path of the KV engine; empty takes it from each key.
	Mount string
	// KV is the version of the KV engine, 1 or 2.
	KV int
	// CheckMount makes Check look at the type and version of the mount too.
	CheckMount bool
	// Auth is how to get a token, and AuthNamespace where the token belongs to.
	Auth          Method
	AuthNamespace string
}

// Client is an open store of one server. It logs in with the first call, once for
// all calls, renews the token when two thirds of its life are over, and logs in
// again where it cannot be renewed. It runs nothing in the background. All of its
// methods may be called concurrently and fail with a *secret.Error.
type Client struct {
	cfg     Config
	mount   []string
	base    string // scheme://host:port/prefix/v1/
	host    string
	http    *http.Client
	env     provider.Env
	session session
	verdict verdict
	index   index
	engines sync.Map // the mounts that are known to be what the manifest says
	guards  guards
	// detached is the context of Open, without its end: Close has none of its own.
	detached func() (context.Context, context.CancelFunc)
}

// Open returns a client of the server that cfg names. It does not call the server.
// It fails with Invalid if the address or the TLS material cannot be used.
func Open(ctx context.Context, cfg Config, env provider.Env) (*Client, error) {
	if err := CheckAddress(cfg.Spec, cfg.Server, cfg.Mount, cfg.Headers); err != nil {
		return nil, &secret.Error{Kind: secret.Invalid, Op: "open", Provider: cfg.Provider, Err: err}
	}
	u, err := url.Parse(cfg.Server)
	if err != nil {
		return nil, err
	}
	mount, err := segments(cfg.Mount)
	if err != nil {
		return nil, err
	}
	shared, err := env.HTTP(cfg.TLS)
	if err != nil {
		return nil, err
	}
	own := *shared
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	c := &Client{
		cfg: cfg, mount: mount, env: env, http: &own, host: u.Host,
		base: strings.TrimRight(u.String(), "/") + "/v1/",
		detached: func() (context.Context, context.CancelFunc) {
			return context.WithTimeout(context.WithoutCancel(ctx), revokeTimeout)
		},
	}
	c.session.c, c.verdict.c = c, c
	c.verdict.busy = make(chan struct{}, 1)
	return c, nil
}

// CheckAddress tells why a server, the mount on it, or the headers for it cannot be
// what a manifest says they are; spec is the manifest's place, for errors.
func CheckAddress(spec, server, mount string, headers map[string]string) error {
	if what := checkServer(server); what != "" {
		return fmt.Errorf("%s.server: %s", spec, what)
	}
	if _, err := segments(mount); err != nil {
		return fmt.Errorf("%s.path: %w", spec, err)
	}
	odd := func(r rune) bool { return r <= ' ' || r == ':' || r > '~' }
	for _, name := range secret.Keys(headers) {
		if name == "" || strings.ContainsFunc(name, odd) || strings.ContainsFunc(headers[name], unicode.IsControl) {
			return fmt.Errorf("%s.headers: %q is no header, or its value has a control character", spec, name)
		}
	}
	return nil
}

func checkServer(server string) string {
	u, err := url.Parse(server)
	switch {
	case err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https"):
		return `must be an address such as "https://vault.example.com:8200"`
	case u.User != nil:
		return "must hold no user name or password: name them under auth"
	case u.RawQuery != "" || u.Fragment != "":
		return "must hold no query and no fragment"
	}
	return ""
}

// Check logs in if need be and asks the server whether the token is good; with
// CheckMount, also whether a KV engine of the right version is at Mount. It reads
// no secret. It fails with Unauthenticated if the credentials do not work, with
// Denied if the mount is closed to them, and with Invalid if it is another engine.
func (c *Client) Check(ctx context.Context) error {
	a, err := c.call(ctx, lookupSelf(c.cfg.AuthNamespace))
	if a != nil && a.status == http.StatusForbidden && a.refusal() == refusedByPolicy {
		err = nil // a policy refuses the lookup to a token that is good
	}
	if err != nil {
		return err
	}
	if !c.cfg.CheckMount || len(c.mount) == 0 {
		return nil
	}
	return c.checkMount(ctx)
}

func (c *Client) checkMount(ctx context.Context) error {
	m, err := c.readMount(ctx, c.mount)
	if err != nil {
		return err
	}
	if err := c.mismatch(m, c.cfg.Mount); err != nil {
		return c.fail(secret.Invalid, "check", secret.Ref{}, err)
	}
	return nil
}

// mount is what a server says of an engine.
type mount struct {
	Type    string
	Options struct{ Version string }
}

func (c *Client) readMount(ctx context.Context, path []string) (mount, error) {
	// This path answers to any token that may use the mount; sys/mounts asks for more.
	a, err := c.call(ctx, request{
		call: "ReadMount", op: "check", method: http.MethodGet,
		path: "sys/internal/ui/mounts/" + escape(path), namespace: c.cfg.Namespace,
	})
	var m mount
	switch {
	case a != nil && a.status == http.StatusForbidden:
		err = c.fail(secret.Denied, "check", secret.Ref{}, fmt.Errorf("%s.path: there is no engine at %q, or no policy lets the token use it", c.cfg.Spec, strings.Join(path, "/")))
	case err == nil:
		err = c.decode(a.Data, &m, "check", secret.Ref{})
	}
	return m, err
}

// mismatch tells why an engine is not the one that the manifest says it is.
func (c *Client) mismatch(m mount, path string) error {
	version := 1
	if m.Options.Version == "2" {
		version = 2
	}
	switch {
	case m.Type != "kv" && m.Type != "generic":
		return fmt.Errorf("%s.path: the engine at %q is not KV", c.cfg.Spec, path)
	case version != c.cfg.KV:
		return fmt.Errorf("%s.version: the engine at %q is KV v%d, not v%d", c.cfg.Spec, path, version, c.cfg.KV)
	}
	return nil
}

// Close revokes the token if it came of a login, and waits for that 10 seconds at
// most; a token that was given stays. Calls after it fail with Unavailable.
func (c *Client) Close() error {
	ctx, cancel := c.detached()
	defer cancel()
	return c.session.close(ctx)
}

func (c *Client) fail(kind secret.Kind, op string, ref secret.Ref, err error) error {
	return &secret.Error{Kind: kind, Op: op, Provider: c.cfg.Provider, Ref: ref, Err: err}
}
