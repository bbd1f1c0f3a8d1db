package faults_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"net"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	esv1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	"github.com/keyferry/keyferry/internal/reconcile"
	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/providers/all"
	"github.com/keyferry/keyferry/secret"
	"github.com/keyferry/keyferry/store"
)

// selectorSpecs has, for every field of a provider that names a Secret, a ConfigMap
// or a service account, a spec that uses it. REF is the selector under test: a name
// and perhaps a namespace; what stands beside it is the attacker's own.
func selectorSpecs() map[string]string {
	out := map[string]string{
		"kubernetes.server.caProvider":                                   `{server: {url: $HOOK, caProvider: {REF, type: ConfigMap, key: pem}}, auth: {token: {bearerToken: {name: own, key: token}}}}`,
		"kubernetes.auth.cert.clientCert":                                `{server: {url: $HOOK}, auth: {cert: {clientCert: {REF, key: pem}, clientKey: {name: own, key: key}}}}`,
		"kubernetes.auth.cert.clientKey":                                 `{server: {url: $HOOK}, auth: {cert: {clientCert: {name: own, key: pem}, clientKey: {REF, key: key}}}}`,
		"kubernetes.auth.token.bearerToken":                              `{server: {url: $HOOK}, auth: {token: {bearerToken: {REF, key: token}}}}`,
		"kubernetes.auth.serviceAccount":                                 `{server: {url: $HOOK}, auth: {serviceAccount: {REF}}}`,
		"kubernetes.authRef":                                             `{authRef: {REF, key: kubeconfig}}`,
		"webhook.auth.ntlm.usernameSecret":                               `{url: $HOOK, auth: {ntlm: {usernameSecret: {REF, key: token}, passwordSecret: {name: own, key: token}}}}`,
		"webhook.auth.ntlm.passwordSecret":                               `{url: $HOOK, auth: {ntlm: {usernameSecret: {name: own, key: token}, passwordSecret: {REF, key: token}}}}`,
		"webhook.secrets[].secretRef":                                    `{url: $HOOK, secrets: [{name: s, secretRef: {REF, key: token}}], body: "{{ .s.token }}"}`,
		"webhook.caProvider":                                             `{url: $HOOK, caProvider: {REF, type: Secret, key: pem}}`,
		"vault.tls.certSecretRef":                                        `{server: $HOOK, tls: {certSecretRef: {REF, key: pem}, keySecretRef: {name: own, key: key}}, auth: {tokenSecretRef: {name: own, key: token}}}`,
		"vault.tls.keySecretRef":                                         `{server: $HOOK, tls: {certSecretRef: {name: own, key: pem}, keySecretRef: {REF, key: key}}, auth: {tokenSecretRef: {name: own, key: token}}}`,
		"vault.auth.kubernetes.serviceAccountRef":                        `{server: $HOOK, auth: {kubernetes: {mountPath: k, role: r, serviceAccountRef: {REF}}}}`,
		"vault.auth.kubernetes.secretRef":                                `{server: $HOOK, auth: {kubernetes: {mountPath: k, role: r, secretRef: {REF, key: token}}}}`,
		"vault.auth.ldap.secretRef":                                      `{server: $HOOK, auth: {ldap: {path: l, username: u, secretRef: {REF, key: token}}}}`,
		"vault.auth.jwt.secretRef":                                       `{server: $HOOK, auth: {jwt: {path: j, secretRef: {REF, key: token}}}}`,
		"vault.auth.jwt.kubernetesServiceAccountToken.serviceAccountRef": `{server: $HOOK, auth: {jwt: {path: j, kubernetesServiceAccountToken: {serviceAccountRef: {REF}}}}}`,
		"vault.auth.cert.clientCert":                                     `{server: $HOOK, auth: {cert: {clientCert: {REF, key: pem}, secretRef: {name: own, key: key}}}}`,
		"vault.auth.cert.secretRef":                                      `{server: $HOOK, auth: {cert: {clientCert: {name: own, key: pem}, secretRef: {REF, key: key}}}}`,
	}
	const iam, aws = "vault.auth.iam.", `{service: SecretsManager, region: eu-west-1, auth: `
	out[iam+"secretRef.accessKeyIDSecretRef"] = `{server: $HOOK, auth: {iam: {vaultRole: r, secretRef: {accessKeyIDSecretRef: {REF, key: token}, secretAccessKeySecretRef: {name: own, key: token}}}}}`
	out[iam+"secretRef.secretAccessKeySecretRef"] = `{server: $HOOK, auth: {iam: {vaultRole: r, secretRef: {accessKeyIDSecretRef: {name: own, key: token}, secretAccessKeySecretRef: {REF, key: token}}}}}`
	out[iam+"secretRef.sessionTokenSecretRef"] = `{server: $HOOK, auth: {iam: {vaultRole: r, secretRef: {accessKeyIDSecretRef: {name: own, key: token}, secretAccessKeySecretRef: {name: own, key: token}, sessionTokenSecretRef: {REF, key: token}}}}}`
	out[iam+"jwt.serviceAccountRef"] = `{server: $HOOK, auth: {iam: {vaultRole: r, jwt: {serviceAccountRef: {REF}}}}}`
	out["aws.auth.secretRef.accessKeyIDSecretRef"] = aws + `{secretRef: {accessKeyIDSecretRef: {REF, key: token}, secretAccessKeySecretRef: {name: own, key: token}}}}`
	out["aws.auth.secretRef.secretAccessKeySecretRef"] = aws + `{secretRef: {accessKeyIDSecretRef: {name: own, key: token}, secretAccessKeySecretRef: {REF, key: token}}}}`
	out["aws.auth.secretRef.sessionTokenSecretRef"] = aws + `{secretRef: {accessKeyIDSecretRef: {name: own, key: token}, secretAccessKeySecretRef: {name: own, key: token}, sessionTokenSecretRef: {REF, key: token}}}}`
	out["aws.auth.jwt.serviceAccountRef"] = aws + `{jwt: {serviceAccountRef: {REF}}}}`
	for _, name := range []string{"vault", "openBao"} {
		out[name+".caProvider"] = `{server: $HOOK, caProvider: {REF, type: Secret, key: pem}, auth: {tokenSecretRef: {name: own, key: token}}}`
		out[name+".auth.tokenSecretRef"] = `{server: $HOOK, auth: {tokenSecretRef: {REF, key: token}}}`
		out[name+".auth.appRole.roleRef"] = `{server: $HOOK, auth: {appRole: {path: a, roleRef: {REF, key: token}, secretRef: {name: own, key: token}}}}`
		out[name+".auth.appRole.secretRef"] = `{server: $HOOK, auth: {appRole: {path: a, roleId: r, secretRef: {REF, key: token}}}}`
		out[name+".auth.userPass.secretRef"] = `{server: $HOOK, auth: {userPass: {path: u, username: u, secretRef: {REF, key: token}}}}`
	}
	return out
}

