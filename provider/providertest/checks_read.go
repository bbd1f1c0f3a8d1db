package providertest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/secret"
)

// checks are all promises, in the order in which they are run.
func checks() []check {
	first := []check{{name: abilitiesName, run: abilities}}
	return slices.Concat(first, readChecks(), batchChecks(), listChecks(), writeChecks(), deleteChecks(), faultChecks(), lifeChecks())
}

func readChecks() []check {
	reads := []Ability{Reader}
	return []check{
		{name: "get/exact value", needs: reads, run: exactValue},
		{name: "get/empty value", needs: reads, excusable: true, run: emptyValue},
		{name: "get/absent", needs: reads, run: absent},
		{name: "get/deleted", needs: reads, excusable: true, run: deleted},
		{name: "get/latest", needs: reads, run: latest},
		{name: "get/version", needs: reads, run: version},
		{name: "get/metadata", needs: reads, run: metadata},
		{name: "get/results are the caller's", needs: reads, run: ownResults},
	}
}

// payloads are values that are easily damaged on the way.
func (h Harness) payloads() map[string][]byte {
	size := 64 << 10
	if h.Largest > 0 {
		size = min(size, h.Largest-len(Mark)-len(`{"mark":"","large":""}`))
	}
	out := map[string][]byte{
		"numbers":  []byte(`{"mark":"` + Mark + `","big":12345678901234567890,"exp":1e400,"one":1.0,"frac":0.1000000000000000055,"neg":-0}`),
		"unicode":  []byte(`{"mark":"` + Mark + `","text":"žluťoučký 🔑 \\u2028 <&> \"quoted\"","":"empty name","a.b":"dot","nested":{"x":[1,null,true]}}`),
		"large":    fmt.Appendf(nil, `{"mark":%q,"large":%q}`, Mark, strings.Repeat("k", size)),
		"one byte": []byte(`{"v":"x"}`),
	}
	if h.Payload == Objects {
		return out
	}
	maps.Copy(out, map[string][]byte{
		"lines":    []byte(Mark + "\r\n\ttwo lines \n"),
		"spaces":   []byte("  " + Mark + "  "),
		"base64":   []byte("Y2FuYXJ5"),
		"null":     []byte("null"),
		"one byte": []byte("x"),
		"emoji":    []byte("🔑 " + Mark + " e\u0301 \ufeff"),
	})
	if h.Payload == Bytes {
		binary := []byte(Mark)
		for i := range 256 {
			binary = append(binary, byte(i))
		}
		out["binary"] = binary
	}
	return out
}

func exactValue(p *probe) {
	values := p.h.payloads()
	var entries []Entry
	for i, name := range secret.Keys(values) {
		entries = append(entries, Entry{Key: p.key("exact", fmt.Sprint(i)), Value: values[name]})
	}
	p.h.Seed(p.T, entries...)
	r := p.reader()
	for i, name := range secret.Keys(values) {
		got, err := r.Get(p.Context(), secret.Ref{Key: entries[i].Key})
		if err != nil {
			p.Errorf("get %s: %v", name, err)
			continue
		}
		p.same(name, got, entries[i].Value)
	}
}

func emptyValue(p *probe) {
	empty := []byte{}
	if p.h.Payload == Objects {
		empty = []byte("{}")
	}
	key := p.key("empty", "a")
	p.h.Seed(p.T, Entry{Key: key, Value: empty})
	got, err := p.reader().Get(p.Context(), secret.Ref{Key: key})
	if err != nil {
		p.Fatalf("get: %v", err)
	}
	p.same("the empty value", got, empty)
}

func absent(p *probe) {
	p.seed("absent", "other")
	r := p.reader()
	for _, name := range []string{"never", "othe", "other2"} {
		ref := secret.Ref{Key: p.key("absent", name)}
		_, err := r.Get(p.Context(), ref)
		text := p.Failed("get "+ref.Key, err, secret.NotFound)
		if err != nil && !strings.Contains(text, ref.Key) {
			p.Errorf("the error does not name the key: %s", text)
		}
		_, again := r.Get(p.Context(), ref)
		if second := p.Failed("get again", again, secret.NotFound); second != text {
			p.Errorf("the text changes:\n%s\n%s", text, second)
		}
	}
}

func deleted(p *probe) {
	key, value := p.seed("deleted", "a")
	got, err := p.reader().Get(p.Context(), secret.Ref{Key: key})
	if err != nil {
		p.Fatalf("get before the deletion: %v", err)
	}
	p.same("before the deletion", got, value)
	p.h.Delete(p.T, key)
	_, err = p.reader().Get(p.Context(), secret.Ref{Key: key})
	p.Failed("get after the deletion", err, secret.NotFound)
}

