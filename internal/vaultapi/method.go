package vaultapi

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	esv1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	esmeta "github.com/keyferry/keyferry/api/meta/v1"
	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/secret"
)

var errNoAuth = errors.New("name a method to log in with")

// Method is a way to get a token, as the manifest has it.
type Method struct {
	// Field is its place in the manifest.
	Field string
	// Err is why it cannot be used, and begins with the field at fault; nil if it
	// can be.
	Err error
	// path is where to log in, below /v1/ and escaped; empty if a token is given.
	path string
	// read returns what is sent there, anew for every login. For a given token it is
	// the token alone, under "token".
	read func(context.Context, provider.Env) (map[string]secret.Value, error)
}

// Read reads one credential of the manifest.
type Read func(context.Context, provider.Env) (secret.Value, error)

// Choose returns the one method that a manifest has. It fails if there is none or
// more than one, naming them.
func Choose(field string, methods []Method) (Method, error) {
	switch len(methods) {
	case 0:
		return Method{}, fmt.Errorf("%s: %w", field, errNoAuth)
	case 1:
		return methods[0], methods[0].Err
	}
	names := make([]string, len(methods))
	for i, m := range methods {
		names[i] = m.Field
	}
	return Method{}, fmt.Errorf("%s are alternatives: keep one", strings.Join(names, " and "))
}

// Refused is a method that cannot be used; what says why.
func Refused(field, what string) Method {
	return Method{Field: field, Err: fmt.Errorf("%s: %s", field, what)}
}

// Token is a token that somebody else made. It is neither renewed nor revoked.
func Token(field string, ref esmeta.SecretKeySelector) Method {
	return Method{Field: field, Err: CheckRef(field, ref), read: each(map[string]Read{"token": Trimmed(Secret(field, ref))})}
}

// AppRole logs in with a role ID and a secret ID. Of roleId and roleRef the latter
// counts.
func AppRole(field string, a esv1.VaultAppRole) Method {
	role, err := Literal(strings.TrimSpace(a.RoleID)), error(nil)
	switch {
	case a.RoleRef != nil:
		role, err = Secret(field+".roleRef", *a.RoleRef), CheckRef(field+".roleRef", *a.RoleRef)
	case a.RoleID == "":
		err = fmt.Errorf("%s: name the role with roleId or roleRef", field)
	}
	if err == nil {
		err = CheckRef(field+".secretRef", a.SecretRef)
	}
	reads := map[string]Read{"role_id": role, "secret_id": Secret(field+".secretRef", a.SecretRef)}
	return At(field, cmp.Or(a.Path, "approle"), []string{"login"}, reads).or(err)
}

// Password logs in as a user of the userpass or ldap method that is at mount.
func Password(field, mount, user string, ref esmeta.SecretKeySelector) Method {
	err := CheckRef(field+".secretRef", ref)
	if segs, bad := segments(user); bad != nil || len(segs) != 1 {
		err = fmt.Errorf("%s.username: must be a name", field)
	}
	return At(field, mount, []string{"login", user}, map[string]Read{"password": Secret(field+".secretRef", ref)}).or(err)
}

// At logs in with what is read, at the method that is at mount; tail is what
// follows the mount.
func At(field, mount string, tail []string, reads map[string]Read) Method {
	segs, err := segments(mount)
	if err != nil || len(segs) == 0 {
		return Refused(field, fmt.Sprintf("the mount %q is no path", mount))
	}
	path := append(append([]string{"auth"}, segs...), tail...)
	return Method{Field: field, path: escape(path), read: each(reads)}
}

// each reads one after the other.
func each(reads map[string]Read) func(context.Context, provider.Env) (map[string]secret.Value, error) {
	return func(ctx context.Context, env provider.Env) (map[string]secret.Value, error) {
		out := make(map[string]secret.Value, len(reads))
		for _, name := range secret.Keys(reads) {
			v, err := reads[name](ctx, env)
			if err != nil {
				return nil, err
			}
			out[name] = v
		}
		return out, nil
	}
}

// or returns m with another reason why it cannot be used, if it has none.
func (m Method) or(err error) Method {
	if m.Err == nil {
		m.Err = err
	}
	return m
}

// Literal is what the manifest itself says.
func Literal(s string) Read {
	return func(context.Context, provider.Env) (secret.Value, error) { return secret.FromString(s), nil }
}

// Secret is what a reference points to. A reference to nothing fails with
// Unauthenticated, so that it is not taken for a secret that is gone.
func Secret(field string, ref esmeta.SecretKeySelector) Read {
	return func(ctx context.Context, env provider.Env) (secret.Value, error) {
		v, err := env.Credential(ctx, provider.CredentialRef{Namespace: ref.Namespace, Name: ref.Name, Key: ref.Key, Field: field})
		return v, credential(err)
	}
}

// ServiceAccount is a token for a service account.
func ServiceAccount(req provider.TokenRequest) Read {
	return func(ctx context.Context, env provider.Env) (secret.Value, error) {
		v, err := env.Token(ctx, req)
		return v, credential(err)
	}
}

// Trimmed is r without the white space around it: a Secret that somebody made from
// a file ends in a line feed as often as not.
func Trimmed(r Read) Read {
	return func(ctx context.Context, env provider.Env) (secret.Value, error) {
		v, err := r(ctx, env)
		return secret.New(bytes.TrimSpace(v.Reveal())), err
	}
}

// CA returns the bundle of the authorities to trust: that of the manifest, or else
// what the manifest points to; nil if there is neither. It fails as Secret does.
func CA(ctx context.Context, env provider.Env, field string, bundle []byte, from *esv1.CAProvider) ([]byte, error) {
	if len(bundle) > 0 || from == nil {
		return bundle, nil
	}
	v, err := env.Credential(ctx, provider.CredentialRef{
		Kind: string(from.Type), Namespace: from.Namespace, Name: from.Name, Key: from.Key, Field: field,
	})
	return v.Reveal(), credential(err)
}

// CheckRef tells why a reference cannot be used: it names no Secret, or no key.
func CheckRef(field string, ref esmeta.SecretKeySelector) error {
	switch {
	case ref.Name == "":
		return fmt.Errorf("%s.name: must name a Secret", field)
	case ref.Key == "":
		return fmt.Errorf("%s.key: must name a key of the Secret", field)
	}
	return nil
}
