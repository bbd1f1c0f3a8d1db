package providertest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"regexp"

	"github.com/go-logr/logr"

	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/provider/providertest/suite"
	"github.com/keyferry/keyferry/secret"
)

// Mark is in every value that the suite seeds. A harness puts it into its wrong
// credentials, and the fault answers of a Proxy hold it.
const Mark = "canary-5d0f3a9e"

// check is one promise. It reports through the probe.
type check struct {
	name  string
	needs []Ability
	// excusable is true if there are backends that cannot show it.
	excusable bool
	run       func(*probe)
}

// perform runs the check and then looks at what it left in logs and observations.
func (c check) perform(t T, h Harness, heard *suite.Log) {
	t.Helper()
	p := &probe{Judge: suite.Judge{T: t, Mark: Mark, Secrets: h.Env.secrets}, h: h, logger: heard.Logger()}
	seen := len(h.Env.Calls())
	defer func() {
		p.Clean("the log", heard.Take())
		for _, call := range h.Env.Calls()[seen:] {
			p.Clean("what was observed of "+call.Name, suite.Texts(call.Err))
		}
	}()
	c.run(p)
}

// probe is one check at work on a harness.
type probe struct {
	suite.Judge
	h      Harness
	logger *slog.Logger
}

// Context hides that of T, which Seed and Delete get: it carries a logger that is
// listened to.
func (p *probe) Context() context.Context {
	return logr.NewContextWithSlogLogger(p.T.Context(), p.logger)
}

// open returns a store that closes with the check.
func (p *probe) open() provider.Store {
	p.Helper()
	s, err := p.h.Open(p.Context(), Good)
	if err != nil {
		p.Fatalf("open with good credentials: %v", err)
	}
	p.Cleanup(func() { _ = s.Close() })
	return s
}

// reader is open for those that read.
func (p *probe) reader() provider.Reader {
	p.Helper()
	s := p.open()
	r, ok := s.(provider.Reader)
	if !ok {
		p.Fatalf("%T is no provider.Reader", s)
	}
	return r
}

// key names a secret of a group. Backends that have folders keep a group in one.
func (p *probe) key(group, name string) string {
	if p.h.can(Paths) {
		return group + "/" + name
	}
	return group + "-" + name
}

// query finds a group, as narrowly as the backend can.
func (p *probe) query(group string) secret.Query {
	q := secret.Query{Name: regexp.MustCompile("^" + regexp.QuoteMeta(p.key(group, "")))}
	if p.h.can(Paths) {
		q.Path = group
	}
	return q
}

// plain is a value that every backend can hold, with the mark in it.
func plain(s string) []byte { return fmt.Appendf(nil, `{"v":%q}`, Mark+" "+s) }

// seed puts one plain secret there and returns its key and value.
func (p *probe) seed(group, name string) (string, []byte) {
	p.Helper()
	key, v := p.key(group, name), plain(group+" "+name)
	p.h.Seed(p.T, Entry{Key: key, Value: v})
	return key, v
}

// same compares what a store returned with what was seeded.
func (p *probe) same(what string, got secret.Secret, want []byte) {
	p.Helper()
	v := got.Value
	if p.h.Value != nil {
		v = p.h.Value(got)
	}
	have := v.Reveal()
	if p.h.Payload == Objects {
		have, want = canonical(have), canonical(want)
	}
	if !bytes.Equal(have, want) {
		p.Errorf("%s: %d bytes that differ from the %d that were seeded", what, len(have), len(want))
	}
}

// canonical orders the members of a JSON document; numbers keep their form.
func canonical(b []byte) []byte {
	var doc any
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	if d.Decode(&doc) != nil {
		return append([]byte("no JSON: "), b...)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return append([]byte("more than JSON: "), b...)
	}
	out, err := json.Marshal(doc)
	if err != nil {
		return b
	}
	return out
}
