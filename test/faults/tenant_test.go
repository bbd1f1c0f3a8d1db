package faults_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"

	esv1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	"github.com/keyferry/keyferry/internal/testenv"
)

// ledger stands between a controller and the API server and keeps what was asked.
type ledger struct {
	kubeconfig string

	mu    sync.Mutex
	asked []string // method, path and what is accepted
}

func newLedger(t *testing.T, plane *testenv.ControlPlane) *ledger {
	t.Helper()
	config := plane.Config()
	transport, err := rest.TransportFor(config)
	if err != nil {
		t.Fatal(err)
	}
	target, err := url.Parse(config.Host)
	if err != nil {
		t.Fatal(err)
	}
	l := &ledger{kubeconfig: filepath.Join(t.TempDir(), "kubeconfig")}
	proxy := &httputil.ReverseProxy{Transport: transport, FlushInterval: -1, Rewrite: func(r *httputil.ProxyRequest) {
		l.mu.Lock()
		l.asked = append(l.asked, r.In.Method+" "+r.In.URL.Path+" "+r.In.Header.Get("Accept"))
		l.mu.Unlock()
		r.SetURL(target)
	}}
	server := httptest.NewServer(proxy)
	t.Cleanup(server.CloseClientConnections) // watches never end by themselves
	writeKubeconfig(t, l.kubeconfig, server.URL)
	return l
}

// about returns the requests that match.
func (l *ledger) about(match func(request string) bool) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(l.asked), func(s string) bool { return !match(s) })
}

// tenancy is a cluster with an attacker, who owns a namespace, and a victim, who
// owns another one.
type tenancy struct {
	*world        // the attacker's
	victim *world // the same cluster
	stem   string
	hook   *hook // where the attacker's stores are
	inside *hook // where the attacker must not get
	// attempts are the ExternalSecrets, and pushes the PushSecrets, that must fail.
	attempts, pushes []string
	refused          int // by the API server, at once
}

func newTenancy(t *testing.T) *tenancy {
	t.Helper()
	const stem = "Zk4Victim8Qw"
	w := newWorld(t, testenv.StartCluster(t))
	other := *w
	other.namespace = w.plane.Namespace(t)
	tt := &tenancy{world: w, victim: &other, stem: stem, hook: newHook(t, "127.0.0.2", "answer", false), inside: newHook(t, "127.0.0.1", stem+"inside", false)}
	tt.hook.redirect = tt.inside.URL
	cert, key := keyPair(t)
	kubeconfig := `{"apiVersion":"v1","kind":"Config","current-context":"c","contexts":[{"name":"c","context":{"cluster":"c","user":"u"}}],
		"clusters":[{"name":"c","cluster":{"server":"` + tt.hook.URL + `"}}],"users":[{"name":"u","user":{"token":"` + stem + `kubeconfig"}}]}`
	label := map[string]string{esv1.LabelType: esv1.LabelTypeWebhook}
	credential := &corev1.Secret{ObjectMeta: other.meta("x"), StringData: map[string]string{
		"token": stem + "token", "pem": string(cert) + stem + "pem", "key": string(key) + stem + "key", "kubeconfig": kubeconfig,
	}}
	own := &corev1.Secret{ObjectMeta: w.meta("own"), StringData: map[string]string{"token": "own", "pem": string(cert), "key": string(key)}}
	credential.Labels, own.Labels = label, label
	w.create(credential, own,
		&corev1.ConfigMap{ObjectMeta: other.meta("x"), Data: map[string]string{"pem": stem + "configmap", "token": stem + "configmap"}},
		&corev1.ServiceAccount{ObjectMeta: other.meta("x")}, &corev1.ServiceAccount{ObjectMeta: w.meta("own")},
	)
	for _, in := range []*world{w, &other} {
		tt.must(in, esv1.SecretStoreKind, map[*world]string{w: "plain", &other: "victims"}[in], `{provider: {fake: {data: [{key: app, value: '{"user":"ada"}'}]}}}`)
	}
	return tt
}

func (tt *tenancy) must(in *world, kind, name, spec string) {
	tt.t.Helper()
	if err := in.apply(kind, name, tt.text(spec)); err != nil {
		tt.t.Fatalf("%s %s: %v", kind, name, err)
	}
}

func (tt *tenancy) text(s string) string {
	return strings.NewReplacer("$VICTIM", tt.victim.namespace, "$SELF", tt.namespace, "$HOOK", tt.hook.URL, "$API", tt.plane.Config().Host).Replace(s)
}

