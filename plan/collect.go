package plan

import (
	"context"
	"fmt"
	"maps"

	esv1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	"github.com/keyferry/keyferry/secret"
	"github.com/keyferry/keyferry/template"
)

// Answer is what a store said to one Source, or a generator made for it.
type Answer struct {
	// Secret is what data and extract read; its Fields are what a generator made.
	Secret secret.Secret
	// Found is what find found: name → secret, filtered by name already.
	Found map[string]secret.Secret
	// PropertyResolved: the backend has taken Ref.Property into account itself.
	PropertyResolved bool
	// Err is why there is no answer.
	Err error
}

// Data is what an ExternalSecret fetches, ready for its template.
type Data struct {
	Values map[string]secret.Value
	// From tells which source each key comes from: key → field.
	From map[string]string
	// Missing lists the fields whose secret is not at the store and which were
	// left out, in spec order.
	Missing []string
}

// Collect turns answers, one for each of sources and in their order, into data:
// properties, rewriting, key conversion, key checks, decoding, null bytes.
//
// A later source overrides the keys of an earlier one, as ESO documents it, and
// spec.data overrides spec.dataFrom. Within one source two keys that become one,
// by conversion or by rewriting, are an Invalid error that names both.
//
// A secret that is not there is left out and listed in Missing, unless the
// deletionPolicy is Retain: then it is an error, as it always is from a generator. A property that is not in a secret
// always is one: a mistyped path must not delete anything. Of several errors the first in
// spec order is returned, with the number of the others.
func Collect(ctx context.Context, engine *template.Engine, spec *esv1.ExternalSecretSpec, sources []Source, answers []Answer) (Data, error) {
	if len(sources) != len(answers) || len(sources) != len(spec.DataFrom)+len(spec.Data) {
		return Data{}, refuse(secret.Internal, "collect", "%d answers to %d sources", len(answers), len(sources))
	}
	out := Data{Values: map[string]secret.Value{}, From: map[string]string{}}
	var failed *fieldError
	for i, src := range sources {
		c := collector{engine: engine, source: src, answer: answers[i]}
		values, err := c.values(ctx, spec, i)
		switch {
		case err == nil:
			maps.Copy(out.Values, values)
			for k := range values {
				out.From[k] = src.Field
			}
		case tolerated(spec, src, answers[i].Err):
			out.Missing = append(out.Missing, src.Field)
		case failed == nil:
			failed = &fieldError{where: src.where(answers[i].Err == nil), err: err}
		default:
			failed.more++
		}
	}
	if failed != nil {
		return Data{}, failed
	}
	return out, nil
}

// tolerated reports whether a source may have nothing.
func tolerated(spec *esv1.ExternalSecretSpec, src Source, err error) bool {
	return src.Generator == nil && secret.KindOf(err) == secret.NotFound && deletionPolicy(spec) != esv1.DeletionPolicyRetain
}

// collector works on one source.
type collector struct {
	engine *template.Engine
	source Source
	answer Answer
}

// values returns what source i gives.
func (c collector) values(ctx context.Context, spec *esv1.ExternalSecretSpec, i int) (map[string]secret.Value, error) {
	if c.answer.Err != nil {
		return nil, c.answer.Err
	}
	if i >= len(spec.DataFrom) {
		return c.single(&spec.Data[i-len(spec.DataFrom)])
	}
	entry := &spec.DataFrom[i]
	in, how, err := c.many(entry)
	if err != nil {
		return nil, err
	}
	switch {
	case len(entry.Rewrite) > 0:
		in, err = rewrite(ctx, c.engine, entry.Rewrite, in)
	case c.source.Generator == nil:
		in, err = convertKeys(how.conversion, in)
	}
	if err != nil {
		return nil, err
	}
	if err := checkKeys(in); err != nil {
		return nil, err
	}
	for _, k := range secret.Keys(in) {
		if in[k], err = how.finish(in[k]); err != nil {
			return nil, within(fmt.Sprintf("key %q", k), err)
		}
	}
	return in, nil
}

// single returns the one value of an entry of spec.data.
func (c collector) single(entry *esv1.ExternalSecretData) (map[string]secret.Value, error) {
	v, err := c.value()
	if err != nil {
		return nil, err
	}
	how := treatment{decoding: entry.RemoteRef.DecodingStrategy, nulls: entry.RemoteRef.NullBytePolicy}
	if v, err = how.finish(v); err != nil {
		return nil, err
	}
	return map[string]secret.Value{entry.SecretKey: v}, nil
}

// many returns the values of an entry of spec.dataFrom, and how to treat them.
func (c collector) many(entry *esv1.ExternalSecretDataFromRemoteRef) (map[string]secret.Value, treatment, error) {
	if c.source.Generator != nil {
		return maps.Clone(c.answer.Secret.Fields), treatment{}, nil
	}
	if f := entry.Find; f != nil {
		out := make(map[string]secret.Value, len(c.answer.Found))
		for name, found := range c.answer.Found {
			out[name] = found.Whole()
		}
		return out, treatment{f.ConversionStrategy, f.DecodingStrategy, f.NullBytePolicy}, nil
	}
	x := entry.Extract
	how := treatment{x.ConversionStrategy, x.DecodingStrategy, x.NullBytePolicy}
	if c.source.Ref.Property == "" && c.answer.Secret.Fields != nil {
		return maps.Clone(c.answer.Secret.Fields), how, nil
	}
	v, err := c.value()
	if err != nil {
		return nil, how, err
	}
	out, err := members(v)
	if err != nil {
		return nil, how, err
	}
	return out, how, nil
}

// value returns the answer as one value, its property resolved.
func (c collector) value() (secret.Value, error) {
	if c.source.Ref.Property == "" || c.answer.PropertyResolved {
		return c.answer.Secret.Whole(), nil
	}
	return property(c.answer.Secret, c.source.Ref.Property)
}
