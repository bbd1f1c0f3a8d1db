package kubernetes

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	esv1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/provider/providertest"
	"github.com/keyferry/keyferry/secret"
)

func (f fixture) writer() *store { return f.open(f.spec(byAccount("writer"))) }

// make creates a Secret as an administrator.
func (f fixture) make(s *corev1.Secret) *corev1.Secret {
	f.Helper()
	made, err := f.client.CoreV1().Secrets(f.namespace).Create(f.Context(), s, metav1.CreateOptions{})
	if err != nil {
		f.Fatal(err)
	}
	return made
}

func (f fixture) look(namespace, name string) *corev1.Secret {
	f.Helper()
	got, err := f.client.CoreV1().Secrets(namespace).Get(f.Context(), name, metav1.GetOptions{})
	if err != nil {
		f.Fatal(err)
	}
	return got
}

func ours() provider.PutOptions { return provider.PutOptions{Owner: provider.ManagedBy} }

func spec(fields string) json.RawMessage {
	return fmt.Appendf(nil, `{"apiVersion":%q,"kind":%q,"spec":%s}`, provider.MetadataAPIVersion, provider.MetadataKind, fields)
}

func fields(of ...string) secret.Secret {
	out := secret.Secret{Fields: map[string]secret.Value{}}
	for i := 0; i < len(of); i += 2 {
		out.Fields[of[i]] = secret.FromString(of[i+1])
	}
	return out
}

func TestLabelsAndAnnotations(t *testing.T) {
	f := newFixture(t)
	s := f.writer()
	source := provider.Origin{
		Labels: map[string]string{
			"team": "source", "app": "source", provider.Mark: "helm", esv1.LabelManaged: "true", esv1.LabelOwner: "digest",
		},
		Annotations: map[string]string{"note": "source", corev1.LastAppliedConfigAnnotation: `{"data":{"password":"cA=="}}`, esv1.AnnotationDataHash: "digest"},
	}
	for name, tc := range map[string]struct {
		spec string
		// created and merged are labels and then annotations of a new Secret and of one
		// that has {team: target, kept: target} and {kept: target}.
		created, merged [2]map[string]string
	}{
		"nothing": {
			`{}`,
			[2]map[string]string{{"team": "source", "app": "source"}, {"note": "source"}},
			[2]map[string]string{{"team": "source", "app": "source", "kept": "target"}, {"note": "source", "kept": "target"}},
		},
		"more of our own": {
			`{"labels":{"team":"own"},"annotations":{"x":"own"}}`,
			[2]map[string]string{{"team": "own", "app": "source"}, {"note": "source", "x": "own"}},
			[2]map[string]string{{"team": "own", "app": "source", "kept": "target"}, {"note": "source", "x": "own", "kept": "target"}},
		},
		"our own instead of the source's": {
			`{"sourceMergePolicy":"Replace","labels":{"team":"own"}}`,
			[2]map[string]string{{"team": "own"}, nil},
			[2]map[string]string{{"team": "own", "kept": "target"}, {"kept": "target"}},
		},
		"the source's instead of the target's": {
			`{"targetMergePolicy":"Replace","sourceMergePolicy":"Merge"}`,
			[2]map[string]string{{"team": "source", "app": "source"}, {"note": "source"}},
			[2]map[string]string{{"team": "source", "app": "source"}, {"note": "source"}},
		},
		"our own instead of both": {
			`{"targetMergePolicy":"Replace","sourceMergePolicy":"Replace","annotations":{"x":"own"}}`,
			[2]map[string]string{nil, {"x": "own"}},
			[2]map[string]string{nil, {"x": "own"}},
		},
		"the target's are left alone": {
			`{"targetMergePolicy":"Ignore","labels":{"team":"own"}}`,
			[2]map[string]string{nil, nil},
			[2]map[string]string{{"team": "target", "kept": "target"}, {"kept": "target"}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			id := strings.NewReplacer(" ", "-", "'", "").Replace(name)
			f.make(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{
				Name: "there-" + id, Labels: map[string]string{"team": "target", "kept": "target"}, Annotations: map[string]string{"kept": "target"},
			}})
			for _, key := range []string{"new-" + id, "there-" + id} {
				o := ours()
				o.Metadata, o.Origin = spec(tc.spec), source
				want := tc.merged
				for _, written := range []bool{true, false} {
					receipt, err := s.Put(t.Context(), secret.Ref{Key: key}, fields("a", "b"), o)
					if err != nil || receipt.Written != written {
						t.Fatalf("put %s: written %v, error %v", key, receipt.Written, err)
					}
				}
				got := f.look(f.namespace, key)
				if strings.HasPrefix(key, "new") {
					want = tc.created
					if got.Labels[provider.Mark] != provider.ManagedBy {
						t.Errorf("%s lacks the mark: %v", key, got.Labels)
					}
					delete(got.Labels, provider.Mark)
				}
				have := [2]map[string]string{got.Labels, got.Annotations}
				for i := range have {
					if len(have[i]) == 0 {
						have[i] = nil
					}
				}
				if diff := gocmp.Diff(want, have); diff != "" {
					t.Errorf("labels and annotations of %s (-want +got):\n%s", key, diff)
				}
			}
		})
	}
}