// attempt makes an ExternalSecret of the attacker's that must not succeed; with a
// provider it has a SecretStore of its own.
func (tt *tenancy) attempt(name, providerSpec, spec string) {
	tt.t.Helper()
	storeName := "plain"
	if providerSpec != "" {
		storeName = name
		if err := tt.apply(esv1.SecretStoreKind, name, tt.text("{provider: {"+providerSpec+"}, retrySettings: {maxRetries: 0}}")); err != nil {
			tt.refused++
			return
		}
	}
	if !strings.Contains(spec, "secretStoreRef:") {
		spec = strings.Replace(spec, "{", "{secretStoreRef: {name: "+storeName+"}, ", 1)
	}
	if err := tt.apply(esv1.ExtSecretKind, name, tt.text(spec)); err != nil {
		tt.refused++
		return
	}
	tt.attempts = append(tt.attempts, name)
}

func TestATenantReachesNothingOfAnother(t *testing.T) {
	tt := newTenancy(t)
	bao := testenv.OpenBao(t)
	tt.tryFields()
	tt.tryObjects()
	tt.tryPushes()
	tt.tryGenerators()
	tt.allow()
	tt.tryEndpoints()
	tt.share(bao)
	tt.forge()
	before := tt.victims()
	l := newLedger(t, tt.plane)
	p := startController(t, l.kubeconfig, "--egress-allow=127.0.0.2/32", "--enable-flood-gate=false", "--loglevel=debug")
	eventually(t, 90*time.Second, tt.outcome)
	t.Logf("%d attempts refused at admission, %d by a condition; %d requests to the attacker's own address", tt.refused, len(tt.attempts)+len(tt.pushes), len(tt.hook.seen()))
	if diff := cmp.Diff(before, tt.victims()); diff != "" {
		t.Errorf("the victim's objects have changed: %s", diff)
	}
	tt.proveNothingWasRead(l)
	tt.proveNoNamespaceWasForged()
	tt.scan(p)
}

// tryFields names the victim's objects by every field of every provider.
func (tt *tenancy) tryFields() {
	fields := selectorSpecs()
	maps.Copy(fields, refusedSpecs())
	i := 0
	for _, field := range slices.Sorted(maps.Keys(fields)) {
		member, _, _ := strings.Cut(field, ".")
		for _, ref := range []string{"name: x, namespace: $VICTIM", "name: $VICTIM/x", "name: ../$VICTIM/x"} {
			spec := strings.ReplaceAll(fields[field], "REF", ref)
			tt.attempt(fmt.Sprintf("field-%03d", i), member+": "+spec, `{data: [{secretKey: v, remoteRef: {key: x}}]}`)
			i++
		}
	}
}