// refusedSpecs are selectors of methods that this build refuses as a whole.
func refusedSpecs() map[string]string {
	const gcp = "vault.auth.gcp."
	return map[string]string{
		gcp + "workloadIdentity.serviceAccountRef": `{server: $HOOK, auth: {gcp: {role: r, workloadIdentity: {serviceAccountRef: {REF}}}}}`,
		gcp + "secretRef.secretAccessKeySecretRef": `{server: $HOOK, auth: {gcp: {role: r, secretRef: {secretAccessKeySecretRef: {REF, key: token}}}}}`,
		gcp + "serviceAccountRef":                  `{server: $HOOK, auth: {gcp: {role: r, serviceAccountRef: {REF}}}}`,
	}
}

// selectors finds every field below a type that names an object: a struct with a
// Name, and a Namespace or a Key.
func selectors(t reflect.Type, path string) []string {
	switch t.Kind() {
	case reflect.Pointer:
		return selectors(t.Elem(), path)
	case reflect.Slice:
		return selectors(t.Elem(), path+"[]")
	case reflect.Struct:
	default:
		return nil
	}
	if _, ok := t.FieldByName("Name"); ok {
		if ns, ok := t.FieldByName("Namespace"); ok && ns.Type.Kind() == reflect.Pointer {
			return []string{path}
		}
		if _, ok := t.FieldByName("Key"); ok {
			return []string{path}
		}
	}
	var out []string
	for f := range t.Fields() {
		if f.IsExported() {
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			out = append(out, selectors(f.Type, strings.TrimPrefix(path+"."+name, "."))...)
		}
	}
	return out
}

