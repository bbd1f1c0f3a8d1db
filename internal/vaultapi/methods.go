package vaultapi

import (
	"cmp"
	"slices"
	"time"

	esv1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	esmeta "github.com/keyferry/keyferry/api/meta/v1"
	"github.com/keyferry/keyferry/provider"
)

const vaultAudience = "vault"

// vaultMethod returns the one auth method of a manifest; field is its place.
func vaultMethod(field string, a *esv1.VaultAuth) (Method, error) {
	if a == nil {
		a = &esv1.VaultAuth{}
	}
	var all []Method
	if a.TokenSecretRef != nil {
		all = append(all, Token(field+".tokenSecretRef", *a.TokenSecretRef))
	}
	if a.AppRole != nil {
		all = append(all, AppRole(field+".appRole", *a.AppRole))
	}
	if a.Kubernetes != nil {
		all = append(all, kubernetes(field+".kubernetes", a.Kubernetes))
	}
	if l := a.Ldap; l != nil {
		all = append(all, Password(field+".ldap", cmp.Or(l.Path, "ldap"), l.Username, l.SecretRef))
	}
	if u := a.UserPass; u != nil {
		all = append(all, Password(field+".userPass", cmp.Or(u.Path, "userpass"), u.Username, u.SecretRef))
	}
	if a.Jwt != nil {
		all = append(all, jwt(field+".jwt", a.Jwt))
	}
	if a.Cert != nil {
		all = append(all, cert(field+".cert", a.Cert))
	}
	if a.Iam != nil {
		all = append(all, iam(field+".iam", a.Iam))
	}
	if a.GCP != nil {
		all = append(all, Refused(field+".gcp", "this build cannot log in so: use another method"))
	}
	return Choose(field, all)
}

// kubernetes sends the token that the manifest names. The controller's own is for
// the API server alone: who names a server in a manifest could collect it there.
func kubernetes(field string, k *esv1.VaultKubernetesAuth) Method {
	var token Read
	switch {
	case k.Role == "":
		return Refused(field+".role", "must name a role")
	case k.ServiceAccountRef != nil:
		token = serviceAccount(field+".serviceAccountRef", *k.ServiceAccountRef, nil, 0)
	case k.SecretRef != nil:
		ref := *k.SecretRef
		ref.Key = cmp.Or(ref.Key, "token")
		if err := CheckRef(field+".secretRef", ref); err != nil {
			return Method{Field: field, Err: err}
		}
		token = Trimmed(Secret(field+".secretRef", ref))
	default:
		return Refused(field, "name serviceAccountRef or secretRef: the controller's own token is not sent")
	}
	return At(field, cmp.Or(k.Path, "kubernetes"), []string{"login"},
		map[string]Read{"role": Literal(k.Role), "jwt": token})
}

func jwt(field string, j *esv1.VaultJwtAuth) Method {
	reads := map[string]Read{}
	if j.Role != "" {
		reads["role"] = Literal(j.Role)
	}
	switch t := j.KubernetesServiceAccountToken; {
	case (t == nil) == (j.SecretRef == nil):
		return Refused(field, "name one of secretRef and kubernetesServiceAccountToken")
	case t != nil:
		audiences := []string{vaultAudience}
		if t.Audiences != nil {
			audiences = *t.Audiences
		}
		var life time.Duration
		if t.ExpirationSeconds != nil {
			life = time.Duration(*t.ExpirationSeconds) * time.Second
		}
		reads["jwt"] = serviceAccount(field+".kubernetesServiceAccountToken.serviceAccountRef", t.ServiceAccountRef, audiences, life)
	default:
		if err := CheckRef(field+".secretRef", *j.SecretRef); err != nil {
			return Method{Field: field, Err: err}
		}
		reads["jwt"] = Trimmed(Secret(field+".secretRef", *j.SecretRef))
	}
	return At(field, cmp.Or(j.Path, "jwt"), []string{"login"}, reads)
}

// cert logs in with the client certificate of the connection.
func cert(field string, c *esv1.VaultCertAuth) Method {
	if err := cmp.Or(CheckRef(field+".clientCert", c.ClientCert), CheckRef(field+".secretRef", c.SecretRef)); err != nil {
		return Method{Field: field, Err: err}
	}
	reads := map[string]Read{}
	if c.VaultRole != "" {
		reads["name"] = Literal(c.VaultRole)
	}
	return At(field, cmp.Or(c.Path, "cert"), []string{"login"}, reads)
}

// serviceAccount asks for a token for the audiences of the reference and the more
// that are given, or, as a role without an audience needs it, for the API server.
func serviceAccount(field string, ref esmeta.ServiceAccountSelector, more []string, life time.Duration) Read {
	audiences := slices.Concat(ref.Audiences, more)
	if len(audiences) == 0 {
		audiences = []string{provider.ClusterAudience}
	}
	return ServiceAccount(provider.TokenRequest{
		Namespace: ref.Namespace, ServiceAccount: ref.Name, Audiences: audiences, Lifetime: life, Field: field,
	})
}