// objectAttempts name them by the fields of an ExternalSecret.
func objectAttempts() map[string]string {
	const data = `data: [{secretKey: v, remoteRef: {key: app}}]`
	return map[string]string{
		"template-configmap":        `{target: {template: {templateFrom: [{configMap: {name: x, items: [{key: token}]}}]}}, ` + data + `}`,
		"template-configmap-in":     `{target: {template: {templateFrom: [{configMap: {name: x, namespace: $VICTIM, items: [{key: token}]}}]}}, ` + data + `}`,
		"template-configmap-path":   `{target: {template: {templateFrom: [{configMap: {name: $VICTIM/x, items: [{key: token}]}}]}}, ` + data + `}`,
		"template-secret":           `{target: {template: {templateFrom: [{secret: {name: x, items: [{key: token}]}}]}}, ` + data + `}`,
		"template-secret-in":        `{target: {template: {templateFrom: [{secret: {name: x, namespace: $VICTIM, items: [{key: token}]}}]}}, ` + data + `}`,
		"template-secret-path":      `{target: {template: {templateFrom: [{secret: {name: ../$VICTIM/x, items: [{key: token}]}}]}}, ` + data + `}`,
		"template-lookup":           `{target: {template: {data: {v: '{{ lookup "v1" "Secret" "$VICTIM" "x" }}'}}}, ` + data + `}`,
		"template-file":             `{target: {template: {data: {v: '{{ readFile "/etc/hostname" }}'}}}, ` + data + `}`,
		"template-env":              `{target: {template: {data: {v: '{{ env "HOME" }}'}}}, ` + data + `}`,
		"store":                     `{secretStoreRef: {name: victims}, ` + data + `}`,
		"store-path":                `{secretStoreRef: {name: $VICTIM/victims}, ` + data + `}`,
		"store-in":                  `{secretStoreRef: {name: victims, namespace: $VICTIM}, ` + data + `}`,
		"source-store":              `{data: [{secretKey: v, remoteRef: {key: app}, sourceRef: {storeRef: {name: victims}}}]}`,
		"source-store-from":         `{dataFrom: [{extract: {key: app}, sourceRef: {storeRef: {name: victims}}}]}`,
		"source-generator":          `{dataFrom: [{sourceRef: {generatorRef: {kind: Password, name: x}}}]}`,
		"source-generator-data":     `{data: [{secretKey: v, remoteRef: {key: app}, sourceRef: {generatorRef: {kind: Password, name: x}}}]}`,
		"target-path":               `{target: {name: $VICTIM/x}, ` + data + `}`,
		"target-dots":               `{target: {name: ../$VICTIM/x}, ` + data + `}`,
		"target-manifest":           `{target: {manifest: {apiVersion: v1, kind: ConfigMap}}, ` + data + `}`,
		"target-account-token":      `{target: {template: {type: kubernetes.io/service-account-token, metadata: {annotations: {kubernetes.io/service-account.name: own}}}}, ` + data + `}`,
		"target-account-token-from": `{target: {template: {type: kubernetes.io/service-account-token, templateFrom: [{target: Annotations, literal: "kubernetes.io/service-account.name: own"}]}}, ` + data + `}`,
		"target-bootstrap":          `{target: {template: {type: bootstrap.kubernetes.io/token}}, ` + data + `}`,
		"store-for-others":          `{secretStoreRef: {name: for-others, kind: ClusterSecretStore}, ` + data + `}`,
		"store-by-part-of-name":     `{secretStoreRef: {name: for-part, kind: ClusterSecretStore}, ` + data + `}`,
		"remote-namespace":          `{secretStoreRef: {name: remote, kind: ClusterSecretStore}, data: [{secretKey: v, remoteRef: {key: x}}]}`,
		"remote-namespace-path":     `{secretStoreRef: {name: remote, kind: ClusterSecretStore}, data: [{secretKey: v, remoteRef: {key: ../../$VICTIM/secrets/x}}]}`,
		"remote-namespace-find":     `{secretStoreRef: {name: remote, kind: ClusterSecretStore}, dataFrom: [{find: {name: {regexp: .}}}]}`,
	}
}

func (tt *tenancy) tryObjects() {
	for name, spec := range objectAttempts() {
		tt.attempt(name, "", spec)
	}
	const values = `provider: {fake: {data: [{key: app, value: x}]}}`
	tt.must(tt.world, esv1.ClusterSecretStoreKind, "for-others", `{conditions: [{namespaces: [$VICTIM]}], `+values+`}`)
	tt.must(tt.world, esv1.ClusterSecretStoreKind, "for-part", `{conditions: [{namespaceRegexes: ["`+tt.namespace[1:len(tt.namespace)-1]+`", "$SELF-more"]}], `+values+`}`)
	tt.must(tt.world, esv1.ClusterSecretStoreKind, "remote", `{provider: {kubernetes: {remoteNamespace: $VICTIM, server: {url: $API, caBundle: `+tt.caBase64()+`}, auth: {serviceAccount: {name: own}}}}}`)
}

func (tt *tenancy) caBase64() string {
	return base64.StdEncoding.EncodeToString(tt.plane.Config().CAData)
}

// tryEndpoints leads stores to addresses that a tenant has no business with.
func (tt *tenancy) tryEndpoints() {
	_, port, _ := strings.Cut(strings.TrimPrefix(tt.inside.URL, "http://"), ":")
	i := 0
	for _, host := range []string{
		"127.0.0.1", "localhost", "localhost.", "[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[64:ff9b::7f00:1]", "127.1", "2130706433", "0x7f000001", "017700000001", "0.0.0.0", "[::]",
		"169.254.169.254", "[fe80::1]", "metadata.google.internal", "127.0.0.1.", "127.0.0.3", "ada:pw@127.0.0.1",
	} {
		address := "http://" + host + ":" + port
		for _, providerSpec := range []string{
			`webhook: {url: "` + address + `/json"}`, `webhook: {url: "http://{{ print \"` + host + `\" }}:` + port + `/json", timeout: 5s}`,
			`vault: {server: "` + address + `/json", path: secret, auth: {tokenSecretRef: {name: own, key: token}}}`,
			`openBao: {server: "` + address + `/json", path: secret, auth: {tokenSecretRef: {name: own, key: token}}}`,
			`kubernetes: {server: {url: "` + address + `/json"}, auth: {token: {bearerToken: {name: own, key: token}}}}`,
		} {
			tt.attempt(fmt.Sprintf("endpoint-%03d", i), providerSpec, `{data: [{secretKey: v, remoteRef: {key: x}}]}`)
			i++
		}
	}
	tt.attempt("redirect-webhook", `webhook: {url: $HOOK/302}`, `{data: [{secretKey: v, remoteRef: {key: x}}]}`)
	tt.attempt("redirect-webhook-post", `webhook: {url: $HOOK/307, method: POST, body: x}`, `{data: [{secretKey: v, remoteRef: {key: x}}]}`)
	tt.attempt("redirect-vault", `vault: {server: $HOOK/307, path: secret, auth: {tokenSecretRef: {name: own, key: token}}}`, `{data: [{secretKey: v, remoteRef: {key: x}}]}`)
	tt.attempt("redirect-bao", `openBao: {server: $HOOK/302, path: secret, auth: {tokenSecretRef: {name: own, key: token}}}`, `{data: [{secretKey: v, remoteRef: {key: x}}]}`)
	tt.attempt("redirect-kubernetes", `kubernetes: {server: {url: $HOOK/302}, auth: {token: {bearerToken: {name: own, key: token}}}}`, `{data: [{secretKey: v, remoteRef: {key: x}}]}`)
}

