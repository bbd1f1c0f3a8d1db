package fake

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	esv1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/provider/providertest"
	"github.com/keyferry/keyferry/secret"
)

// manifest is the backend of a fake store: its spec.
type manifest struct {
	mu   sync.Mutex
	data []esv1.FakeProviderData
}

func (m *manifest) seed(_ providertest.T, entries ...providertest.Entry) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, e := range entries {
		version := 1
		for _, d := range m.data {
			if d.Key == e.Key {
				version++
			}
		}
		m.data = append(m.data, esv1.FakeProviderData{Key: e.Key, Value: string(e.Value), Version: strconv.Itoa(version)})
	}
}

func (m *manifest) remove(_ providertest.T, key string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.data = slices.DeleteFunc(m.data, func(d esv1.FakeProviderData) bool { return d.Key == key })
}

func (m *manifest) spec() *esv1.FakeProvider {
	m.mu.Lock()
	defer m.mu.Unlock()
	return &esv1.FakeProvider{Data: slices.Clone(m.data)}
}

func TestConformance(t *testing.T) {
	var m manifest
	var last atomic.Pointer[store] // what is written is in there
	env := providertest.NewEnv(t)
	providertest.Run(t, providertest.Harness{
		Env: env,
		Open: func(ctx context.Context, _ providertest.Situation) (provider.Store, error) {
			s, err := Provider().Open(ctx, m.spec(), env)
			if err == nil {
				last.Store(s.(*store))
			}
			return s, err
		},
		Seed:   m.seed,
		Delete: m.remove,
		Held: func(_ providertest.T, key string) ([]byte, int, bool) {
			s := last.Load()
			s.mu.RLock()
			defer s.mu.RUnlock()
			current, ok := s.current[key]
			return current.Value.Reveal(), s.changes[key], ok
		},
		Alone: true,
		Abilities: []providertest.Ability{
			providertest.Reader, providertest.Batcher, providertest.Lister, providertest.Checker,
			providertest.Versions, providertest.Paths,
			providertest.Writer, providertest.Deleter, providertest.CompareAndSet,
		},
		Page:  1,
		Batch: 1,
		Without: map[string]string{
			"kind/unauthenticated": "there is no credential",
			"kind/denied":          "there is no credential",
			"kind/throttled":       "there is no server",
			"kind/unavailable":     "there is no server",
			"context/hanging":      "there is no server",
		},
	})
}

func open1(t *testing.T, spec *esv1.FakeProvider) provider.Store {
	t.Helper()
	s, err := Provider().Open(t.Context(), spec, providertest.NewEnv(t))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestGet(t *testing.T) {
	s := open1(t, &esv1.FakeProvider{Data: []esv1.FakeProviderData{
		{Key: "versioned", Value: "nine", Version: "9"},
		{Key: "versioned", Value: "ten", Version: "10"},
		{Key: "both", Value: "plain"},
		{Key: "both", Value: "labelled", Version: "stable"},
		{Key: "twice", Value: "first"},
		{Key: "twice", Value: "second"},
	}})
	for name, tc := range map[string]struct {
		ref     secret.Ref
		want    string
		version secret.Version
		kind    secret.Kind
	}{
		"the last of several versions":         {ref: secret.Ref{Key: "versioned"}, want: "ten", version: "10"},
		"a version by name":                    {ref: secret.Ref{Key: "versioned", Version: "9"}, want: "nine", version: "9"},
		"the entry without a version":          {ref: secret.Ref{Key: "both"}, want: "plain"},
		"a label beside it":                    {ref: secret.Ref{Key: "both", Version: "stable"}, want: "labelled", version: "stable"},
		"the later of two entries":             {ref: secret.Ref{Key: "twice"}, want: "second"},
		"an absent version":                    {ref: secret.Ref{Key: "both", Version: "1"}, kind: secret.NotFound},
		"an absent key":                        {ref: secret.Ref{Key: "none"}, kind: secret.NotFound},
		"metadata":                             {ref: secret.Ref{Key: "both", Metadata: true}, kind: secret.Unsupported},
		"a property is left to those above it": {ref: secret.Ref{Key: "both", Property: "x"}, want: "plain"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := s.(provider.Reader).Get(t.Context(), tc.ref)
			if tc.kind != "" && !errors.Is(err, tc.kind) || tc.kind == "" && err != nil {
				t.Fatalf("error %v, want kind %q", err, tc.kind)
			}
			if diff := cmp.Diff([]any{tc.want, tc.version}, []any{string(got.Value.Reveal()), got.Version}); diff != "" {
				t.Errorf("value and version (-want +got):\n%s", diff)
			}
		})
	}
}

