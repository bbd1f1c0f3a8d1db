package providertest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/google/go-cmp/cmp"

	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/secret"
)

func writeChecks() []check {
	writes := []Ability{Reader, Writer}
	compares := append(slices.Clone(writes), CompareAndSet)
	marks := append(slices.Clone(writes), Marks)
	return []check{
		{name: "write/absent", needs: writes, run: writeAbsent},
		{name: "write/create", needs: writes, run: writeCreate},
		{name: "write/exact value", needs: writes, run: writeExact},
		{name: "write/unchanged", needs: writes, run: writeUnchanged},
		{name: "write/unchanged in another form", needs: writes, run: writeRestyled},
		{name: "write/change", needs: writes, run: writeChange},
		{name: "write/replaces all", needs: writes, run: writeReplaces},
		{name: "write/foreign owner", needs: marks, run: writeForeign},
		{name: "write/unmarked", needs: marks, run: writeUnmarked},
		{name: "write/outdated", needs: compares, run: writeOutdated},
		{name: "write/two writers", needs: compares, run: writeTogether},
		{name: "write/metadata", needs: writes, run: writeMetadata},
		{name: "write/concurrent calls", needs: writes, run: writeConcurrent},
	}
}

// content is a value as a store is given it.
func (p *probe) content(value []byte) secret.Secret {
	if p.h.Content != nil {
		return p.h.Content(value)
	}
	return secret.Secret{Value: secret.New(value)}
}

// another is a second store, or the same if what it writes is seen by no other.
func (p *probe) another(s provider.Store) provider.Store {
	p.Helper()
	if p.h.Alone {
		return s
	}
	return p.open()
}

// put writes a secret on a condition, for us.
func (p *probe) put(s provider.Store, key string, content secret.Secret, held *provider.Holding) (provider.Receipt, error) {
	return s.(provider.Writer).Put(p.Context(), secret.Ref{Key: key}, content, provider.PutOptions{If: held, Owner: provider.ManagedBy})
}

// mustPut writes a value, and goes no further if that fails.
func (p *probe) mustPut(s provider.Store, key string, value []byte) provider.Receipt {
	p.Helper()
	receipt, err := p.put(s, key, p.content(value), nil)
	if err != nil {
		p.Fatalf("put %s: %v", key, err)
	}
	return receipt
}

func (p *probe) inspect(s provider.Store, key string) provider.Holding {
	p.Helper()
	held, err := s.(provider.Writer).Inspect(p.Context(), secret.Ref{Key: key}, provider.PutOptions{})
	if err != nil {
		p.Fatalf("inspect %s: %v", key, err)
	}
	return held
}

func (p *probe) get(s provider.Store, key string) secret.Secret {
	p.Helper()
	got, err := s.(provider.Reader).Get(p.Context(), secret.Ref{Key: key})
	if err != nil {
		p.Fatalf("get %s: %v", key, err)
	}
	return got
}

// wantHeld looks into the backend for a value, nil for none, and returns how often
// the key was written to.
func (p *probe) wantHeld(what, key string, want []byte) int {
	p.Helper()
	value, writes, exists := p.h.Held(p.T, key)
	if exists != (want != nil) {
		p.Errorf("%s: that the backend has the secret is %v", what, exists)
		return writes
	}
	if p.h.Payload == Objects && exists {
		value, want = canonical(value), canonical(want)
	}
	if !bytes.Equal(value, want) {
		p.Errorf("%s: the backend holds %d bytes that differ from the %d that it should", what, len(value), len(want))
	}
	return writes
}

// conflict asserts a refusal that names the key.
func (p *probe) conflict(what, key string, err error) {
	p.Helper()
	text := p.Failed(what, err, secret.Conflict)
	if err != nil && !strings.Contains(text, key) {
		p.Errorf("%s: the error does not name the key: %s", what, text)
	}
}

func writeAbsent(p *probe) {
	p.seed("unwritten", "other")
	s := p.open()
	for _, name := range []string{"never", "othe", "other2"} {
		if held := p.inspect(s, p.key("unwritten", name)); held.Exists {
			p.Errorf("inspect %s: something exists", name)
		}
	}
}