func TestEveryFieldThatNamesAnObjectIsTried(t *testing.T) {
	want := selectors(reflect.TypeFor[esv1.SecretStoreProvider](), "")
	tried := slices.AppendSeq(slices.Collect(maps.Keys(selectorSpecs())), maps.Keys(refusedSpecs()))
	slices.Sort(want)
	slices.Sort(tried)
	if !slices.Equal(want, tried) {
		t.Errorf("the providers have the fields\n%q\nand tried are\n%q", want, tried)
	}
}

// recorder is a set of namespaces, each with the same objects, that keeps who was
// read.
type recorder struct {
	pem, key []byte
	// transport leads to the network; nil if there is none.
	transport http.RoundTripper

	mu    sync.Mutex
	reads map[string]bool // the namespaces
}

func (r *recorder) read(namespace string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reads[namespace] = true
}

func (r *recorder) Load(_ context.Context, _, namespace, _ string) (store.Loaded, error) {
	r.read(namespace)
	kubeconfig := fmt.Sprintf(`{"apiVersion":"v1","kind":"Config","current-context":"c","contexts":[{"name":"c","context":{"cluster":"c","user":"u"}}],
		"clusters":[{"name":"c","cluster":{"server":"https://api.invalid"}}],"users":[{"name":"u","user":{"token":"token-of-%s"}}]}`, namespace)
	return store.Loaded{Version: "1", Labels: map[string]string{esv1.LabelType: esv1.LabelTypeWebhook}, Annotations: map[string]string{"eks.amazonaws.com/role-arn": "arn:aws:iam::123456789012:role/r"}, Data: map[string]secret.Value{
		"token": secret.FromString("token-of-" + namespace), "kubeconfig": secret.FromString(kubeconfig),
		"pem": secret.New(r.pem), "key": secret.New(r.key), "policy": secret.FromString(`{"Version":"2012-10-17","Statement":[]}`),
	}}, nil
}

func (r *recorder) Token(_ context.Context, a store.Account) (store.Issued, error) {
	r.read(a.Namespace)
	return store.Issued{Token: secret.FromString("token-of-" + a.Namespace), Expires: time.Now().Add(time.Hour)}, nil
}

var errNoNetwork = errors.New("there is no network here")

func noDial(context.Context, string, string) (net.Conn, error) { return nil, errNoNetwork }

func (r *recorder) HTTP(provider.TLS, bool) (*http.Client, error) {
	if r.transport != nil {
		return &http.Client{Transport: r.transport}, nil
	}
	return &http.Client{Transport: &http.Transport{DialContext: noDial}}, nil
}

type clock struct{}

func (clock) Now() time.Time                         { return time.Now() }
func (clock) After(d time.Duration) <-chan time.Time { return time.After(d) }

// open returns a store as a consumer in the namespace tenant has it. A SecretStore is in
// the namespace "attacker".
func (r *recorder) open(t *testing.T, kind, tenant, name, spec string) (*store.Pool, store.Place) {
	t.Helper()
	r.reads = map[string]bool{}
	registry, err := all.Registry()
	if err != nil {
		t.Fatal(err)
	}
	pool := store.New(store.Config{Registry: registry, Surroundings: r, Clock: clock{}})
	t.Cleanup(func() { _ = pool.Close() }) // nothing is held that must be ended
	var s esv1.GenericStore = &esv1.SecretStore{}
	if kind == esv1.ClusterSecretStoreKind {
		s = &esv1.ClusterSecretStore{}
	} else {
		s.SetNamespace("attacker")
	}
	s.SetName("store")
	s.SetUID("1")
	text := "{provider: {" + name + ": " + strings.ReplaceAll(spec, "$HOOK", "https://hook.invalid") + "}, retrySettings: {maxRetries: 0}}"
	if err := yaml.UnmarshalStrict([]byte(text), s.GetSpec()); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	place, err := reconcile.Place(s, tenant)
	if err != nil {
		t.Fatal(err)
	}
	return pool, place
}