func latest(p *probe) {
	key, _ := p.seed("latest", "a")
	newer := plain("newer")
	p.h.Seed(p.T, Entry{Key: key, Value: newer})
	got, err := p.reader().Get(p.Context(), secret.Ref{Key: key})
	if err != nil {
		p.Fatalf("get: %v", err)
	}
	p.same("the current version", got, newer)
}

func version(p *probe) {
	key, old := p.seed("version", "a")
	if !p.h.can(Versions) {
		_, err := p.reader().Get(p.Context(), secret.Ref{Key: key, Version: "1"})
		p.refused("get with a version", err, "version")
		return
	}
	first, err := p.reader().Get(p.Context(), secret.Ref{Key: key})
	if err != nil || first.Version == "" {
		p.Fatalf("get: version %q, error %v; want a version", first.Version, err)
	}
	newer := plain("newer")
	p.h.Seed(p.T, Entry{Key: key, Value: newer})
	r := p.reader()
	second, err := r.Get(p.Context(), secret.Ref{Key: key})
	if err != nil || second.Version == first.Version {
		p.Fatalf("get after a change: version %q as before, error %v", second.Version, err)
	}
	for v, want := range map[secret.Version][]byte{first.Version: old, second.Version: newer} {
		got, err := r.Get(p.Context(), secret.Ref{Key: key, Version: string(v)})
		if err != nil || got.Version != v {
			p.Errorf("get version %q: version %q, error %v", v, got.Version, err)
			continue
		}
		p.same(fmt.Sprintf("version %q", v), got, want)
	}
	_, err = r.Get(p.Context(), secret.Ref{Key: key, Version: "999999"})
	p.Failed("get a version that is not there", err, secret.NotFound)
}

func metadata(p *probe) {
	key := p.key("metadata", "a")
	tags := map[string]string{"team": "harbour"}
	if !p.h.can(Metadata) {
		p.h.Seed(p.T, Entry{Key: key, Value: plain("a")})
		_, err := p.reader().Get(p.Context(), secret.Ref{Key: key, Metadata: true})
		p.refused("get metadata", err, "metadata")
		return
	}
	p.h.Seed(p.T, Entry{Key: key, Value: plain("a"), Tags: tags})
	r := p.reader()
	got, err := r.Get(p.Context(), secret.Ref{Key: key, Metadata: true})
	if err != nil {
		p.Fatalf("get metadata: %v", err)
	}
	whole := got.Whole().Reveal()
	var doc map[string]any
	switch {
	case json.Unmarshal(whole, &doc) != nil || doc == nil:
		p.Errorf("the metadata is no JSON object")
	case p.Leak(string(whole)) != "":
		p.Errorf("the metadata holds the value")
	case !bytes.Contains(whole, []byte(`"team"`)) || !bytes.Contains(whole, []byte(`"harbour"`)):
		p.Errorf("the metadata lacks the tag that was seeded: %s", whole)
	}
	_, err = r.Get(p.Context(), secret.Ref{Key: p.key("metadata", "never"), Metadata: true})
	p.Failed("get metadata of what is not there", err, secret.NotFound)
}

// refused asserts that a store refuses what its backend has no notion of, and says
// which field asks for it.
func (p *probe) refused(what string, err error, field string) {
	p.Helper()
	text := p.Failed(what, err, secret.Unsupported, secret.Invalid)
	if err != nil && !strings.Contains(strings.ToLower(text), field) {
		p.Errorf("%s: the error does not name the field %q: %s", what, field, text)
	}
}

// ownResults spoils what a store returned and reads again.
func ownResults(p *probe) {
	key, value := p.seed("own", "a")
	other, _ := p.seed("own", "b")
	s := p.open()
	read := func() secret.Secret {
		got, err := s.(provider.Reader).Get(p.Context(), secret.Ref{Key: key})
		if err != nil {
			p.Fatalf("get: %v", err)
		}
		return got
	}
	first := read()
	if _, err := s.(provider.Reader).Get(p.Context(), secret.Ref{Key: other}); err != nil {
		p.Fatalf("get another: %v", err)
	}
	p.same("what was read before another", first, value)
	clear(first.Fields)
	p.same("a read after the caller changed its result", read(), value)
	b, ok := s.(provider.Batcher)
	if !ok {
		return
	}
	refs := []secret.Ref{{Key: key}, {Key: other}}
	for range 2 {
		results, err := b.GetBatch(p.Context(), refs)
		if err != nil || len(results) != 2 || results[0].Err != nil {
			p.Fatalf("batch: %d results, error %v", len(results), err)
		}
		if refs[0].Key != key || refs[1].Key != other {
			p.Fatalf("batch: the caller's refs were changed")
		}
		p.same("a batch after the caller changed its result", results[0].Secret, value)
		clear(results[0].Secret.Fields)
		clear(results)
	}
}