// share makes a ClusterSecretStore whose credential is each tenant's own, and a
// value at it for each tenant.
func (tt *tenancy) share(bao *testenv.Bao) {
	tt.t.Helper()
	for in, value := range map[*world]string{tt.world: "the attacker's own", tt.victim: tt.stem + "value"} {
		put(tt.t, bao, in.namespace+"/app", map[string]string{"value": value})
		policy := map[string]string{"policy": `path "secret/data/` + in.namespace + `/*" { capabilities = ["read"] }`}
		if _, err := bao.Do(tt.t.Context(), http.MethodPut, "sys/policies/acl/"+in.namespace, policy); err != nil {
			tt.t.Fatal(err)
		}
		answer, err := bao.Do(tt.t.Context(), http.MethodPost, "auth/token/create", map[string]any{"policies": []string{in.namespace}, "no_parent": true})
		if err != nil {
			tt.t.Fatal(err)
		}
		var made struct {
			Auth struct {
				ClientToken string `json:"client_token"`
			}
		}
		if err := json.Unmarshal(answer, &made); err != nil {
			tt.t.Fatal(err)
		}
		tt.create(&corev1.Secret{ObjectMeta: in.meta("bao-token"), StringData: map[string]string{"token": made.Auth.ClientToken}})
		tt.must(in, esv1.ExtSecretKind, "shared", `{secretStoreRef: {name: shared, kind: ClusterSecretStore}, data: [{secretKey: v, remoteRef: {key: `+in.namespace+`/app, property: value}}]}`)
	}
	tt.must(tt.world, esv1.ClusterSecretStoreKind, "shared", `{conditions: [{namespaces: [$SELF, $VICTIM]}], provider: {vault: {server: "`+bao.Address+`", path: secret, auth: {tokenSecretRef: {name: bao-token, key: token}}}}}`)
	tt.attempt("shared-key", "", `{secretStoreRef: {name: shared, kind: ClusterSecretStore}, data: [{secretKey: v, remoteRef: {key: $VICTIM/app, property: value}}]}`)
	tt.attempt("shared-key-path", "", `{secretStoreRef: {name: shared, kind: ClusterSecretStore}, data: [{secretKey: v, remoteRef: {key: $SELF/../$VICTIM/app, property: value}}]}`)
	tt.attempt("shared-find", "", `{secretStoreRef: {name: shared, kind: ClusterSecretStore}, dataFrom: [{find: {path: $VICTIM, name: {regexp: .}}}]}`)
}

// forge asks a ClusterSecretStore that addresses by namespace for another one's.
func (tt *tenancy) forge() {
	tt.must(tt.world, esv1.ClusterSecretStoreKind, "by-namespace", `{provider: {webhook: {url: "$HOOK/json/{{ .remoteRef.namespace }}/{{ .remoteRef.key }}/{{ .remoteRef.property }}?ns={{ .remoteRef.namespace }}", headers: {X-Namespace: "{{ .remoteRef.namespace }}"}}}}`)
	for i, key := range []string{"x", "..", "../$VICTIM/x", "..%2f$VICTIM", "%2e%2e", "?ns=$VICTIM", "#", "x/../../$VICTIM", ".", "{{ .remoteRef.namespace }}"} {
		spec := fmt.Sprintf(`{secretStoreRef: {name: by-namespace, kind: ClusterSecretStore}, data: [{secretKey: v, remoteRef: {key: %q, property: $VICTIM}}]}`, key)
		tt.must(tt.world, esv1.ExtSecretKind, fmt.Sprintf("forged-%d", i), spec)
	}
}

