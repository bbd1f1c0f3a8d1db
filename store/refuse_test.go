package store_test

import (
	"errors"
	"strconv"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/keyferry/keyferry/secret"
	"github.com/keyferry/keyferry/store"
)

func refused(w store.Write) store.Write {
	w.Refuse = &secret.Error{Kind: secret.Conflict, Err: errors.New("somebody else's")}
	return w
}

func TestWhatIsRefusedLeavesTheRestOfTheKeyAlone(t *testing.T) {
	cases := map[string]struct {
		there  map[string]string
		writes []store.Write
		want   []string
		after  map[string]string
	}{
		"a property beside another": {
			there: map[string]string{"k": `{"a":"theirs"}`}, writes: []store.Write{refused(put("k", "a", "1")), put("k", "b", "2")},
			want: []string{"Conflict", "changed"}, after: map[string]string{"k": `{"a":"theirs","b":"2"}`},
		},
		"what is there already": {
			there: map[string]string{"k": `{"a":"1"}`}, writes: []store.Write{refused(put("k", "a", "1")), put("k", "b", "2")},
			want: []string{"", "changed"}, after: map[string]string{"k": `{"a":"1","b":"2"}`},
		},
		"a whole": {
			there: map[string]string{"k": "theirs"}, writes: []store.Write{refused(put("k", "", "ours"))},
			want: []string{"Conflict"}, after: map[string]string{"k": "theirs"},
		},
		"a whole that is the same": {
			there: map[string]string{"k": "ours"}, writes: []store.Write{refused(put("k", "", "ours"))},
			want: []string{""}, after: map[string]string{"k": "ours"},
		},
		"what is not there": {
			writes: []store.Write{refused(put("k", "", "ours"))}, want: []string{"Conflict"}, after: map[string]string{},
		},
		"what would be kept anyway": {
			there: map[string]string{"k": "theirs"}, writes: []store.Write{refused(kept(put("k", "", "ours")))},
			want: []string{"kept"}, after: map[string]string{"k": "theirs"},
		},
		"a property of what has none": {
			there: map[string]string{"k": "text"}, writes: []store.Write{refused(put("k", "a", "1"))},
			want: []string{"Conflict"}, after: map[string]string{"k": "text"},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newShelf(c.there)
				p, place := shelved(t, s, false)
				if diff := cmp.Diff(c.want, outcomes(p.Write(t.Context(), place, c.writes))); diff != "" {
					t.Errorf("outcomes: %s", diff)
				}
				if diff := cmp.Diff(c.after, s.content()); diff != "" {
					t.Errorf("content: %s", diff)
				}
			})
		})
	}
}

// TestAnErrorSaysWhetherItIsTheKeysOrTheStores holds because what is not the key's
// fault can still be done later.
func TestAnErrorSaysWhetherItIsTheKeysOrTheStores(t *testing.T) {
	for kind, keys := range map[secret.Kind]bool{
		secret.Conflict: true, secret.Invalid: true, secret.Unsupported: true, secret.Denied: true, secret.NotFound: true,
		secret.Unavailable: false, secret.Unauthenticated: false, secret.RateLimited: false, secret.Internal: false,
	} {
		t.Run(string(kind), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newShelf(map[string]string{"k": "v"})
				s.fault = problem(kind, "write", secret.Ref{}, errors.New("as the test wants it"))
				p, place := shelved(t, s, false)
				check := func(what string, err error) {
					e, ok := errors.AsType[*secret.Error](err)
					if !ok || e.Kind != kind || (e.Ref.Key == "k") != keys {
						t.Errorf("%s: %v", what, err)
					}
				}
				check("write", p.Write(t.Context(), place, []store.Write{put("k", "", "n")})[0].Err)
				check("delete", p.Delete(t.Context(), place, []store.Deletion{{Ref: secret.Ref{Key: "k"}}})[0])
			})
		})
	}
}

func TestADeletionEndsWhenSomebodyElseNeverDoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShelf(map[string]string{"k": `{"a":"0","b":"0"}`})
		n := 0
		s.before = func(key string) { n++; s.set(key, `{"a":"`+strconv.Itoa(n)+`","b":"1"}`) }
		p, place := shelved(t, s, false)
		err := p.Delete(t.Context(), place, []store.Deletion{{Ref: secret.Ref{Key: "k", Property: "a"}}})[0]
		if !errors.Is(err, secret.Unavailable) || n > 10 {
			t.Errorf("%v after %d attempts", err, n)
		}
	})
}

func TestWhatAKeyCannotHold(t *testing.T) {
	bytes := secret.Secret{Fields: map[string]secret.Value{"raw": secret.FromString("\xff")}}
	cases := map[string]struct {
		shape func(*shelf)
		write store.Write
		want  string
	}{
		"a property of text is kept or not":       {nil, kept(put("k", "a", "v")), "Invalid"},
		"a property of what is never shown":       {func(s *shelf) { s.opaque = true }, kept(put("k", "a", "v")), "Unsupported"},
		"bytes of a whole Secret in one property": {nil, store.Write{Ref: secret.Ref{Key: "n", Property: "a"}, Content: bytes}, "Invalid"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newShelf(map[string]string{"k": "text"})
				if c.shape != nil {
					c.shape(s)
				}
				p, place := shelved(t, s, false)
				if got := outcomes(p.Write(t.Context(), place, []store.Write{c.write})); got[0] != c.want || s.puts > 0 {
					t.Errorf("%v, %d writes", got, s.puts)
				}
			})
		})
	}
}

func TestAPropertyOfWhatIsNeverShownIsNotDeleted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShelf(map[string]string{"k": `{"a":"1"}`})
		s.opaque = true
		p, place := shelved(t, s, false)
		if err := p.Delete(t.Context(), place, []store.Deletion{{Ref: secret.Ref{Key: "k", Property: "a"}}})[0]; !errors.Is(err, secret.Unsupported) || s.deletes > 0 {
			t.Errorf("%v, %d deletions", err, s.deletes)
		}
	})
}

func TestNothingIsDeletedOnceThePoolIsClosed(t *testing.T) {
	s := newShelf(map[string]string{"k": "v"})
	p, place := shelved(t, s, false)
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if err := p.Delete(t.Context(), place, []store.Deletion{{Ref: secret.Ref{Key: "k"}}})[0]; !errors.Is(err, secret.Unavailable) || s.deletes > 0 {
		t.Errorf("%v, %d deletions", err, s.deletes)
	}
}
