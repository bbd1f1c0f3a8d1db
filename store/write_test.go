package store_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/secret"
	"github.com/keyferry/keyferry/store"
)

// shelf is a backend in memory that is written to, with compare-and-set and owners.
type shelf struct {
	mu      sync.Mutex
	held    map[string]held
	reads   int
	puts    int
	deletes int
	marked  map[string]bool  // keys with a mark and nothing else
	before  func(key string) // called, without the lock, before a write
	fault   error            // of every call
	opaque  bool
	fields  bool
}

type held struct {
	value   secret.Secret
	version int
	foreign bool
}

type shelfSpec struct {
	Shelf *shelf
	Flat  bool
}

func shelfProvider(flat bool) provider.Provider {
	name := "shelf"
	if flat {
		name = "flat"
	}
	return provider.Define(provider.Definition[shelfSpec]{
		Name: name, Label: "Shelf", Access: provider.ReadWrite, Flat: flat,
		Open: func(_ context.Context, s *shelfSpec, _ provider.Env) (provider.Store, error) {
			return openShelf{s.Shelf}, nil
		},
	})
}

type openShelf struct{ *shelf }

func (openShelf) Close() error { return nil }

func (s openShelf) Inspect(_ context.Context, ref secret.Ref, _ provider.PutOptions) (provider.Holding, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reads++
	if s.fault != nil {
		return provider.Holding{}, s.fault
	}
	h, ok := s.held[ref.Key]
	out := provider.Holding{Exists: ok, Secret: h.value}
	out.Secret.Version = secret.Version(strconv.Itoa(h.version))
	if !ok && s.fields {
		out.Secret.Fields = map[string]secret.Value{}
	}
	if s.opaque {
		out.Opaque, out.Secret = true, secret.Secret{}
	}
	return out, nil
}