// The mark stays on what carries it, whatever the policy.
func TestMarkSurvivesReplacement(t *testing.T) {
	f := newFixture(t)
	s, o := f.writer(), ours()
	o.Metadata = spec(`{"targetMergePolicy":"Replace","labels":{"x":"y"}}`)
	for _, value := range []string{"one", "two"} {
		if _, err := s.Put(t.Context(), secret.Ref{Key: "db"}, fields("a", value), o); err != nil {
			t.Fatal(err)
		}
	}
	want := map[string]string{"x": "y", provider.Mark: provider.ManagedBy}
	if diff := gocmp.Diff(want, f.look(f.namespace, "db").Labels); diff != "" {
		t.Errorf("labels (-want +got):\n%s", diff)
	}
}

// A store that belongs to a namespace writes where its manifest says, whatever the
// credential may.
func TestRemoteNamespaceOfASecretStoreIsRefused(t *testing.T) {
	f := newFixture(t)
	s, ref, o := f.writer(), secret.Ref{Key: "db"}, ours()
	o.Metadata = spec(fmt.Sprintf(`{"remoteNamespace":%q}`, f.namespace))
	_, inspect := s.Inspect(t.Context(), ref, o)
	_, put := s.Put(t.Context(), ref, fields("a", "b"), o)
	remove := s.Delete(t.Context(), ref, provider.DeleteOptions{Owner: provider.ManagedBy, Metadata: o.Metadata})
	for what, err := range map[string]error{"inspect": inspect, "put": put, "delete": remove} {
		if !errors.Is(err, secret.Invalid) || !strings.Contains(err.Error(), "remoteNamespace") {
			t.Errorf("%s: %v, want Invalid that names remoteNamespace", what, err)
		}
	}
	if calls := f.env.Calls(); len(calls) != 0 {
		t.Errorf("the API server was called: %v", calls)
	}
}