func TestListFolders(t *testing.T) {
	s := open1(t, &esv1.FakeProvider{Data: []esv1.FakeProviderData{{Key: "db/user"}, {Key: "dbs/user"}, {Key: "db"}, {Key: "/abs/x"}}})
	for path, want := range map[string][]string{
		"":     {"/abs/x", "db", "db/user", "dbs/user"},
		"/":    {"/abs/x", "db", "db/user", "dbs/user"},
		"db":   {"db/user"},
		"/abs": {"/abs/x"},
		"user": nil,
	} {
		t.Run("path "+path, func(t *testing.T) {
			var got []string
			for item, err := range s.(provider.Lister).List(t.Context(), secret.Query{Path: path}) {
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, item.Ref.Key)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("keys (-want +got):\n%s", diff)
			}
		})
	}
}

func TestWritesGoOverTheManifest(t *testing.T) {
	spec := &esv1.FakeProvider{Data: []esv1.FakeProviderData{
		{Key: "db/user", Value: "one", Version: "1"}, {Key: "db/user", Value: "two", Version: "2"}, {Key: "db/name", Value: "n"},
	}}
	s, other := open1(t, spec), open1(t, spec)
	read := func(s provider.Store, ref secret.Ref) string {
		got, err := s.(provider.Reader).Get(t.Context(), ref)
		if err != nil {
			return string(secret.KindOf(err))
		}
		return string(got.Version) + ":" + string(got.Value.Reveal())
	}
	for _, key := range []string{"db/user", "db/new"} {
		if _, err := s.(provider.Writer).Put(t.Context(), secret.Ref{Key: key}, secret.Secret{Value: secret.FromString("pushed")}, provider.PutOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.(provider.Deleter).Delete(t.Context(), secret.Ref{Key: "db/name"}, provider.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	var listed []string
	for item, err := range s.(provider.Lister).List(t.Context(), secret.Query{Path: "db"}) {
		if err != nil {
			t.Fatal(err)
		}
		listed = append(listed, item.Ref.Key+"="+string(item.Secret.Value.Reveal()))
	}
	if diff := cmp.Diff([]string{"db/new=pushed", "db/user=pushed"}, listed); diff != "" {
		t.Errorf("listed (-want +got):\n%s", diff)
	}
	got := map[string]string{
		"current": read(s, secret.Ref{Key: "db/user"}), "older version": read(s, secret.Ref{Key: "db/user", Version: "1"}),
		"deleted": read(s, secret.Ref{Key: "db/name"}), "of another store": read(other, secret.Ref{Key: "db/user"}),
	}
	want := map[string]string{"current": ":pushed", "older version": "1:one", "deleted": "NotFound", "of another store": "2:two"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("values (-want +got):\n%s", diff)
	}
	if len(spec.Data) != 3 || spec.Data[1].Value != "two" {
		t.Error("the manifest was changed")
	}
}

func TestValidationResult(t *testing.T) {
	for name, tc := range map[string]struct {
		result *esv1.ValidationResult
		want   secret.Kind
	}{
		"not set": {},
		"ready":   {result: new(esv1.ValidationResultReady)},
		"unknown": {result: new(esv1.ValidationResultUnknown), want: secret.Unsupported},
		"error":   {result: new(esv1.ValidationResultError), want: secret.Invalid},
	} {
		t.Run(name, func(t *testing.T) {
			err := open1(t, &esv1.FakeProvider{ValidationResult: tc.result}).(provider.Checker).Check(t.Context())
			if got := secret.KindOf(err); got != tc.want {
				t.Errorf("kind %q, want %q: %v", got, tc.want, err)
			}
		})
	}
}

func TestSpecsThatAreRefused(t *testing.T) {
	for name, spec := range map[string]*esv1.FakeProvider{
		"an empty key":      {Data: []esv1.FakeProviderData{{Value: "v"}}},
		"an unknown result": {ValidationResult: new(esv1.ValidationResult(3))},
	} {
		t.Run(name, func(t *testing.T) {
			if err := Provider().Validate(spec); !errors.Is(err, secret.Invalid) {
				t.Errorf("error %v, want Invalid", err)
			}
		})
	}
}
