package providertest

import (
	"context"
	"encoding/json"
	"log/slog"
	"maps"
	"testing"
	"testing/synctest"

	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/provider/providertest/suite"
	"github.com/keyferry/keyferry/secret"
)

// writer passes the calls that write through functions; nil leaves one as it is.
type writer struct {
	*memory
	inspect func(ctx context.Context, ref secret.Ref, s *memory) (provider.Holding, error)
	put     func(ctx context.Context, ref secret.Ref, content secret.Secret, o provider.PutOptions, s *memory) (provider.Receipt, error)
	remove  func(ctx context.Context, ref secret.Ref, o provider.DeleteOptions, s *memory) error
}

func (s writer) Inspect(ctx context.Context, ref secret.Ref, o provider.PutOptions) (provider.Holding, error) {
	if s.inspect == nil {
		return s.memory.Inspect(ctx, ref, o)
	}
	return s.inspect(ctx, ref, s.memory)
}

func (s writer) Put(ctx context.Context, ref secret.Ref, content secret.Secret, o provider.PutOptions) (provider.Receipt, error) {
	if s.put == nil {
		return s.memory.Put(ctx, ref, content, o)
	}
	return s.put(ctx, ref, content, o, s.memory)
}

func (s writer) Delete(ctx context.Context, ref secret.Ref, o provider.DeleteOptions) error {
	if s.remove == nil {
		return s.memory.Delete(ctx, ref, o)
	}
	return s.remove(ctx, ref, o, s.memory)
}

func badInspect(f func(ctx context.Context, ref secret.Ref, s *memory) (provider.Holding, error)) func(*memory) provider.Store {
	return func(s *memory) provider.Store { return writer{memory: s, inspect: f} }
}

func badPut(f func(ctx context.Context, ref secret.Ref, content secret.Secret, o provider.PutOptions, s *memory) (provider.Receipt, error)) func(*memory) provider.Store {
	return func(s *memory) provider.Store { return writer{memory: s, put: f} }
}

func badDelete(f func(ctx context.Context, ref secret.Ref, o provider.DeleteOptions, s *memory) error) func(*memory) provider.Store {
	return func(s *memory) provider.Store { return writer{memory: s, remove: f} }
}

// received passes what a Put came to through a function.
func received(f func(r *provider.Receipt)) func(*memory) provider.Store {
	return badPut(func(ctx context.Context, ref secret.Ref, content secret.Secret, o provider.PutOptions, s *memory) (provider.Receipt, error) {
		r, err := s.Put(ctx, ref, content, o)
		f(&r)
		return r, err
	})
}

// options passes the options of a Put through a function.
func options(f func(s *memory, key string, o *provider.PutOptions)) func(*memory) provider.Store {
	return badPut(func(ctx context.Context, ref secret.Ref, content secret.Secret, o provider.PutOptions, s *memory) (provider.Receipt, error) {
		f(s, ref.Key, &o)
		return s.Put(ctx, ref, content, o)
	})
}

// owner is who a key belongs to.
func (b *backend) owner(key string) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	if e := b.entries[key]; e.there() {
		return e.tags[provider.Mark]
	}
	return provider.ManagedBy
}

func (b *backend) setOwner(key, owner string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if e := b.entries[key]; e.there() {
		e.tags = map[string]string{provider.Mark: owner}
	}
}

func absentIsAnError(ctx context.Context, ref secret.Ref, s *memory) (provider.Holding, error) {
	held, err := s.Inspect(ctx, ref, provider.PutOptions{})
	if err == nil && !held.Exists {
		err = s.fail(secret.NotFound, "inspect", ref, "nothing is there")
	}
	return held, err
}

func deniedIsAbsent(ctx context.Context, ref secret.Ref, s *memory) (provider.Holding, error) {
	held, err := s.Inspect(ctx, ref, provider.PutOptions{})
	if secret.KindOf(err) == secret.Denied {
		err = nil
	}
	return held, err
}

func blindInspect(ctx context.Context, ref secret.Ref, s *memory) (provider.Holding, error) {
	held, err := s.Inspect(ctx, ref, provider.PutOptions{})
	held.Secret.Value = secret.Value{}
	return held, err
}

// always appends a version.
func always(ctx context.Context, ref secret.Ref, content secret.Secret, o provider.PutOptions, s *memory) (provider.Receipt, error) {
	r, err := s.Put(ctx, ref, content, o)
	if err != nil || r.Written {
		return r, err
	}
	return s.append(ref.Key, content), nil
}

// byBytes compares values as they are written.
func byBytes(ctx context.Context, ref secret.Ref, content secret.Secret, o provider.PutOptions, s *memory) (provider.Receipt, error) {
	r, err := s.Put(ctx, ref, content, o)
	if err != nil || r.Written {
		return r, err
	}
	if held, _ := s.Inspect(ctx, ref, o); held.Secret.Value.Equal(content.Whole()) {
		return r, nil
	}
	return s.append(ref.Key, content), nil
}