// outcome says which attempts did not fail, and which shared object is not Ready.
func (tt *tenancy) outcome() string {
	tt.t.Helper()
	var missing []string
	mine := map[string]esv1.ExternalSecretStatusCondition{}
	for _, es := range tt.externals() {
		c := ready(&es)
		mine[es.Name] = c
		if c.Status == "missing" {
			missing = append(missing, es.Name+" was not looked at")
		}
	}
	for _, name := range tt.attempts {
		if c := mine[name]; c.Status == corev1.ConditionTrue {
			missing = append(missing, name+" succeeded")
		}
	}
	missing = append(missing, tt.pushOutcome()...)
	for _, in := range []*world{tt.world, tt.victim} {
		for _, es := range in.externals() {
			if (es.Name == "shared" || es.Name == "allowed") && !isReady(&es) {
				missing = append(missing, es.Namespace+"/shared: "+ready(&es).Message)
			}
		}
	}
	return strings.Join(missing, "\n")
}

// proveNothingWasRead goes by what the controller asked the API server.
func (tt *tenancy) proveNothingWasRead(l *ledger) {
	tt.t.Helper()
	objects := "/namespaces/" + tt.victim.namespace + "/"
	if asked := l.about(func(s string) bool { return strings.Contains(s, objects) && strings.Contains(s, "/x") }); len(asked) > 0 {
		tt.t.Errorf("the controller asked for the victim's objects: %q", asked)
	}
	own := "/namespaces/" + tt.namespace + "/secrets/own "
	if len(l.about(func(s string) bool { return strings.Contains(s, own) })) == 0 {
		tt.t.Error("the controller did not even ask for the attacker's own credential: nothing was tried")
	}
	bulk := l.about(func(s string) bool {
		return strings.HasPrefix(s, "GET ") && (strings.Contains(s, "/secrets ") || strings.Contains(s, "/configmaps "))
	})
	if len(bulk) == 0 {
		tt.t.Error("the ledger has no list of Secrets: it kept nothing")
	}
	for _, asked := range bulk {
		if !strings.Contains(asked, "as=PartialObjectMetadata") {
			tt.t.Errorf("Secrets or ConfigMaps were listed with their data: %s", asked)
		}
	}
	if got := tt.inside.seen(); len(got) > 0 {
		tt.t.Errorf("%d requests reached an address that is not open to tenants, the first is\n%s", len(got), got[0])
	}
}

// proveNoNamespaceWasForged goes by what came to the store that addresses by
// namespace.
func (tt *tenancy) proveNoNamespaceWasForged() {
	tt.t.Helper()
	came := 0
	for _, request := range tt.hook.seen() {
		line, _, _ := strings.Cut(request, "\r\n")
		uri, _, _ := strings.Cut(strings.TrimPrefix(line, "GET "), " HTTP")
		where, query, _ := strings.Cut(uri, "?")
		if !strings.HasPrefix(query, "ns=") {
			continue
		}
		came++
		plain, err := url.PathUnescape(where) // as lenient servers read it
		if err != nil || !strings.HasPrefix(where, "/json/"+tt.namespace+"/") || !strings.HasPrefix(path.Clean(plain), "/json/"+tt.namespace+"/") || query != "ns="+tt.namespace {
			tt.t.Errorf("the namespace was forged: %s (%s)", line, plain)
		}
	}
	if came == 0 {
		tt.t.Error("no request came to the store that addresses by namespace")
	}
}

// scan looks for what is the victim's in all that the attacker sees.
func (tt *tenancy) scan(p *process) {
	tt.t.Helper()
	s := newScanner(tt.stem, nil)
	look := func(where, text string) {
		for _, found := range s.find(text) {
			tt.t.Errorf("%s shows %s", where, found)
		}
	}
	look("the log", p.log.String())
	look("the metrics", p.scrape())
	for _, request := range tt.hook.seen() {
		look("a request to the attacker's address", request)
		if strings.Contains(request, unlabelled) {
			tt.t.Errorf("a Secret without the label was sent: %s", request)
		}
	}
	c := &canary{world: tt.world, stem: tt.stem}
	for _, kind := range []string{"Event", "ExternalSecret", "PushSecret", "GeneratorState", "SecretStore", "ClusterSecretStore", "Secret", "ConfigMap"} {
		for _, o := range c.raw(tt.t.Context(), kind) {
			if o.GetNamespace() != tt.victim.namespace {
				look(kind+" "+o.GetName(), raw(tt.t, o))
			}
		}
	}
}

func raw(t *testing.T, o unstructured.Unstructured) string {
	t.Helper()
	text, err := json.Marshal(o.Object)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