func TestRemoteNamespaceOfAClusterStore(t *testing.T) {
	f := newFixture(t)
	elsewhere := f.cluster.Namespace(t)
	f.user("admin-" + f.namespace)
	f.grantEverywhere("admin-" + f.namespace)
	s, ref, o := f.open(f.spec(byCert("admin-"+f.namespace))), secret.Ref{Key: "db"}, ours()
	o.Cluster, o.Metadata = true, spec(fmt.Sprintf(`{"remoteNamespace":%q}`, elsewhere))
	f.make(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "db", Labels: map[string]string{provider.Mark: provider.ManagedBy}}})
	if held, err := s.Inspect(t.Context(), ref, o); err != nil || held.Exists {
		t.Errorf("inspect looks into another namespace: exists %v, error %v", held.Exists, err)
	}
	for _, value := range []string{"one", "two"} {
		if _, err := s.Put(t.Context(), ref, fields("a", value), o); err != nil {
			t.Fatal(err)
		}
	}
	if there, own := f.look(elsewhere, "db"), f.look(f.namespace, "db"); string(there.Data["a"]) != "two" || len(own.Data) != 0 {
		t.Errorf("%d keys there, and %d in the store's own namespace", len(there.Data), len(own.Data))
	}
	if err := s.Delete(t.Context(), ref, provider.DeleteOptions{Owner: provider.ManagedBy, Metadata: o.Metadata, Cluster: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := f.client.CoreV1().Secrets(elsewhere).Get(t.Context(), "db", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("after the deletion: %v, want none", err)
	}
	f.look(f.namespace, "db")
}

func TestRemoteNamespaceThatIsNotThere(t *testing.T) {
	f := newFixture(t)
	f.user("admin-" + f.namespace)
	f.grantEverywhere("admin-" + f.namespace)
	s, ref, o := f.open(f.spec(byCert("admin-"+f.namespace))), secret.Ref{Key: "db"}, ours()
	o.Cluster = true
	for namespace, names := range map[string]string{"nowhere": `"nowhere"`, "No/Name": "remoteNamespace"} {
		o.Metadata = spec(fmt.Sprintf(`{"remoteNamespace":%q}`, namespace))
		if _, err := s.Put(t.Context(), ref, fields("a", "b"), o); !errors.Is(err, secret.Invalid) || !strings.Contains(err.Error(), names) {
			t.Errorf("namespace %s: %v, want Invalid that names %s", namespace, err, names)
		}
	}
}

func (f fixture) grantEverywhere(user string) {
	f.Helper()
	role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: user}, Rules: []rbacv1.PolicyRule{
		{Verbs: []string{"*"}, APIGroups: []string{""}, Resources: []string{"secrets"}},
	}}
	if _, err := f.client.RbacV1().ClusterRoles().Create(f.Context(), role, metav1.CreateOptions{}); err != nil {
		f.Fatal(err)
	}
	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: user}, Subjects: []rbacv1.Subject{{Kind: rbacv1.UserKind, Name: user}},
		RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: user},
	}
	if _, err := f.client.RbacV1().ClusterRoleBindings().Create(f.Context(), binding, metav1.CreateOptions{}); err != nil {
		f.Fatal(err)
	}
	f.awaitGrant(rbacv1.Subject{Kind: rbacv1.UserKind, Name: user}, role.Rules[0])
}

// owner is a ConfigMap that is there: what has no owner left is deleted.
func (f fixture) owner(name string, controls bool) metav1.OwnerReference {
	f.Helper()
	made, err := f.client.CoreV1().ConfigMaps(f.namespace).Create(f.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	if err != nil {
		f.Fatal(err)
	}
	return metav1.OwnerReference{APIVersion: "v1", Kind: "ConfigMap", Name: name, UID: made.UID, Controller: &controls}
}

// difficult is a fixture with Secrets that are not to be written to.
func difficult(t *testing.T) fixture {
	t.Helper()
	f := newFixture(t)
	marked := map[string]string{provider.Mark: provider.ManagedBy}
	f.make(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "opaque"}})
	f.make(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "fixed", Labels: marked}, Immutable: new(true), Data: map[string][]byte{"a": []byte("old")}})
	f.make(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "bootstrap"}, Type: corev1.SecretTypeBootstrapToken})
	f.make(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "controlled", Labels: marked, OwnerReferences: []metav1.OwnerReference{f.owner("other-party", true)}}})
	f.make(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "going", Labels: marked, Finalizers: []string{"example.com/hold"}}})
	if err := f.client.CoreV1().Secrets(f.namespace).Delete(t.Context(), "going", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	return f
}

