package kubernetes

import (
	"bytes"
	"context"
	"fmt"
	"net/url"
	"strings"

	esv1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	esmeta "github.com/keyferry/keyferry/api/meta/v1"
	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/secret"
)

const (
	name = "kubernetes"
	root = "spec.provider.kubernetes."

	defaultServer    = "kubernetes.default"
	defaultNamespace = "default"
)

// Provider returns the kubernetes provider. Its stores are a provider.Reader,
// provider.Lister, provider.Checker, provider.Writer and provider.Deleter. What they
// read and write are the fields of a Secret.
func Provider() provider.Provider {
	return provider.Define(provider.Definition[esv1.KubernetesProvider]{
		Name: name, Label: "Kubernetes", Access: provider.ReadWrite, Flat: true, Validate: validate, Open: open,
	})
}

func validate(spec *esv1.KubernetesProvider) error {
	if spec.AuthRef != nil {
		return complete(*spec.AuthRef, "authRef")
	}
	if _, err := serverURL(spec.Server.URL, root+"server.url"); err != nil {
		return err
	}
	if ca := spec.Server.CAProvider; ca != nil && ca.Key == "" {
		return invalid("%sserver.caProvider.key is empty: name the key that holds the certificates", root)
	}
	return validateAuth(spec.Auth)
}

func validateAuth(auth *esv1.KubernetesAuth) error {
	var methods []string
	var err error
	if auth != nil && auth.Cert != nil {
		methods = append(methods, "cert")
		if err = complete(auth.Cert.ClientCert, "auth.cert.clientCert"); err == nil {
			err = complete(auth.Cert.ClientKey, "auth.cert.clientKey")
		}
	}
	if auth != nil && auth.Token != nil {
		methods = append(methods, "token")
		err = complete(auth.Token.BearerToken, "auth.token.bearerToken")
	}
	if auth != nil && auth.ServiceAccount != nil {
		methods = append(methods, "serviceAccount")
		if auth.ServiceAccount.Name == "" {
			err = invalid("%sauth.serviceAccount.name is empty: name a service account", root)
		}
	}
	switch len(methods) {
	case 0:
		return invalid("%sauth has no method: set serviceAccount, token or cert, or set authRef beside it", root)
	case 1:
		return err
	}
	return invalid("%sauth has %s: keep one of them", root, strings.Join(methods, " and "))
}

// complete says what a reference lacks: a key, unlike elsewhere, has no default here.
func complete(ref esmeta.SecretKeySelector, field string) error {
	switch {
	case ref.Name == "":
		return invalid("%s%s.name is empty: name a Secret", root, field)
	case ref.Key == "":
		return invalid("%s%s.key is empty: name a key of the Secret", root, field)
	}
	return nil
}

// serverURL reads the address of an API server; https is understood.
func serverURL(address, field string) (*url.URL, error) {
	if address == "" {
		address = defaultServer
	}
	if !strings.Contains(address, "://") {
		address = "https://" + address
	}
	u, err := url.Parse(address)
	switch {
	case err != nil || u.Host == "": // its text quotes what may hold a password
		return nil, invalid("%s is no address: it is like https://host:6443", field)
	case u.Scheme != "https" && u.Scheme != "http":
		return nil, invalid("%s has the scheme %q: use https", field, u.Scheme)
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return nil, invalid("%s has more than scheme, host and path: credentials go into auth", field)
	}
	return u, nil
}

// target is a server and who calls it.
type target struct {
	server *url.URL
	tls    provider.TLS
	// token returns what to send as a bearer token; nil if the certificate is all.
	token func(context.Context) (secret.Value, error)
}

// open reads the credentials and makes no connection.
func open(ctx context.Context, spec *esv1.KubernetesProvider, env provider.Env) (provider.Store, error) {
	var t target
	var err error
	if spec.AuthRef != nil {
		t, err = fromKubeconfig(ctx, *spec.AuthRef, env)
	} else {
		t, err = fromSpec(ctx, spec, env)
	}
	if err != nil {
		return nil, err
	}
	client, err := env.HTTP(t.tls)
	if err != nil {
		return nil, err
	}
	s := &store{env: env, target: t, client: client, namespace: spec.RemoteNamespace}
	if s.namespace == "" {
		s.namespace = defaultNamespace
	}
	return s, nil
}

func fromSpec(ctx context.Context, spec *esv1.KubernetesProvider, env provider.Env) (t target, err error) {
	if t.server, err = serverURL(spec.Server.URL, root+"server.url"); err != nil {
		return t, err
	}
	t.tls.CA = spec.Server.CABundle
	if from := spec.Server.CAProvider; from != nil && len(t.tls.CA) == 0 {
		ca, err := env.Credential(ctx, provider.CredentialRef{
			Kind: string(from.Type), Namespace: from.Namespace, Name: from.Name, Key: from.Key, Field: root + "server.caProvider",
		})
		if err != nil {
			return t, err
		}
		t.tls.CA = ca.Reveal()
	}
	switch auth := spec.Auth; {
	case auth.ServiceAccount != nil:
		t.token = accountToken(*auth.ServiceAccount, env)
	case auth.Token != nil:
		t.token, err = keptToken(ctx, auth.Token.BearerToken, env)
	default:
		cert, err := credential(ctx, auth.Cert.ClientCert, "auth.cert.clientCert", env)
		if err != nil {
			return t, err
		}
		t.tls.Cert = cert.Reveal()
		t.tls.Key, err = credential(ctx, auth.Cert.ClientKey, "auth.cert.clientKey", env)
		return t, err
	}
	return t, err
}

func credential(ctx context.Context, ref esmeta.SecretKeySelector, field string, env provider.Env) (secret.Value, error) {
	return env.Credential(ctx, provider.CredentialRef{Namespace: ref.Namespace, Name: ref.Name, Key: ref.Key, Field: root + field})
}

// accountToken asks with each call: the Env keeps the token while it is fresh.
func accountToken(account esmeta.ServiceAccountSelector, env provider.Env) func(context.Context) (secret.Value, error) {
	req := provider.TokenRequest{
		Namespace: account.Namespace, ServiceAccount: account.Name, Audiences: account.Audiences, Field: root + "auth.serviceAccount",
	}
	if len(req.Audiences) == 0 {
		req.Audiences = []string{provider.ClusterAudience}
	}
	return func(ctx context.Context) (secret.Value, error) { return env.Token(ctx, req) }
}

func keptToken(ctx context.Context, ref esmeta.SecretKeySelector, env provider.Env) (func(context.Context) (secret.Value, error), error) {
	token, err := credential(ctx, ref, "auth.token.bearerToken", env)
	if err != nil {
		return nil, err
	}
	return constant(token, root+"auth.token.bearerToken")
}

// constant returns a token that does not change, less the space around it that
// editors leave behind.
func constant(token secret.Value, field string) (func(context.Context) (secret.Value, error), error) {
	trimmed := bytes.TrimSpace(token.Reveal())
	if len(trimmed) == 0 || bytes.ContainsFunc(trimmed, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return nil, fail(secret.Unauthenticated, "open", secret.Ref{}, fmt.Errorf("%s: the value is no token: it is empty, or has characters that no token has", field))
	}
	token = secret.New(trimmed)
	return func(context.Context) (secret.Value, error) { return token, nil }, nil
}

func invalid(format string, args ...any) error {
	return fail(secret.Invalid, "open", secret.Ref{}, fmt.Errorf(format, args...))
}

func fail(kind secret.Kind, op string, ref secret.Ref, err error) error {
	return &secret.Error{Kind: kind, Op: op, Provider: name, Ref: ref, Err: err}
}