// try reads from a store as a consumer in the namespace tenant would, and returns
// the namespaces that were read for it.
func (r *recorder) try(t *testing.T, kind, tenant, field, spec string) ([]string, error) {
	t.Helper()
	name, _, _ := strings.Cut(field, ".")
	pool, place := r.open(t, kind, tenant, name, spec)
	defer pool.Close()
	var err error
	if tenant == "" {
		err = pool.Check(t.Context(), place)
	} else {
		key := "app/key"
		if name == "kubernetes" {
			key = "app"
		}
		err = pool.Read(t.Context(), place, []secret.Ref{{Key: key}}, time.Now())[0].Err
	}
	return slices.Sorted(maps.Keys(r.reads)), err
}

func TestANamespaceReachesItsOwnCredentialsAndNoOthers(t *testing.T) {
	r := &recorder{}
	r.pem, r.key = keyPair(t)
	const single, whole = esv1.SecretStoreKind, esv1.ClusterSecretStoreKind
	for name, tc := range map[string]struct {
		kind, tenant, ref string
		// beside is where the other credentials of a spec are, reads where those of
		// the field under test are to be looked for.
		beside, reads string
		want          secret.Kind // empty for any but Denied
	}{
		"a SecretStore names another namespace":           {single, "attacker", "name: x, namespace: victim", "attacker", "", secret.Denied},
		"a SecretStore names its own":                     {single, "attacker", "name: x, namespace: attacker", "attacker", "attacker", ""},
		"a SecretStore names none":                        {single, "attacker", "name: x", "attacker", "attacker", ""},
		"a ClusterSecretStore names one":                  {whole, "tenant", "name: x, namespace: admin", "admin", "admin", ""},
		"a ClusterSecretStore names none, for one tenant": {whole, "tenant", "name: x", "admin", "tenant", ""},
		"a ClusterSecretStore names none, for another":    {whole, "other", "name: x", "admin", "other", ""},
		"a ClusterSecretStore names none, for nobody":     {whole, "", "name: x", "admin", "", secret.Unsupported},
	} {
		t.Run(name, func(t *testing.T) {
			for field, spec := range selectorSpecs() {
				spec = strings.ReplaceAll(spec, "name: own", "name: own, namespace: "+tc.beside)
				reads, err := r.try(t, tc.kind, tc.tenant, field, strings.ReplaceAll(spec, "REF", tc.ref))
				reads = slices.DeleteFunc(reads, func(ns string) bool { return ns == tc.beside && ns != tc.reads })
				if got := strings.Join(reads, " and "); got != tc.reads {
					t.Errorf("%s: read in %q, want %q (%v)", field, got, tc.reads, err)
				}
				if kind := secret.KindOf(err); tc.want != "" && kind != tc.want || tc.want == "" && kind == secret.Denied {
					t.Errorf("%s: got %v, want %q", field, err, tc.want)
				}
			}
		})
	}
}

func TestWhatThisBuildRefusesReadsNothing(t *testing.T) {
	r := &recorder{}
	for field, spec := range refusedSpecs() {
		for _, kind := range []string{esv1.SecretStoreKind, esv1.ClusterSecretStoreKind} {
			reads, err := r.try(t, kind, "attacker", field, strings.ReplaceAll(spec, "REF", "name: x, namespace: victim"))
			if !errors.Is(err, secret.Invalid) || len(reads) > 0 {
				t.Errorf("%s: read in %q and got %v", field, reads, err)
			}
		}
	}
}

// keyPair returns a certificate for nobody and its key.
func keyPair(t *testing.T) (cert, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
}