func TestPutsThatAreRefused(t *testing.T) {
	f := difficult(t)
	s := f.writer()
	whole := func(json string) *secret.Secret { return &secret.Secret{Value: secret.FromString(json)} }
	plain, bad := fields("a", "b"), fields("a b", "c")
	typed := func(t string) provider.Origin { return provider.Origin{Type: t} }
	for name, tc := range map[string]struct {
		key      string
		content  *secret.Secret
		metadata string
		origin   provider.Origin
		want     secret.Kind
		names    string
	}{
		"another type":                     {key: "opaque", origin: typed("kubernetes.io/tls"), want: secret.Invalid, names: "spec.template.type"},
		"an immutable one":                 {key: "fixed", want: secret.Invalid, names: "immutable"},
		"a bootstrap token":                {key: "bootstrap", want: secret.Invalid, names: "bootstrap"},
		"a new bootstrap token":            {key: "new", origin: typed("bootstrap.kubernetes.io/token"), want: secret.Invalid, names: "spec.template.type"},
		"a new service account token":      {key: "new", origin: typed("kubernetes.io/service-account-token"), want: secret.Invalid, names: "spec.template.type"},
		"one that an object controls":      {key: "controlled", want: secret.Conflict, names: `ConfigMap "other-party"`},
		"one that is being deleted":        {key: "going", want: secret.Conflict, names: "finalizer"},
		"a key that is no name":            {key: "a/b", want: secret.Invalid, names: "metadata.name"},
		"a property that is no key":        {key: "new", content: &bad, want: secret.Invalid, names: `"a b"`},
		"a value that is no object":        {key: "new", content: whole("plain " + providertest.Mark), want: secret.Invalid, names: "remoteRef.property"},
		"a value with a number":            {key: "new", content: whole(`{"a":1}`), want: secret.Invalid, names: "remoteRef.property"},
		"a value with a null":              {key: "new", content: whole(`{"a":null}`), want: secret.Invalid, names: "remoteRef.property"},
		"a null":                           {key: "new", content: whole(`null`), want: secret.Invalid, names: "remoteRef.property"},
		"a value that is no text":          {key: "new", content: whole("{\"a\":\"\xff\"}"), want: secret.Invalid, names: "remoteRef.property"},
		"a member that is no key":          {key: "new", content: whole(`{"` + providertest.Mark + ` x":"a"}`), want: secret.Invalid, names: "remoteRef.property"},
		"a type that wants other keys":     {key: "new", origin: typed("kubernetes.io/tls"), want: secret.Invalid, names: "type"},
		"the mark as a label":              {key: "new", metadata: `{"labels":{"managed-by":"me"}}`, want: secret.Invalid, names: "managed-by"},
		"an unknown policy for the target": {key: "new", metadata: `{"targetMergePolicy":"Append"}`, want: secret.Invalid, names: "targetMergePolicy"},
		"an unknown policy for the source": {key: "new", metadata: `{"sourceMergePolicy":"Ignore"}`, want: secret.Invalid, names: "sourceMergePolicy"},
		"a label that is none":             {key: "new", metadata: `{"labels":{"a b":"c"}}`, want: secret.Invalid, names: "label"},
	} {
		t.Run(name, func(t *testing.T) {
			o := ours()
			o.Origin = tc.origin
			if tc.metadata != "" {
				o.Metadata = spec(tc.metadata)
			}
			_, err := s.Put(t.Context(), secret.Ref{Key: tc.key}, *cmp.Or(tc.content, &plain), o)
			if !errors.Is(err, tc.want) || !strings.Contains(fmt.Sprint(err), tc.names) || strings.Contains(fmt.Sprint(err), providertest.Mark) {
				t.Errorf("error %v, want %s that names %s", err, tc.want, tc.names)
			}
			if _, err := f.client.CoreV1().Secrets(f.namespace).Get(t.Context(), "new", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
				t.Errorf("something was created: %v", err)
			}
		})
	}
}

func TestDifficultSecrets(t *testing.T) {
	f := difficult(t)
	s := f.writer()
	if err := s.Delete(t.Context(), secret.Ref{Key: "controlled"}, provider.DeleteOptions{Owner: provider.ManagedBy}); !errors.Is(err, secret.Conflict) {
		t.Errorf("delete of what an object controls: %v, want Conflict", err)
	}
	if err := s.Delete(t.Context(), secret.Ref{Key: "going"}, provider.DeleteOptions{Owner: provider.ManagedBy}); err != nil {
		t.Errorf("delete of what is being deleted: %v", err)
	}
	for _, more := range []string{`{"labels":{"more":"labels"}}`, `{"annotations":{"more":"annotations"}}`} {
		same := ours()
		same.Metadata = spec(more)
		if r, err := s.Put(t.Context(), secret.Ref{Key: "fixed"}, fields("a", "old"), same); err != nil || !r.Written {
			t.Errorf("%s for an immutable Secret: written %v, error %v", more, r.Written, err)
		}
	}
}

func TestWholeSecrets(t *testing.T) {
	f := newFixture(t)
	s := f.writer()
	o := ours()
	o.Origin.Type = "example.com/login"
	if _, err := s.Put(t.Context(), secret.Ref{Key: "json"}, secret.Secret{Value: secret.FromString(`{"user":"u","pass":"é\n<&>","empty":""}`)}, o); err != nil {
		t.Fatal(err)
	}
	got := f.look(f.namespace, "json")
	if diff := gocmp.Diff(map[string][]byte{"user": []byte("u"), "pass": []byte("é\n<&>"), "empty": {}}, got.Data); diff != "" || got.Type != "example.com/login" {
		t.Errorf("type %q, data (-want +got):\n%s", got.Type, diff)
	}
	binary := fields("bin", "\x00\xff\n", ".dockerconfigjson", "{}")
	if _, err := s.Put(t.Context(), secret.Ref{Key: "json"}, binary, ours()); err != nil {
		t.Fatal(err)
	}
	got = f.look(f.namespace, "json")
	if diff := gocmp.Diff(map[string][]byte{"bin": []byte("\x00\xff\n"), ".dockerconfigjson": []byte("{}")}, got.Data); diff != "" || got.Type != "example.com/login" {
		t.Errorf("type %q, data (-want +got):\n%s", got.Type, diff)
	}
}