func (s openShelf) enter(ref secret.Ref, seen *provider.Holding) error {
	if s.before != nil {
		s.before(ref.Key)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fault != nil {
		return s.fault
	}
	now := s.held[ref.Key]
	switch {
	case now.foreign:
		return problem(secret.Conflict, "write", ref, errors.New("it has another owner"))
	case seen != nil && !s.opaque && string(seen.Secret.Version) != strconv.Itoa(now.version):
		return problem(secret.Conflict, "write", ref, errors.New("it has another version"))
	}
	return nil
}

func (s openShelf) Put(_ context.Context, ref secret.Ref, value secret.Secret, o provider.PutOptions) (provider.Receipt, error) {
	if err := s.enter(ref, o.If); err != nil {
		return provider.Receipt{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now, ok := s.held[ref.Key]
	if ok && now.value.Whole().Same(value.Whole()) {
		return provider.Receipt{}, nil
	}
	s.puts++
	s.held[ref.Key] = held{value: value, version: now.version + 1}
	return provider.Receipt{Written: true}, nil
}

func (s openShelf) Delete(_ context.Context, ref secret.Ref, o provider.DeleteOptions) error {
	if err := s.enter(ref, o.If); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deletes++
	delete(s.marked, ref.Key)
	delete(s.held, ref.Key)
	return nil
}

func (s *shelf) set(key, value string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held[key] = held{value: secret.Secret{Value: secret.FromString(value)}, version: s.held[key].version + 1}
}

func (s *shelf) content() map[string]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := map[string]string{}
	for k, h := range s.held {
		out[k] = string(h.value.Whole().Reveal())
	}
	return out
}

func newShelf(content map[string]string) *shelf {
	s := &shelf{held: map[string]held{}}
	for k, v := range content {
		s.set(k, v)
	}
	return s
}

// shelved returns a pool and the place of a shelf.
func shelved(t *testing.T, s *shelf, flat bool) (*store.Pool, store.Place) {
	t.Helper()
	registry, err := provider.NewRegistry(shelfProvider(false), shelfProvider(true), testProvider())
	if err != nil {
		t.Fatal(err)
	}
	none := 0
	place := store.Place{Kind: store.KindSecretStore, Namespace: "own", Name: "s", UID: "uid", Generation: 1, Provider: "shelf", Spec: &shelfSpec{Shelf: s}, Retries: &none}
	if flat {
		place.Provider = "flat"
	}
	return newPool(t, &cluster{}, func(c *store.Config) { c.Registry = registry }), place
}

func put(key, property, value string) store.Write {
	return store.Write{Ref: secret.Ref{Key: key, Property: property}, Content: secret.Secret{Value: secret.FromString(value)}}
}

func anew(w store.Write) store.Write {
	w.Anew = true
	return w
}

func kept(w store.Write) store.Write {
	w.IfNotExists = true
	return w
}

func outcomes(list []store.Written) []string {
	out := make([]string, len(list))
	for i, w := range list {
		switch {
		case w.Err != nil:
			out[i] = string(secret.KindOf(w.Err))
		case w.Kept:
			out[i] = "kept"
		case w.Changed:
			out[i] = "changed"
		}
	}
	return out
}

func TestWrite(t *testing.T) {
	cases := map[string]struct {
		there  map[string]string
		shape  func(*shelf)
		flat   bool
		writes []store.Write
		want   []string
		after  map[string]string
		puts   int
	}{
		"a new secret": {
			writes: []store.Write{put("k", "", "v")}, want: []string{"changed"}, after: map[string]string{"k": "v"}, puts: 1,
		},
		"what is there is not written": {
			there: map[string]string{"k": "v"}, writes: []store.Write{put("k", "", "v")}, want: []string{""}, after: map[string]string{"k": "v"},
		},
		"the same JSON in another form is not written": {
			there: map[string]string{"k": `{"b":1.0,"a":{"x":[1]}}`}, writes: []store.Write{put("k", "", `{ "a": {"x":[1e0]}, "b": 1 }`)},
			want: []string{""}, after: map[string]string{"k": `{"b":1.0,"a":{"x":[1]}}`},
		},
		"properties of one secret are one write, and its others survive": {
			there:  map[string]string{"k": `{"other":7.10,"a":"old"}`},
			writes: []store.Write{put("k", "a", "1"), put("k", "b.c", "2")}, want: []string{"changed", "changed"},
			after: map[string]string{"k": `{"a":"1","b":{"c":"2"},"other":7.10}`}, puts: 1,
		},
		"a flat property is one name": {
			flat: true, writes: []store.Write{put("k", "b.c", "2")}, want: []string{"changed"}, after: map[string]string{"k": `{"b.c":"2"}`}, puts: 1,
		},
		"a name with a dot that is there is that name": {
			there: map[string]string{"k": `{"b.c":"1"}`}, writes: []store.Write{put("k", "b.c", "2")}, want: []string{"changed"}, after: map[string]string{"k": `{"b.c":"2"}`}, puts: 1,
		},
		"an escaped dot is one of the name": {
			writes: []store.Write{put("k", `b\.c`, "2")}, want: []string{"changed"}, after: map[string]string{"k": `{"b.c":"2"}`}, puts: 1,
		},
		"properties go into the whole that is written beside them": {
			there: map[string]string{"k": `{"x":"1"}`}, writes: []store.Write{put("k", "a", "1"), put("k", "", `{"b":"2"}`)},
			want: []string{"changed", "changed"}, after: map[string]string{"k": `{"a":"1","b":"2"}`}, puts: 1,
		},
		"properties of what begins anew": {
			there: map[string]string{"k": `{"x":"1","a":"0"}`}, writes: []store.Write{anew(put("k", "a", "1")), anew(put("k", "b", "2"))},
			want: []string{"changed", "changed"}, after: map[string]string{"k": `{"a":"1","b":"2"}`}, puts: 1,
		},
		"fields of what begins anew": {
			there: map[string]string{"k": `{"x":"1"}`}, shape: func(s *shelf) {
				s.held["k"] = held{value: secret.Secret{Fields: map[string]secret.Value{"x": secret.FromString("1")}}}
			},
			writes: []store.Write{anew(put("k", "a", "1"))}, want: []string{"changed"}, after: map[string]string{"k": `{"a":"1"}`}, puts: 1,
		},
		"a whole beside a property that begins anew": {
			there: map[string]string{"k": `{"x":"1"}`}, writes: []store.Write{anew(put("k", "a", "1")), put("k", "", `{"b":"2"}`)},
			want: []string{"changed", "changed"}, after: map[string]string{"k": `{"a":"1","b":"2"}`}, puts: 1,
		},
		"what exists is kept": {
			there: map[string]string{"k": "old"}, writes: []store.Write{kept(put("k", "", "v")), kept(put("n", "", "v"))},
			want: []string{"kept", "changed"}, after: map[string]string{"k": "old", "n": "v"}, puts: 1,
		},
		"a property that exists is kept, the other is set": {
			there: map[string]string{"k": `{"a":"old"}`}, writes: []store.Write{kept(put("k", "a", "v")), kept(put("k", "b", "v"))},
			want: []string{"kept", "changed"}, after: map[string]string{"k": `{"a":"old","b":"v"}`}, puts: 1,
		},
		"a value without properties": {
			there: map[string]string{"k": "plain"}, writes: []store.Write{put("k", "a", "v")}, want: []string{"Invalid"}, after: map[string]string{"k": "plain"},
		},
		"a way through what is no object": {
			there: map[string]string{"k": `{"a":"x"}`}, writes: []store.Write{put("k", "a.b", "v")}, want: []string{"Invalid"}, after: map[string]string{"k": `{"a":"x"}`},
		},
		"bytes as a property": {
			writes: []store.Write{put("k", "a", "\xff")}, want: []string{"Invalid"}, after: map[string]string{},
		},
		"bytes as a property of what has fields": {
			shape: func(s *shelf) { s.fields = true }, writes: []store.Write{put("k", "a", "x")}, want: []string{"changed"}, after: map[string]string{"k": `{"a":"x"}`}, puts: 1,
		},
		"a property of what is never shown": {
			there: map[string]string{"k": `{}`}, shape: func(s *shelf) { s.opaque = true },
			writes: []store.Write{put("k", "a", "v")}, want: []string{"Unsupported"}, after: map[string]string{"k": `{}`},
		},
		"another owner's": {
			shape: func(s *shelf) {
				s.held["k"] = held{value: secret.Secret{Value: secret.FromString("theirs")}, foreign: true}
			},
			writes: []store.Write{put("k", "", "v"), put("n", "", "v")}, want: []string{"Conflict", "changed"},
			after: map[string]string{"k": "theirs", "n": "v"}, puts: 1,
		},
		"a store that is down": {
			shape:  func(s *shelf) { s.fault = problem(secret.Unavailable, "write", secret.Ref{}, nil) },
			writes: []store.Write{put("k", "", "v")}, want: []string{"Unavailable"}, after: map[string]string{},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newShelf(c.there)
				if c.shape != nil {
					c.shape(s)
				}
				p, place := shelved(t, s, c.flat)
				got := p.Write(t.Context(), place, c.writes)
				if diff := cmp.Diff(c.want, outcomes(got)); diff != "" {
					t.Errorf("outcomes: %s", diff)
				}
				if diff := cmp.Diff(c.after, s.content()); diff != "" {
					t.Errorf("content: %s", diff)
				}
				if s.puts != c.puts {
					t.Errorf("%d writes, want %d", s.puts, c.puts)
				}
			})
		})
	}
}

func TestAnUnchangedWriteIsOneRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShelf(map[string]string{"k": `{"a":"1","b":"2"}`})
		p, place := shelved(t, s, false)
		p.Write(t.Context(), place, []store.Write{put("k", "a", "1"), put("k", "b", "2")})
		if s.reads != 1 || s.puts != 0 {
			t.Errorf("%d reads and %d writes", s.reads, s.puts)
		}
	})
}

func TestWritersOfOneSecretLoseNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShelf(map[string]string{"k": `{"theirs":"0"}`})
		s.before = func(string) { // somebody else, between our read and our write
			s.mu.Lock()
			defer s.mu.Unlock()
			if h := s.held["k"]; h.version < 4 {
				next, err := secret.Properties{}.Set(h.value, map[string]secret.Value{"theirs": secret.FromString(strconv.Itoa(h.version))})
				if err != nil {
					t.Error(err)
				}
				s.held["k"] = held{value: next, version: h.version + 1}
			}
		}
		p, place := shelved(t, s, false)
		var wg sync.WaitGroup
		for i := range 10 {
			wg.Go(func() {
				for _, w := range p.Write(t.Context(), place, []store.Write{put("k", fmt.Sprint("p", i), "v")}) {
					if w.Err != nil {
						t.Errorf("p%d: %v", i, w.Err)
					}
				}
			})
		}
		wg.Wait()
		object, err := s.held["k"].value.Value.Object()
		if err != nil || len(object) != 11 || string(object["theirs"].Reveal()) != "3" {
			t.Errorf("left: %v, %v", secret.Keys(object), err)
		}
	})
}

func TestAWriteEndsWhenSomebodyElseNeverDoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShelf(nil)
		n := 0
		s.before = func(key string) { n++; s.set(key, strconv.Itoa(n)) }
		p, place := shelved(t, s, false)
		if got := outcomes(p.Write(t.Context(), place, []store.Write{put("k", "", "v")})); got[0] != "Unavailable" || n > 10 {
			t.Errorf("%v after %d attempts", got, n)
		}
	})
}