func writeCreate(p *probe) {
	key, value := p.key("create", "a"), plain("create")
	s := p.open()
	receipt := p.mustPut(s, key, value)
	if !receipt.Written {
		p.Errorf("put of what is not there: nothing was written")
	}
	p.wantHeld("put", key, value)
	held := p.inspect(s, key)
	if !held.Exists || held.Opaque {
		p.Fatalf("inspect after put: exists %v, opaque %v", held.Exists, held.Opaque)
	}
	p.same("inspect", held.Secret, value)
	got := p.get(p.another(s), key)
	p.same("get", got, value)
	if got.Version != receipt.Version || got.Version != held.Secret.Version {
		p.Errorf("the version is %q for Put, %q for Inspect and %q for Get", receipt.Version, held.Secret.Version, got.Version)
	}
}

func writeExact(p *probe) {
	s := p.open()
	values := p.h.payloads()
	for i, name := range secret.Keys(values) {
		key := p.key("writeexact", fmt.Sprint(i))
		if _, err := p.put(s, key, p.content(values[name]), nil); err != nil {
			p.Errorf("put %s: %v", name, err)
			continue
		}
		p.wantHeld("put "+name, key, values[name])
		p.same("get "+name, p.get(s, key), values[name])
	}
}

// unchanged puts a secret that is there already, with and without a condition.
func (p *probe) unchanged(what string, s provider.Store, key string, content secret.Secret, first provider.Receipt) {
	p.Helper()
	_, before, _ := p.h.Held(p.T, key)
	held := p.inspect(s, key)
	for _, condition := range []*provider.Holding{nil, &held} {
		again, err := p.put(s, key, content, condition)
		switch {
		case err != nil:
			p.Errorf("%s: %v", what, err)
		case again.Written:
			p.Errorf("%s: it was written again", what)
		case again.Version != first.Version:
			p.Errorf("%s: the version was %q and is %q", what, first.Version, again.Version)
		}
	}
	if _, after, _ := p.h.Held(p.T, key); after != before {
		p.Errorf("%s: the backend was written to", what)
	}
}

func writeUnchanged(p *probe) {
	key, value := p.key("unchanged", "a"), plain("unchanged")
	s := p.open()
	first := p.mustPut(s, key, value)
	p.unchanged("put again", s, key, p.content(value), first)
	p.unchanged("put by another store", p.another(s), key, p.content(value), first)
	p.wantHeld("put again", key, value)
}

func writeRestyled(p *probe) {
	key := p.key("restyled", "a")
	value := []byte(`{"a":{"x":[1,2.50,null],"y":"` + Mark + `"},"b":12345678901234567890,"c":true}`)
	s := p.open()
	first := p.mustPut(s, key, value)
	content := p.content(value)
	if content.Fields == nil {
		content.Value = restyled(content.Value)
	}
	for name, field := range content.Fields {
		content.Fields[name] = restyled(field)
	}
	p.unchanged("put in another form", s, key, content, first)
}

// restyled orders the members of a JSON object the other way round and puts spaces in
// between.
func restyled(v secret.Value) secret.Value {
	var members map[string]json.RawMessage
	if json.Unmarshal(v.Reveal(), &members) != nil {
		return v
	}
	var parts []string
	for _, name := range slices.Backward(secret.Keys(members)) {
		text := string(members[name])
		if !strings.HasPrefix(text, `"`) { // what is inside a text is another text
			text = strings.ReplaceAll(text, "2.50", "25e-1")
		}
		parts = append(parts, fmt.Sprintf("\n  %q : %s", name, text))
	}
	return secret.FromString("{" + strings.Join(parts, " ,") + "\n}")
}

func writeChange(p *probe) {
	key, older, newer := p.key("change", "a"), plain("older"), plain("newer")
	s := p.open()
	first := p.mustPut(s, key, older)
	before := p.wantHeld("the first put", key, older)
	held := p.inspect(s, key)
	second, err := p.put(s, key, p.content(newer), &held)
	if err != nil || !second.Written {
		p.Fatalf("put of another value: written %v, error %v", second.Written, err)
	}
	if after := p.wantHeld("the second put", key, newer); after == before && after >= 0 {
		p.Errorf("the backend does not count the second put: Held does not tell")
	}
	got := p.get(p.another(s), key)
	p.same("get", got, newer)
	if got.Version != second.Version || second.Version != "" && second.Version == first.Version {
		p.Errorf("the versions are %q, then %q for Put and %q for Get", first.Version, second.Version, got.Version)
	}
	p.mustPut(s, key, older)
	p.wantHeld("put of the first value again", key, older)
}