// What a Secret has beside data, labels and annotations is not lost when it is written.
func TestTheRestOfASecretStays(t *testing.T) {
	f := newFixture(t)
	before := f.make(&corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Name: "db", Finalizers: []string{"example.com/hold"},
			OwnerReferences: []metav1.OwnerReference{f.owner("owner", false)},
		},
		Data: map[string][]byte{"a": []byte("1"), "b": []byte("2")},
	})
	if _, err := f.writer().Put(t.Context(), secret.Ref{Key: "db"}, fields("a", "1", "c", "3"), ours()); err != nil {
		t.Fatal(err)
	}
	after := f.look(f.namespace, "db")
	if diff := gocmp.Diff(map[string][]byte{"a": []byte("1"), "c": []byte("3")}, after.Data); diff != "" {
		t.Errorf("data (-want +got):\n%s", diff)
	}
	if before.UID != after.UID || !gocmp.Equal(before.Finalizers, after.Finalizers) || !gocmp.Equal(before.OwnerReferences, after.OwnerReferences) || len(after.Labels) != 0 {
		t.Errorf("the rest changed: %v", after.ObjectMeta)
	}
}

func TestWritesAreFewCalls(t *testing.T) {
	f := newFixture(t)
	s, ref := f.writer(), secret.Ref{Key: "db"}
	take := func(what string, want ...string) {
		t.Helper()
		got := []string{}
		for _, c := range f.env.Calls() {
			got = append(got, c.Name)
		}
		if diff := gocmp.Diff(want, got[len(got)-min(len(want), len(got)):]); diff != "" || len(got) < len(want) {
			t.Errorf("%s: calls (-want +got):\n%s", what, diff)
		}
	}
	count := func(f2 func() error) int {
		before := len(f.env.Calls())
		if err := f2(); err != nil {
			t.Fatal(err)
		}
		return len(f.env.Calls()) - before
	}
	for _, step := range []struct {
		name, value string
		held        bool
		calls       int
		last        string
	}{
		{"create", "one", true, 1, "CreateSecret"},
		{"unchanged", "one", true, 0, "GetSecret"},
		{"change", "two", true, 1, "UpdateSecret"},
		{"unchanged without a look", "two", false, 1, "GetSecret"},
		{"change without a look", "three", false, 2, "UpdateSecret"},
	} {
		o := ours()
		if step.held {
			held, err := s.Inspect(t.Context(), ref, o)
			if err != nil {
				t.Fatal(err)
			}
			o.If = &held
		}
		n := count(func() error {
			_, err := s.Put(t.Context(), ref, fields("a", step.value), o)
			return err
		})
		if n != step.calls {
			t.Errorf("%s: %d calls, want %d", step.name, n, step.calls)
		}
		take(step.name, step.last)
	}
	if n := count(func() error { return s.Delete(t.Context(), ref, provider.DeleteOptions{Owner: provider.ManagedBy}) }); n != 2 {
		t.Errorf("delete: %d calls, want 2", n)
	}
	take("delete", "GetSecret", "DeleteSecret")
}

// A credential that may read and not write is told which verb it lacks.
func TestReadersMayNotWrite(t *testing.T) {
	f := newFixture(t)
	s := f.open(f.spec(byAccount("reader")))
	if err := s.Check(t.Context()); err != nil {
		t.Errorf("a store that is only read from: %v", err)
	}
	f.make(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "there", Labels: map[string]string{provider.Mark: provider.ManagedBy}}})
	_, create := s.Put(t.Context(), secret.Ref{Key: "new"}, fields("a", "b"), ours())
	_, update := s.Put(t.Context(), secret.Ref{Key: "there"}, fields("a", "b"), ours())
	remove := s.Delete(t.Context(), secret.Ref{Key: "there"}, provider.DeleteOptions{Owner: provider.ManagedBy})
	for verb, err := range map[string]error{"create": create, "update": update, "delete": remove} {
		if !errors.Is(err, secret.Denied) || !strings.Contains(err.Error(), "credential "+verb+" secrets") {
			t.Errorf("%s: %v, want Denied that names the verb", verb, err)
		}
	}
}

