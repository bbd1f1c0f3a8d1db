package vault

import (
	"strings"
	"testing"

	esv1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	esmeta "github.com/keyferry/keyferry/api/meta/v1"
	"github.com/keyferry/keyferry/secret"
)

func TestValidate(t *testing.T) {
	auth := func(a esv1.VaultAuth) func(*esv1.VaultProvider) {
		return func(s *esv1.VaultProvider) { s.Auth = &a }
	}
	sa := &esmeta.ServiceAccountSelector{Name: "reader"}
	saToken := &esv1.VaultKubernetesServiceAccountTokenAuth{ServiceAccountRef: *sa}
	for name, tc := range map[string]struct {
		change func(*esv1.VaultProvider)
		// fields are named by the error; none if there is none.
		fields []string
	}{
		"a token":                            {change: func(*esv1.VaultProvider) {}},
		"every default":                      {change: auth(esv1.VaultAuth{AppRole: &esv1.VaultAppRole{RoleID: "r", SecretRef: *ref("s", "k")}})},
		"appRole of two roles takes roleRef": {change: auth(esv1.VaultAuth{AppRole: &esv1.VaultAppRole{RoleID: "r", RoleRef: ref("s", "r"), SecretRef: *ref("s", "k")}})},
		"kubernetes with a service account":  {change: auth(esv1.VaultAuth{Kubernetes: &esv1.VaultKubernetesAuth{Role: "r", ServiceAccountRef: sa}})},
		"kubernetes with a Secret's token":   {change: auth(esv1.VaultAuth{Kubernetes: &esv1.VaultKubernetesAuth{Role: "r", SecretRef: &esmeta.SecretKeySelector{Name: "s"}}})},

		"no server":                   {change: func(s *esv1.VaultProvider) { s.Server = "" }, fields: []string{"server"}},
		"credentials in the server":   {change: func(s *esv1.VaultProvider) { s.Server = "https://u:p@h" }, fields: []string{"server"}},
		"a path that climbs out":      {change: func(s *esv1.VaultProvider) { s.Path = new("kv/../sys") }, fields: []string{"vault.path"}},
		"a header with a line feed":   {change: func(s *esv1.VaultProvider) { s.Headers = map[string]string{"X-A": "b\nX-B: c"} }, fields: []string{"vault.headers"}},
		"another version":             {change: func(s *esv1.VaultProvider) { s.Version = "v3" }, fields: []string{"version"}},
		"check-and-set of v1":         {change: func(s *esv1.VaultProvider) { s.Version, s.CheckAndSet = "v1", &esv1.VaultCheckAndSet{Required: true} }, fields: []string{"checkAndSet.required"}},
		"a certificate without a key": {change: func(s *esv1.VaultProvider) { s.ClientTLS.CertSecretRef = ref("s", "k") }, fields: []string{"tls"}},
		"a certificate without a name": {change: func(s *esv1.VaultProvider) {
			s.ClientTLS = esv1.VaultClientTLS{CertSecretRef: ref("", "k"), KeySecretRef: ref("s", "k")}
		}, fields: []string{"tls.certSecretRef.name"}},
		"a CA without a key": {change: func(s *esv1.VaultProvider) { s.CAProvider = &esv1.CAProvider{Name: "ca"} }, fields: []string{"caProvider"}},
		"no auth":            {change: func(s *esv1.VaultProvider) { s.Auth = nil }, fields: []string{"auth"}},
		"no method":          {change: auth(esv1.VaultAuth{}), fields: []string{"auth"}},
		"two methods": {
			change: auth(esv1.VaultAuth{TokenSecretRef: ref("s", "k"), Cert: &esv1.VaultCertAuth{ClientCert: *ref("s", "k"), SecretRef: *ref("s", "k")}}),
			fields: []string{"auth.tokenSecretRef", "auth.cert"},
		},
		"a token without a key":          {change: auth(esv1.VaultAuth{TokenSecretRef: ref("s", "")}), fields: []string{"auth.tokenSecretRef.key"}},
		"appRole without a role":         {change: auth(esv1.VaultAuth{AppRole: &esv1.VaultAppRole{SecretRef: *ref("s", "k")}}), fields: []string{"auth.appRole", "roleId"}},
		"appRole without a secret":       {change: auth(esv1.VaultAuth{AppRole: &esv1.VaultAppRole{RoleID: "r"}}), fields: []string{"auth.appRole.secretRef.name"}},
		"appRole of an odd mount":        {change: auth(esv1.VaultAuth{AppRole: &esv1.VaultAppRole{Path: "../sys", RoleID: "r", SecretRef: *ref("s", "k")}}), fields: []string{"auth.appRole"}},
		"kubernetes without a token":     {change: auth(esv1.VaultAuth{Kubernetes: &esv1.VaultKubernetesAuth{Role: "r"}}), fields: []string{"auth.kubernetes", "serviceAccountRef"}},
		"kubernetes without a role":      {change: auth(esv1.VaultAuth{Kubernetes: &esv1.VaultKubernetesAuth{ServiceAccountRef: sa}}), fields: []string{"auth.kubernetes.role"}},
		"kubernetes without a Secret":    {change: auth(esv1.VaultAuth{Kubernetes: &esv1.VaultKubernetesAuth{Role: "r", SecretRef: ref("", "k")}}), fields: []string{"auth.kubernetes.secretRef.name"}},
		"ldap without a password":        {change: auth(esv1.VaultAuth{Ldap: &esv1.VaultLdapAuth{Username: "u"}}), fields: []string{"auth.ldap.secretRef"}},
		"ldap without a user":            {change: auth(esv1.VaultAuth{Ldap: &esv1.VaultLdapAuth{SecretRef: *ref("s", "k")}}), fields: []string{"auth.ldap.username"}},
		"userPass of a user with a path": {change: auth(esv1.VaultAuth{UserPass: &esv1.VaultUserPassAuth{Username: "../x", SecretRef: *ref("s", "k")}}), fields: []string{"auth.userPass.username"}},
		"jwt without a token":            {change: auth(esv1.VaultAuth{Jwt: &esv1.VaultJwtAuth{Role: "r"}}), fields: []string{"auth.jwt"}},
		"jwt with two tokens":            {change: auth(esv1.VaultAuth{Jwt: &esv1.VaultJwtAuth{SecretRef: ref("s", "k"), KubernetesServiceAccountToken: saToken}}), fields: []string{"auth.jwt"}},
		"jwt without a key":              {change: auth(esv1.VaultAuth{Jwt: &esv1.VaultJwtAuth{SecretRef: ref("s", "")}}), fields: []string{"auth.jwt.secretRef.key"}},
		"cert without a key":             {change: auth(esv1.VaultAuth{Cert: &esv1.VaultCertAuth{ClientCert: *ref("s", "k")}}), fields: []string{"auth.cert.secretRef"}},
		"iam with every default":         {change: auth(esv1.VaultAuth{Iam: &esv1.VaultIamAuth{Role: "r"}})},
		"iam without a role":             {change: auth(esv1.VaultAuth{Iam: &esv1.VaultIamAuth{}}), fields: []string{"auth.iam.vaultRole"}},
		"iam of an odd region":           {change: auth(esv1.VaultAuth{Iam: &esv1.VaultIamAuth{Role: "r", Region: "a.b/c"}}), fields: []string{"auth.iam.region"}},
		"iam of an odd mount":            {change: auth(esv1.VaultAuth{Iam: &esv1.VaultIamAuth{Role: "r", Path: "../sys"}}), fields: []string{"auth.iam"}},
		"iam with half a key":            {change: auth(esv1.VaultAuth{Iam: &esv1.VaultIamAuth{Role: "r", SecretRef: &esv1.VaultAwsAuthSecretRef{AccessKeyID: *ref("s", "k")}}}), fields: []string{"auth.iam.secretRef.secretAccessKeySecretRef"}},
		"iam without a service account":  {change: auth(esv1.VaultAuth{Iam: &esv1.VaultIamAuth{Role: "r", JWTAuth: &esv1.VaultAwsJWTAuth{}}}), fields: []string{"auth.iam.jwt"}},
		"gcp is not there yet":           {change: auth(esv1.VaultAuth{GCP: &esv1.VaultGCPAuth{Role: "r"}}), fields: []string{"auth.gcp"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := &esv1.VaultProvider{Server: "https://vault.test", Auth: &esv1.VaultAuth{TokenSecretRef: ref("s", "k")}}
			tc.change(s)
			err := Provider().Validate(s)
			if tc.fields == nil {
				if err != nil {
					t.Error(err)
				}
				return
			}
			wantKind(t, err, secret.Invalid)
			for _, field := range tc.fields {
				if !strings.Contains(err.Error(), field) {
					t.Errorf("the error does not name %s: %v", field, err)
				}
			}
		})
	}
}