func (s *memory) append(key string, content secret.Secret) provider.Receipt {
	s.b.mu.Lock()
	defer s.b.mu.Unlock()
	e := s.b.entries[key]
	e.versions = append(e.versions, content.Whole().Reveal())
	return provider.Receipt{Version: e.version(), Written: true}
}

func neverWrites(ctx context.Context, ref secret.Ref, _ secret.Secret, o provider.PutOptions, s *memory) (provider.Receipt, error) {
	held, err := s.Inspect(ctx, ref, o)
	return provider.Receipt{Version: held.Secret.Version, Written: !held.Exists}, err
}

// createsOnly takes what exists for what is wanted.
func createsOnly(ctx context.Context, ref secret.Ref, content secret.Secret, o provider.PutOptions, s *memory) (provider.Receipt, error) {
	if held, err := s.Inspect(ctx, ref, o); err != nil || held.Exists && s.b.owner(ref.Key) == o.Owner {
		return provider.Receipt{Version: held.Secret.Version}, err
	}
	return s.Put(ctx, ref, content, o)
}

// merges keeps the members that are there.
func merges(ctx context.Context, ref secret.Ref, content secret.Secret, o provider.PutOptions, s *memory) (provider.Receipt, error) {
	held, err := s.Inspect(ctx, ref, o)
	var all, more map[string]json.RawMessage
	if err == nil && json.Unmarshal(held.Secret.Value.Reveal(), &all) == nil && json.Unmarshal(content.Value.Reveal(), &more) == nil {
		maps.Copy(all, more)
		b, _ := json.Marshal(all)
		content.Value = secret.New(b)
	}
	return s.Put(ctx, ref, content, o)
}

// decoded encodes JSON again, as programs do that do not think of it.
func decoded(ctx context.Context, ref secret.Ref, content secret.Secret, o provider.PutOptions, s *memory) (provider.Receipt, error) {
	var doc any
	if json.Unmarshal(content.Value.Reveal(), &doc) == nil {
		b, _ := json.Marshal(doc)
		content.Value = secret.New(b)
	}
	return s.Put(ctx, ref, content, o)
}

func loggedPut(ctx context.Context, ref secret.Ref, content secret.Secret, o provider.PutOptions, s *memory) (provider.Receipt, error) {
	slog.Debug("write", "body", string(content.Value.Reveal()))
	return s.Put(ctx, ref, content, o)
}

func lenientMetadata(ctx context.Context, ref secret.Ref, content secret.Secret, o provider.PutOptions, s *memory) (provider.Receipt, error) {
	o.Metadata = nil
	return s.Put(ctx, ref, content, o)
}

// silentMetadata names no field.
func silentMetadata(ctx context.Context, ref secret.Ref, content secret.Secret, o provider.PutOptions, s *memory) (provider.Receipt, error) {
	r, err := s.Put(ctx, ref, content, o)
	if secret.KindOf(err) == secret.Invalid {
		err = s.fail(secret.Invalid, "write", ref, "the metadata is bad")
	}
	return r, err
}

// quietPut fails as a good one and says neither where nor why.
func quietPut(ctx context.Context, ref secret.Ref, content secret.Secret, o provider.PutOptions, s *memory) (provider.Receipt, error) {
	r, err := s.Put(ctx, ref, content, o)
	if secret.KindOf(err) == secret.Conflict {
		err = s.fail(secret.Conflict, "write", secret.Ref{}, "no")
	}
	return r, err
}

// mixedUpPut keeps the value of the last call between two steps of another. A call
// waits for a second one, so that they meet if there is one: time is that of a bubble.
func mixedUpPut(s *memory) provider.Store {
	mixUp := suite.MixUp[secret.Secret]()
	return writer{memory: s, put: func(ctx context.Context, ref secret.Ref, content secret.Secret, o provider.PutOptions, s *memory) (provider.Receipt, error) {
		return s.Put(ctx, ref, mixUp(content), o)
	}}
}

func absentCannotGo(ctx context.Context, ref secret.Ref, o provider.DeleteOptions, s *memory) error {
	if held, err := s.Inspect(ctx, ref, provider.PutOptions{}); err == nil && !held.Exists {
		return s.fail(secret.NotFound, "delete", ref, "nothing is there")
	}
	return s.Delete(ctx, ref, o)
}

func neverDeletes(ctx context.Context, ref secret.Ref, _ provider.DeleteOptions, s *memory) error {
	return s.enter(ctx, "delete", ref)
}

// blanks leaves an empty secret behind.
func blanks(ctx context.Context, ref secret.Ref, o provider.DeleteOptions, s *memory) error {
	_, err := s.Put(ctx, ref, secret.Secret{}, provider.PutOptions{If: o.If, Owner: o.Owner})
	return err
}

// deletesForeign deletes whatever has a mark, or whatever has none.
func deletesForeign(marked bool) func(*memory) provider.Store {
	return badDelete(func(ctx context.Context, ref secret.Ref, o provider.DeleteOptions, s *memory) error {
		if (s.b.owner(ref.Key) != "") == marked {
			o.Owner = s.b.owner(ref.Key)
		}
		return s.Delete(ctx, ref, o)
	})
}