// What a server answers to a write that is none, or that meets another one.
func TestStrangeAnswersToWrites(t *testing.T) {
	there := `{"kind":"Secret","metadata":{"name":"db","uid":"u","resourceVersion":"7","labels":{"managed-by":"external-secrets"}},"type":"Opaque"}`
	absent := `{"kind":"Status","reason":"NotFound","details":{"kind":"secrets","name":"db"}}`
	for name, tc := range map[string]struct {
		code        int
		body        string
		put, remove secret.Kind
	}{
		"another write was first":   {409, providertest.Mark, secret.Conflict, secret.Conflict},
		"it was deleted meanwhile":  {404, absent, secret.Conflict, ""},
		"a page that is not there":  {404, "<html>" + providertest.Mark, secret.Invalid, secret.Invalid},
		"a web page":                {200, "<html>" + providertest.Mark, secret.Invalid, secret.Invalid},
		"an object of another kind": {200, `{"kind":"Pod"}`, secret.Invalid, secret.Invalid},
		"what is sent is not valid": {422, providertest.Mark, secret.Invalid, secret.Invalid},
		"too large":                 {413, providertest.Mark, secret.Invalid, secret.Invalid},
		"a defect":                  {500, providertest.Mark, secret.Unavailable, secret.Unavailable},
		"too many calls":            {429, providertest.Mark, secret.RateLimited, secret.RateLimited},
		"may not":                   {403, providertest.Mark, secret.Denied, secret.Denied},
	} {
		t.Run(name, func(t *testing.T) {
			var body map[string]any
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodGet {
					_, _ = io.WriteString(w, there)
					return
				}
				if err := json.NewDecoder(r.Body).Decode(&body); err != nil || r.Header.Get("Content-Type") != "application/json" {
					t.Errorf("%s: content type %q, error %v", r.Method, r.Header.Get("Content-Type"), err)
				}
				w.WriteHeader(tc.code)
				_, _ = io.WriteString(w, tc.body)
			}))
			t.Cleanup(server.Close)
			f := fixture{T: t, env: providertest.NewEnv(t)}
			f.env.Put("", providertest.Namespace, "t", map[string]string{"token": "t"})
			s := f.open(&esv1.KubernetesProvider{Auth: byToken("t"), Server: esv1.KubernetesServer{URL: server.URL}})
			_, put := s.Put(t.Context(), secret.Ref{Key: "db"}, fields("a", "b"), ours())
			if meta, _ := body["metadata"].(map[string]any); meta["resourceVersion"] != "7" || meta["uid"] != "u" {
				t.Errorf("the write is not bound to what was seen: %v", meta)
			}
			remove := s.Delete(t.Context(), secret.Ref{Key: "db"}, provider.DeleteOptions{Owner: provider.ManagedBy})
			if diff := gocmp.Diff(map[string]any{"uid": "u", "resourceVersion": "7"}, body["preconditions"]); diff != "" {
				t.Errorf("the deletion is not bound to what was seen (-want +got):\n%s", diff)
			}
			for what, c := range map[string]struct {
				got  error
				want secret.Kind
			}{"put": {put, tc.put}, "delete": {remove, tc.remove}} {
				if secret.KindOf(c.got) != c.want || strings.Contains(fmt.Sprint(c.got), providertest.Mark) {
					t.Errorf("%s: %v, want kind %q", what, c.got, c.want)
				}
			}
		})
	}
}

// A state that is printed by accident shows nothing.
func TestHoldingsHideWhatTheyHold(t *testing.T) {
	f := newFixture(t)
	f.make(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "db"}, Data: map[string][]byte{"a": []byte(providertest.Mark)}})
	held, err := f.writer().Inspect(t.Context(), secret.Ref{Key: "db"}, ours())
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := json.Marshal(held)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{fmt.Sprintf("%v %+v %#v", held, held, held), string(encoded)} {
		if strings.Contains(text, providertest.Mark) || strings.Contains(text, "Y2FuYXJ5") {
			t.Errorf("it shows: %s", text)
		}
	}
}
