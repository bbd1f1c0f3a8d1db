package vault

import (
	"cmp"
	"slices"
	"time"

	esv1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	esmeta "github.com/keyferry/keyferry/api/meta/v1"
	"github.com/keyferry/keyferry/internal/vaultapi"
	"github.com/keyferry/keyferry/provider"
)

const (
	auth     = spec + ".auth"
	audience = "vault"
	notYet   = "this build cannot log in so: use another method"
)

// method returns the one auth method of a manifest.
func method(a *esv1.VaultAuth) (vaultapi.Method, error) {
	if a == nil {
		a = &esv1.VaultAuth{}
	}
	var all []vaultapi.Method
	if a.TokenSecretRef != nil {
		all = append(all, vaultapi.Token(auth+".tokenSecretRef", *a.TokenSecretRef))
	}
	if a.AppRole != nil {
		all = append(all, vaultapi.AppRole(auth+".appRole", *a.AppRole))
	}
	if a.Kubernetes != nil {
		all = append(all, kubernetes(a.Kubernetes))
	}
	if l := a.Ldap; l != nil {
		all = append(all, vaultapi.Password(auth+".ldap", cmp.Or(l.Path, "ldap"), l.Username, l.SecretRef))
	}
	if u := a.UserPass; u != nil {
		all = append(all, vaultapi.Password(auth+".userPass", cmp.Or(u.Path, "userpass"), u.Username, u.SecretRef))
	}
	if a.Jwt != nil {
		all = append(all, jwt(a.Jwt))
	}
	if a.Cert != nil {
		all = append(all, cert(a.Cert))
	}
	if a.Iam != nil {
		all = append(all, vaultapi.Refused(auth+".iam", notYet))
	}
	if a.GCP != nil {
		all = append(all, vaultapi.Refused(auth+".gcp", notYet))
	}
	return vaultapi.Choose(auth, all)
}

// kubernetes sends the token that the manifest names. The controller's own is for
// the API server alone: who names a server in a manifest could collect it there.
func kubernetes(k *esv1.VaultKubernetesAuth) vaultapi.Method {
	const field = auth + ".kubernetes"
	var token vaultapi.Read
	switch {
	case k.Role == "":
		return vaultapi.Refused(field+".role", "must name a role")
	case k.ServiceAccountRef != nil:
		token = serviceAccount(field+".serviceAccountRef", *k.ServiceAccountRef, nil, 0)
	case k.SecretRef != nil:
		ref := *k.SecretRef
		ref.Key = cmp.Or(ref.Key, "token")
		if err := vaultapi.CheckRef(field+".secretRef", ref); err != nil {
			return vaultapi.Method{Field: field, Err: err}
		}
		token = vaultapi.Trimmed(vaultapi.Secret(field+".secretRef", ref))
	default:
		return vaultapi.Refused(field, "name serviceAccountRef or secretRef: the controller's own token is not sent")
	}
	return vaultapi.At(field, cmp.Or(k.Path, "kubernetes"), []string{"login"},
		map[string]vaultapi.Read{"role": vaultapi.Literal(k.Role), "jwt": token})
}

func jwt(j *esv1.VaultJwtAuth) vaultapi.Method {
	const field = auth + ".jwt"
	reads := map[string]vaultapi.Read{}
	if j.Role != "" {
		reads["role"] = vaultapi.Literal(j.Role)
	}
	switch t := j.KubernetesServiceAccountToken; {
	case (t == nil) == (j.SecretRef == nil):
		return vaultapi.Refused(field, "name one of secretRef and kubernetesServiceAccountToken")
	case t != nil:
		audiences := []string{audience}
		if t.Audiences != nil {
			audiences = *t.Audiences
		}
		var life time.Duration
		if t.ExpirationSeconds != nil {
			life = time.Duration(*t.ExpirationSeconds) * time.Second
		}
		reads["jwt"] = serviceAccount(field+".kubernetesServiceAccountToken.serviceAccountRef", t.ServiceAccountRef, audiences, life)
	default:
		if err := vaultapi.CheckRef(field+".secretRef", *j.SecretRef); err != nil {
			return vaultapi.Method{Field: field, Err: err}
		}
		reads["jwt"] = vaultapi.Trimmed(vaultapi.Secret(field+".secretRef", *j.SecretRef))
	}
	return vaultapi.At(field, cmp.Or(j.Path, "jwt"), []string{"login"}, reads)
}

// cert logs in with the client certificate of the connection.
func cert(c *esv1.VaultCertAuth) vaultapi.Method {
	const field = auth + ".cert"
	if err := cmp.Or(vaultapi.CheckRef(field+".clientCert", c.ClientCert), vaultapi.CheckRef(field+".secretRef", c.SecretRef)); err != nil {
		return vaultapi.Method{Field: field, Err: err}
	}
	reads := map[string]vaultapi.Read{}
	if c.VaultRole != "" {
		reads["name"] = vaultapi.Literal(c.VaultRole)
	}
	return vaultapi.At(field, cmp.Or(c.Path, "cert"), []string{"login"}, reads)
}

// serviceAccount asks for a token for the audiences of the reference and the more
// that are given, or, as a role without an audience needs it, for the API server.
func serviceAccount(field string, ref esmeta.ServiceAccountSelector, more []string, life time.Duration) vaultapi.Read {
	audiences := slices.Concat(ref.Audiences, more)
	if len(audiences) == 0 {
		audiences = []string{provider.ClusterAudience}
	}
	return vaultapi.ServiceAccount(provider.TokenRequest{
		Namespace: ref.Namespace, ServiceAccount: ref.Name, Audiences: audiences, Lifetime: life, Field: field,
	})
}