func deletesOutdated(ctx context.Context, ref secret.Ref, o provider.DeleteOptions, s *memory) error {
	o.If = nil
	return s.Delete(ctx, ref, o)
}

// buries refuses to write where something was deleted.
func buries(ctx context.Context, ref secret.Ref, content secret.Secret, o provider.PutOptions, s *memory) (provider.Receipt, error) {
	s.b.mu.Lock()
	e := s.b.entries[ref.Key]
	buried := e != nil && e.deleted
	s.b.mu.Unlock()
	if buried {
		return provider.Receipt{}, s.fail(secret.Conflict, "write", ref, "it is being deleted")
	}
	return s.Put(ctx, ref, content, o)
}

func TestBadWritersFail(t *testing.T) {
	takesOver := func(marked bool) func(*memory) provider.Store {
		return options(func(s *memory, key string, o *provider.PutOptions) {
			if owner := s.b.owner(key); (owner != "") == marked {
				s.b.setOwner(key, o.Owner)
			}
		})
	}
	for name, tc := range map[string]struct {
		wrap   func(*memory) provider.Store
		change func(*Harness)
		want   string
	}{
		"absence is an error":                      {wrap: badInspect(absentIsAnError), want: "write/absent"},
		"denied is called absent":                  {wrap: badInspect(deniedIsAbsent), want: "kind/denied"},
		"inspect shows nothing":                    {wrap: badInspect(blindInspect), want: "write/create"},
		"nothing is written":                       {wrap: badPut(neverWrites), want: "write/create"},
		"a write is not reported":                  {wrap: received(func(r *provider.Receipt) { r.Written = false }), want: "write/create"},
		"a version is not reported":                {wrap: received(func(r *provider.Receipt) { r.Version = "" }), want: "write/create"},
		"every put is reported":                    {wrap: received(func(r *provider.Receipt) { r.Written = true }), want: "write/unchanged"},
		"every put is written":                     {wrap: badPut(always), want: "write/unchanged"},
		"values are compared by their bytes":       {wrap: badPut(byBytes), want: "write/unchanged in another form"},
		"what exists is left alone":                {wrap: badPut(createsOnly), want: "write/change"},
		"what is there is merged":                  {wrap: badPut(merges), want: "write/replaces all"},
		"values are decoded and encoded":           {wrap: badPut(decoded), want: "write/exact value"},
		"a value in the log":                       {wrap: badPut(loggedPut), want: "write/create"},
		"another owner's secret is taken":          {wrap: takesOver(true), want: "write/foreign owner"},
		"a secret without a mark is taken":         {wrap: takesOver(false), want: "write/unmarked"},
		"a conflict that does not say where":       {wrap: badPut(quietPut), want: "write/foreign owner"},
		"a condition is ignored":                   {wrap: options(func(_ *memory, _ string, o *provider.PutOptions) { o.If = nil }), want: "write/outdated"},
		"the other writer's property is lost":      {wrap: options(func(_ *memory, _ string, o *provider.PutOptions) { o.If = nil }), want: "write/two writers"},
		"concurrent puts are mixed up":             {wrap: mixedUpPut, want: "write/concurrent calls"},
		"unknown metadata is ignored":              {wrap: badPut(lenientMetadata), want: "write/metadata"},
		"unknown metadata is not named":            {wrap: badPut(silentMetadata), want: "write/metadata"},
		"absent cannot be deleted":                 {wrap: badDelete(absentCannotGo), want: "delete/absent"},
		"nothing is deleted":                       {wrap: badDelete(neverDeletes), want: "delete/present"},
		"deletion leaves an empty secret":          {wrap: badDelete(blanks), want: "delete/present"},
		"another owner's secret is deleted":        {wrap: deletesForeign(true), want: "delete/foreign owner"},
		"a secret without a mark is deleted":       {wrap: deletesForeign(false), want: "delete/unmarked"},
		"a condition of a deletion is ignored":     {wrap: badDelete(deletesOutdated), want: "delete/outdated"},
		"what was deleted cannot be written again": {wrap: badPut(buries), want: "delete/then put"},
		"writing is not named":                     {wrap: asIs, change: without(Writer), want: abilitiesName},
		"deleting is not named":                    {wrap: asIs, change: without(Deleter), want: abilitiesName},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				got := red(t, tc.wrap, tc.change)
				if len(got[tc.want]) == 0 {
					t.Errorf("%q holds; those that do not: %v", tc.want, secret.Keys(got))
				}
			})
		})
	}
}

// A store whose backend keeps marks and whose owners do not insist on them passes.
func TestGoodStoreThatWritesOverTheUnmarkedPasses(t *testing.T) {
	b := newBackend(t)
	h := b.harness(t, badPut(func(ctx context.Context, ref secret.Ref, content secret.Secret, o provider.PutOptions, s *memory) (provider.Receipt, error) {
		if s.b.owner(ref.Key) == "" {
			o.Owner = ""
		}
		return s.Put(ctx, ref, content, o)
	}))
	without(MarksRequired)(&h)
	Run(t, h)
}