func TestDelete(t *testing.T) {
	there := map[string]string{"k": `{"a":"1","b":{"c":"2"},"d":3}`, "one": `{"a":"1"}`, "plain": "v"}
	cases := map[string]struct {
		shape func(*shelf)
		refs  []secret.Ref
		want  string
		after map[string]string // differences; "" is gone
	}{
		"a whole secret":              {nil, []secret.Ref{{Key: "plain"}}, "", map[string]string{"plain": ""}},
		"an absent one":               {nil, []secret.Ref{{Key: "no"}}, "", nil},
		"a property of an absent one": {nil, []secret.Ref{{Key: "no", Property: "a"}}, "", nil},
		"two properties":              {nil, []secret.Ref{{Key: "k", Property: "a"}, {Key: "k", Property: "b.c"}}, "", map[string]string{"k": `{"d":3}`}},
		"an absent property":          {nil, []secret.Ref{{Key: "k", Property: "no.no"}}, "", nil},
		"the last property":           {nil, []secret.Ref{{Key: "one", Property: "a"}}, "", map[string]string{"one": ""}},
		"a property and the whole":    {nil, []secret.Ref{{Key: "k", Property: "a"}, {Key: "k"}}, "", map[string]string{"k": ""}},
		"a property of plain text":    {nil, []secret.Ref{{Key: "plain", Property: "a"}}, "Invalid", nil},
		"a mark without a secret":     {func(s *shelf) { s.marked = map[string]bool{"no": true} }, []secret.Ref{{Key: "no", Property: "a"}}, "", nil},
		"another owner's": {func(s *shelf) {
			h := s.held["k"]
			h.foreign = true
			s.held["k"] = h
		}, []secret.Ref{{Key: "k"}}, "Conflict", nil},
		"a property of another owner's": {func(s *shelf) {
			h := s.held["k"]
			h.foreign = true
			s.held["k"] = h
		}, []secret.Ref{{Key: "k", Property: "a"}}, "Conflict", nil},
		"a store that is down": {func(s *shelf) { s.fault = problem(secret.Unavailable, "delete", secret.Ref{}, nil) }, []secret.Ref{{Key: "k"}, {Key: "k", Property: "a"}}, "Unavailable", nil},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newShelf(there)
				if c.shape != nil {
					c.shape(s)
				}
				p, place := shelved(t, s, false)
				deletions := make([]store.Deletion, len(c.refs))
				for i, ref := range c.refs {
					deletions[i].Ref = ref
				}
				for i, err := range p.Delete(t.Context(), place, deletions) {
					if string(secret.KindOf(err)) != c.want {
						t.Errorf("%s: %v, want %s", c.refs[i], err, c.want)
					}
				}
				want := map[string]string{}
				for k, v := range there {
					if changed, ok := c.after[k]; ok {
						v = changed
					}
					if v != "" {
						want[k] = v
					}
				}
				if diff := cmp.Diff(want, s.content()); diff != "" {
					t.Error(diff)
				}
				if len(s.marked) > 0 {
					t.Errorf("a mark is left: %v", s.marked)
				}
			})
		})
	}
}

func TestAPropertyIsDeletedFromWhatIsThereThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShelf(map[string]string{"k": `{"a":"1"}`})
		once := sync.OnceFunc(func() { s.set("k", `{"a":"1","new":"2"}`) })
		s.before = func(string) { once() }
		p, place := shelved(t, s, false)
		if err := p.Delete(t.Context(), place, []store.Deletion{{Ref: secret.Ref{Key: "k", Property: "a"}}})[0]; err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(map[string]string{"k": `{"new":"2"}`}, s.content()); diff != "" {
			t.Error(diff)
		}
	})
}

func TestAReaderIsNoWriter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _ := shelved(t, newShelf(nil), false)
		place := namespaced(&spec{Back: letters()})
		if got := p.Write(t.Context(), place, []store.Write{put("k", "", "v")})[0].Err; !errors.Is(got, secret.Unsupported) {
			t.Errorf("write: %v", got)
		}
		if got := p.Delete(t.Context(), place, []store.Deletion{{Ref: secret.Ref{Key: "k"}}})[0]; !errors.Is(got, secret.Unsupported) {
			t.Errorf("delete: %v", got)
		}
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
		if got := p.Write(t.Context(), place, []store.Write{put("k", "", "v")})[0].Err; !errors.Is(got, secret.Unavailable) {
			t.Errorf("after close: %v", got)
		}
	})
}