// members are those of a secret's fields, or of its value as a JSON object.
func (p *probe) members(s secret.Secret) map[string]secret.Value {
	members, err := s.Whole().Object()
	if err != nil {
		p.Errorf("the secret has no members: %v", err)
	}
	return members
}

// with is a secret with one member set to a text, or removed if that is empty.
func (p *probe) with(s secret.Secret, member, text string) secret.Secret {
	if s.Fields != nil {
		fields := maps.Clone(s.Fields)
		fields[member] = secret.FromString(text)
		if text == "" {
			delete(fields, member)
		}
		return secret.Secret{Fields: fields}
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(s.Value.Reveal(), &object); err != nil {
		p.Errorf("the secret is no JSON object")
		return s
	}
	object[member] = fmt.Appendf(nil, "%q", text)
	if text == "" {
		delete(object, member)
	}
	b, err := json.Marshal(object)
	if err != nil {
		p.Errorf("the secret cannot be encoded")
	}
	return secret.Secret{Value: secret.New(b)}
}

// wantMembers compares the members of what a key holds.
func (p *probe) wantMembers(what string, s provider.Store, key string, want map[string]secret.Value) {
	p.Helper()
	got := p.members(p.get(s, key))
	if diff := cmp.Diff(secret.Keys(want), secret.Keys(got)); diff != "" {
		p.Errorf("%s: the members (-want +got):\n%s", what, diff)
	}
	for name, value := range want {
		if have, ok := got[name]; ok && !have.Same(value) {
			p.Errorf("%s: the member %q differs", what, name)
		}
	}
}

// writeReplaces takes one of two properties out of a secret, as those do who delete it.
func writeReplaces(p *probe) {
	key := p.key("replaces", "a")
	s := p.open()
	p.mustPut(s, key, plain("sibling"))
	want := p.members(p.get(s, key))
	for _, text := range []string{Mark + " one", ""} {
		held := p.inspect(s, key)
		if _, err := p.put(s, key, p.with(held.Secret, "one", text), &held); err != nil {
			p.Fatalf("put: %v", err)
		}
		if want["one"] = secret.FromString(text); text == "" {
			delete(want, "one")
		}
		p.wantMembers(fmt.Sprintf("put with a property of %d characters", len(text)), p.another(s), key, want)
	}
}

func writeForeign(p *probe) {
	key, value := p.key("foreign", "a"), plain("foreign")
	p.h.Foreign(p.T, key, value)
	before := p.wantHeld("before", key, value)
	s := p.open()
	held := p.inspect(s, key)
	if !held.Exists {
		p.Errorf("inspect: nothing exists")
	}
	for _, condition := range []*provider.Holding{nil, &held} {
		_, err := p.put(s, key, p.content(plain("ours")), condition)
		p.conflict("put over another owner's", key, err)
	}
	if after := p.wantHeld("after", key, value); after != before {
		p.Errorf("the backend was written to")
	}
}

func writeUnmarked(p *probe) {
	key, value := p.seed("unmarked", "a")
	s := p.open()
	if !p.h.can(MarksRequired) {
		p.mustPut(s, key, plain("ours"))
		p.wantHeld("put over what has no mark", key, plain("ours"))
		return
	}
	_, err := p.put(s, key, p.content(plain("ours")), nil)
	p.conflict("put over what has no mark", key, err)
	p.wantHeld("put over what has no mark", key, value)
}

// writeOutdated writes on conditions that do not hold any more.
func writeOutdated(p *probe) {
	key, theirs := p.key("outdated", "a"), plain("theirs")
	s := p.open()
	other := p.another(s)
	absent := p.inspect(s, key)
	p.mustPut(other, key, theirs)
	_, err := p.put(s, key, p.content(plain("ours")), &absent)
	p.conflict("put over what came meanwhile", key, err)
	p.wantHeld("put over what came meanwhile", key, theirs)
	present := p.inspect(s, key)
	p.mustPut(other, key, plain("theirs, newer"))
	_, err = p.put(s, key, p.content(plain("ours")), &present)
	p.conflict("put over what changed meanwhile", key, err)
	p.wantHeld("put over what changed meanwhile", key, plain("theirs, newer"))
}

// writeTogether lets two writers each set properties of one secret, one after the other:
// what is lost once is not set again.
func writeTogether(p *probe) {
	const rounds = 4
	key := p.key("together", "a")
	s := p.open()
	p.mustPut(s, key, plain("sibling"))
	want := p.members(p.get(s, key))
	var writers, ready sync.WaitGroup
	ready.Add(2)
	for _, property := range []string{"one", "two"} {
		own := p.another(s)
		for i := range rounds {
			want[fmt.Sprint(property, i)] = secret.FromString(fmt.Sprint(Mark, i))
		}
		writers.Go(func() {
			meet := sync.OnceFunc(func() { // both have looked before either writes
				ready.Done()
				ready.Wait()
			})
			defer meet()
			for i := range rounds {
				p.mergeIn(own, key, fmt.Sprint(property, i), fmt.Sprint(Mark, i), meet)
			}
		})
	}
	writers.Wait()
	p.wantMembers("after two writers", p.another(s), key, want)
}

// mergeIn sets a property as those above a store do.
func (p *probe) mergeIn(s provider.Store, key, property, text string, looked func()) {
	const tries = 100
	for range tries {
		held, err := s.(provider.Writer).Inspect(p.Context(), secret.Ref{Key: key}, provider.PutOptions{})
		looked()
		if err == nil {
			_, err = p.put(s, key, p.with(held.Secret, property, text), &held)
		}
		if err == nil {
			return
		}
		if secret.KindOf(err) != secret.Conflict {
			p.Errorf("merge %s: %v", property, err)
			return
		}
	}
	p.Errorf("merge %s: a conflict %d times", property, tries)
}

// writeMetadata puts with metadata that nothing can understand.
func writeMetadata(p *probe) {
	s := p.open()
	for i, c := range []struct{ metadata, field string }{
		{`{"apiVersion":"` + provider.MetadataAPIVersion + `","kind":"` + provider.MetadataKind + `","spec":{"noSuchField":1}}`, "noSuchField"},
		{`{"noSuchField":1}`, "noSuchField"},
		{`{"apiVersion":"` + provider.MetadataAPIVersion + `","kind":"NoSuchKind","spec":{}}`, "kind"},
	} {
		key := p.key("metadata", fmt.Sprint("put-", i))
		_, err := s.(provider.Writer).Put(p.Context(), secret.Ref{Key: key}, p.content(plain("a")), provider.PutOptions{
			Owner: provider.ManagedBy, Metadata: json.RawMessage(c.metadata),
		})
		text := p.Failed("put with "+c.metadata, err, secret.Invalid)
		if err != nil && !strings.Contains(text, c.field) {
			p.Errorf("put with %s: the error does not name %s: %s", c.metadata, c.field, text)
		}
		p.wantHeld("put with "+c.metadata, key, nil)
	}
}

// writeConcurrent lets each of many callers do everything with a key of their own.
func writeConcurrent(p *probe) {
	const callers, rounds = 8, 3
	s := p.open()
	var group sync.WaitGroup
	for i := range callers {
		key := p.key("writers", fmt.Sprint(i))
		group.Go(func() {
			for round := range rounds {
				p.writeOne(s, key, plain(fmt.Sprint("written ", i, " ", round)))
			}
		})
	}
	group.Wait()
}

func (p *probe) writeOne(s provider.Store, key string, value []byte) {
	if _, err := p.put(s, key, p.content(value), nil); err != nil {
		p.Errorf("a concurrent Put: %v", err)
		return
	}
	held, err := s.(provider.Writer).Inspect(p.Context(), secret.Ref{Key: key}, provider.PutOptions{})
	p.sameOrFailed("a concurrent Inspect", held.Secret, err, value)
	got, err := s.(provider.Reader).Get(p.Context(), secret.Ref{Key: key})
	p.sameOrFailed("a Get after a concurrent Put", got, err, value)
	d, ok := s.(provider.Deleter)
	if !ok {
		return
	}
	if err := d.Delete(p.Context(), secret.Ref{Key: key}, provider.DeleteOptions{Owner: provider.ManagedBy}); err != nil {
		p.Errorf("a concurrent Delete: %v", err)
	}
	if held, err := s.(provider.Writer).Inspect(p.Context(), secret.Ref{Key: key}, provider.PutOptions{}); err != nil || held.Exists {
		p.Errorf("an Inspect after a concurrent Delete: exists %v, error %v", held.Exists, err)
	}
}
