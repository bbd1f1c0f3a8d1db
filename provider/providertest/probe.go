package providertest

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"

	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/secret"
)

// Mark is in every value that the suite seeds. A harness puts it into its wrong
// credentials, and the fault answers of a Proxy hold it.
const Mark = "canary-5d0f3a9e"

// patience is how long a call may go on after its context has ended. It guards
// against a deadlock and is never waited for by a store that passes.
const patience = 30 * time.Second

// shortest is the length from which a credential is looked for in texts.
const shortest = 8

// check is one promise. It reports through the probe.
type check struct {
	name  string
	needs []Ability
	// excusable is true if there are backends that cannot show it.
	excusable bool
	run       func(*probe)
}

// perform runs the check and then looks at what it left in logs and observations.
func (c check) perform(t T, h Harness, recorded *recorder) {
	t.Helper()
	p := &probe{T: t, h: h, logger: slog.New(recorded.handler())}
	seen := len(h.Env.Calls())
	defer func() {
		if leak := p.leak(recorded.take()); leak != "" {
			t.Errorf("the log holds %s", leak)
		}
		for _, call := range h.Env.Calls()[seen:] {
			if leak := p.leak(texts(call.Err)); leak != "" {
				t.Errorf("what was observed of %s holds %s", call.Name, leak)
			}
		}
	}()
	c.run(p)
}

// probe is one check at work on a harness.
type probe struct {
	T
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

// failed asserts that err is an error of one of these kinds that keeps to the form
// of errors. It returns its text.
func (p *probe) failed(what string, err error, kinds ...secret.Kind) string {
	p.Helper()
	if err == nil {
		p.Errorf("%s: no error, want one of %v", what, kinds)
		return ""
	}
	if leak := p.leak(texts(err)); leak != "" {
		p.Errorf("%s: the error holds %s", what, leak)
		return ""
	}
	e, ok := errors.AsType[*secret.Error](err)
	switch {
	case !ok:
		p.Errorf("%s: the error is a %T and no *secret.Error: %v", what, err, err)
	case !slices.Contains(kinds, e.Kind):
		p.Errorf("%s: the kind is %q, want one of %v: %v", what, e.Kind, kinds, err)
	case strings.ContainsAny(err.Error(), "\r\n"):
		p.Errorf("%s: the error has more than one line: %q", what, err)
	}
	return err.Error()
}

// leak says what a text holds that it must not; empty if nothing.
func (p *probe) leak(text string) string {
	for _, form := range forms([]byte(Mark)) {
		if strings.Contains(text, form) {
			return "a value, a wrong credential or an answer's body"
		}
	}
	for _, v := range p.h.Env.secrets() {
		if v.Len() >= shortest && strings.Contains(text, string(v.Reveal())) {
			return "a credential that the store was given"
		}
	}
	return ""
}

// forms are the ways in which a mark shows up in a text: as it is, in hex, and in
// Base64 at each of the three alignments, less the characters that its neighbours
// have a part in.
func forms(mark []byte) []string {
	out := []string{string(mark), hex.EncodeToString(mark)}
	for shift := range 3 {
		padded := append(make([]byte, shift), mark...)
		enc := base64.RawStdEncoding.EncodeToString(padded[:len(padded)-len(padded)%3])
		out = append(out, enc[(shift*4+2)/3:])
	}
	return out
}

// texts is every way in which an error, or one in its chain, is printed.
func texts(err error) string {
	var b strings.Builder
	var walk func(error)
	walk = func(err error) {
		if err == nil {
			return
		}
		fmt.Fprintf(&b, "%v\n%+v\n%#v\n", err, err, err)
		switch u := err.(type) { //nolint:errorlint // the links of the chain are looked at one by one
		case interface{ Unwrap() error }:
			walk(u.Unwrap())
		case interface{ Unwrap() []error }:
			for _, err := range u.Unwrap() {
				walk(err)
			}
		}
	}
	walk(err)
	return b.String()
}

// recorder keeps what is logged.
type recorder struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// record makes a recorder the default of slog and log until the test ends.
func record(t T) *recorder {
	r := &recorder{}
	old, out, flags := slog.Default(), log.Writer(), log.Flags()
	slog.SetDefault(slog.New(r.handler())) // takes package log along
	t.Cleanup(func() {
		slog.SetDefault(old)
		log.SetOutput(out)
		log.SetFlags(flags)
	})
	return r
}

func (r *recorder) handler() slog.Handler {
	return slog.NewTextHandler(r, &slog.HandlerOptions{Level: slog.Level(-128)})
}

// Write implements io.Writer.
func (r *recorder) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.buf.Write(b)
}

// take returns what was logged since the last take.
func (r *recorder) take() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.buf.String()
	r.buf.Reset()
	return s
}
