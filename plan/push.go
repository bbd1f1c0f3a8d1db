package plan

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	esv1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	esv1alpha1 "github.com/keyferry/keyferry/api/externalsecrets/v1alpha1"
	"github.com/keyferry/keyferry/secret"
	"github.com/keyferry/keyferry/template"
)

// PushSource is one Secret, or the output of a generator, that is pushed.
type PushSource struct {
	// Name is what messages call it: Secret "db".
	Name                string
	Data                map[string]secret.Value
	Type                string
	Labels, Annotations map[string]string
}

// PushStore is a store that a PushSecret names.
type PushStore struct {
	Ref    StoreRef
	Labels map[string]string
}

// PushEntry is one value for one place at a store.
type PushEntry struct {
	// Field is where the manifest says so.
	Field string
	// Data is what the status remembers of it.
	Data    esv1alpha1.PushSecretData
	Content secret.Secret
	// Source is where the content comes from.
	Source *PushSource
	// shared is the metadata of another entry of the key, for one that has none.
	shared json.RawMessage
}

// Ref is the place at the store.
func (e PushEntry) Ref() secret.Ref { return pushRef(e.Data) }

// Metadata is what the manifest has for the provider; nil if it has none. Entries of one
// key have the same.
func (e PushEntry) Metadata() json.RawMessage {
	if own := PushMetadata(e.Data); own != nil {
		return own
	}
	return e.shared
}

// ID is the name of the entry in the status.
func (e PushEntry) ID() string { return pushID(e.Data) }

// PushMetadata returns the metadata of an entry; nil if it has none.
func PushMetadata(d esv1alpha1.PushSecretData) json.RawMessage {
	if d.Metadata == nil {
		return nil
	}
	return json.RawMessage(d.Metadata.Raw)
}

func pushRef(d esv1alpha1.PushSecretData) secret.Ref {
	return secret.Ref{Key: d.Match.RemoteRef.RemoteKey, Property: d.Match.RemoteRef.Property}
}

func pushID(d esv1alpha1.PushSecretData) string {
	if p := d.Match.RemoteRef.Property; p != "" {
		return d.Match.RemoteRef.RemoteKey + "/" + p
	}
	return d.Match.RemoteRef.RemoteKey
}

// PushPlan turns sources into what is to be at the stores.
type PushPlan struct {
	Object *esv1alpha1.PushSecret
	Engine *template.Engine
	// Templates is what the ConfigMaps and Secrets of PushTemplateSources hold, as
	// Target.Sources is.
	Templates map[string]map[string]secret.Value
	// Partial is true if not all stores that the object names are there: entries for
	// those that are not are left out.
	Partial bool
}

// Entries returns what the stores are to hold, by store, in the order of the
// manifest. It fails with Invalid, naming the field, if two entries are for one
// place, if a source lacks a key, and for what cannot be read.
func (p PushPlan) Entries(ctx context.Context, stores []PushStore, sources []PushSource) (map[StoreRef][]PushEntry, error) {
	rendered := make([]*PushSource, len(sources))
	for i := range sources {
		var err error
		if rendered[i], err = p.render(ctx, &sources[i]); err != nil {
			return nil, err
		}
	}
	if err := p.checkTargets(stores); err != nil {
		return nil, err
	}
	out := make(map[StoreRef][]PushEntry, len(stores))
	for _, store := range stores {
		var all []PushEntry
		for _, source := range rendered {
			entries, err := p.of(ctx, store, source, len(rendered) > 1)
			if err != nil {
				return nil, err
			}
			all = append(all, entries...)
		}
		if err := checkPlaces(all); err != nil {
			return nil, err
		}
		if err := shareMetadata(all); err != nil {
			return nil, err
		}
		if err := p.checkMissing(all, rendered); err != nil {
			return nil, err
		}
		out[store.Ref] = all
	}
	return out, nil
}

// render applies spec.template to a source: what it makes is added to what is there.
func (p PushPlan) render(ctx context.Context, source *PushSource) (*PushSource, error) {
	tpl := p.Object.Spec.Template
	if tpl == nil {
		return source, nil
	}
	as := &esv1.ExternalSecret{ObjectMeta: metav1.ObjectMeta{Namespace: p.Object.Namespace, Name: p.Object.Name}}
	as.Spec.Target.Template = tpl
	made, err := Target{
		Object: as, TemplateField: fieldPushTemplate, Data: Data{Values: source.Data}, Sources: p.Templates, Engine: p.Engine,
	}.render(ctx)
	if err != nil {
		return nil, err
	}
	out := *source
	out.Data, out.Labels, out.Annotations = joined(source.Data, made.data), joined(source.Labels, made.labels), joined(source.Annotations, made.annotations)
	if tpl.Type != "" {
		out.Type = string(tpl.Type)
	}
	return &out, nil
}

func joined[V any](under, over map[string]V) map[string]V {
	out := make(map[string]V, len(under)+len(over))
	maps.Copy(out, under)
	maps.Copy(out, over)
	return out
}

// of returns what one source gives to one store: the entries of data, and those of
// dataTo whose key none of data takes.
func (p PushPlan) of(ctx context.Context, store PushStore, source *PushSource, optional bool) ([]PushEntry, error) {
	var out []PushEntry
	taken := map[string]bool{}
	for i, d := range p.Object.Spec.Data {
		field := fmt.Sprintf("spec.data[%d]", i)
		taken[d.Match.SecretKey] = true
		content, ok, err := pick(field, d, source)
		if err != nil {
			return nil, err
		}
		if !ok && optional {
			continue
		}
		if !ok {
			return nil, invalid(field+".match.secretKey", "%s has no key %q; it has %v", source.Name, d.Match.SecretKey, secret.Keys(source.Data))
		}
		out = append(out, PushEntry{Field: field, Data: d, Content: content, Source: source})
	}
	for i := range p.Object.Spec.DataTo {
		entries, err := p.expand(ctx, i, store, source, taken)
		if err != nil {
			return nil, err
		}
		out = append(out, entries...)
	}
	return out, nil
}

// pick returns the value of an entry of data; ok is false if the source has no such key.
func pick(field string, d esv1alpha1.PushSecretData, source *PushSource) (s secret.Secret, ok bool, err error) {
	if d.Match.RemoteRef.RemoteKey == "" {
		return s, false, invalid(field+".match.remoteRef.remoteKey", "is empty: name the secret at the store")
	}
	data, err := reverseKeys(field, d.ConversionStrategy, source.Data)
	if err != nil {
		return s, false, err
	}
	if d.Match.SecretKey == "" {
		return secret.Secret{Fields: data}, true, nil
	}
	v, ok := data[d.Match.SecretKey]
	return secret.Secret{Value: v}, ok, nil
}

// checkMissing refuses keys that none of several sources has.
func (p PushPlan) checkMissing(all []PushEntry, sources []*PushSource) error {
	if len(sources) < 2 {
		return nil
	}
	for i, d := range p.Object.Spec.Data {
		field := fmt.Sprintf("spec.data[%d]", i)
		if !slices.ContainsFunc(all, func(e PushEntry) bool { return e.Field == field }) {
			return invalid(field+".match.secretKey", "none of the %d selected Secrets has a key %q", len(sources), d.Match.SecretKey)
		}
	}
	return nil
}

// expand returns what an entry of dataTo gives to a store.
func (p PushPlan) expand(ctx context.Context, i int, store PushStore, source *PushSource, taken map[string]bool) ([]PushEntry, error) {
	to := &p.Object.Spec.DataTo[i]
	field := fmt.Sprintf("spec.dataTo[%d]", i)
	if ok, err := toStore(field, to, store); err != nil || !ok {
		return nil, err
	}
	data, err := reverseKeys(field, to.ConversionStrategy, source.Data)
	if err != nil {
		return nil, err
	}
	matched, err := matching(field, to, data, taken)
	if err != nil || len(matched) == 0 {
		return nil, err
	}
	entry := func(key, remote string, content secret.Secret) PushEntry {
		d := esv1alpha1.PushSecretData{Metadata: to.Metadata, ConversionStrategy: to.ConversionStrategy}
		d.Match.SecretKey, d.Match.RemoteRef.RemoteKey = key, remote
		return PushEntry{Field: field, Data: d, Content: content, Source: source}
	}
	if to.RemoteKey != "" {
		return []PushEntry{entry("", to.RemoteKey, secret.Secret{Fields: matched})}, nil
	}
	names, err := p.rewritten(ctx, field, to.Rewrite, matched)
	if err != nil {
		return nil, err
	}
	var out []PushEntry
	for _, remote := range secret.Keys(names) {
		key := names[remote]
		out = append(out, entry(key, remote, secret.Secret{Value: matched[key]}))
	}
	return out, nil
}

// toStore reports whether an entry of dataTo is for a store.
func toStore(field string, to *esv1alpha1.PushSecretDataTo, store PushStore) (bool, error) {
	ref := to.StoreRef
	if ref == nil || ref.Name == "" && ref.LabelSelector == nil {
		return false, invalid(field+".storeRef", "is empty: name one of spec.secretStoreRefs, or select them by label")
	}
	if kindOrDefault(ref.Kind) != store.Ref.Kind {
		return false, nil
	}
	if ref.Name != "" {
		return ref.Name == store.Ref.Name, nil
	}
	selector, err := metav1.LabelSelectorAsSelector(ref.LabelSelector)
	if err != nil {
		return false, invalid(field+".storeRef.labelSelector", "is not a label selector")
	}
	return selector.Matches(labels.Set(store.Labels)), nil
}

func kindOrDefault(kind string) string {
	if kind == "" {
		return esv1.SecretStoreKind
	}
	return kind
}

// checkTargets refuses entries of dataTo that are for none of the stores.
func (p PushPlan) checkTargets(stores []PushStore) error {
	for i := range p.Object.Spec.DataTo {
		field := fmt.Sprintf("spec.dataTo[%d]", i)
		found := false
		for _, store := range stores {
			ok, err := toStore(field, &p.Object.Spec.DataTo[i], store)
			if err != nil {
				return err
			}
			found = found || ok
		}
		if !found && !p.Partial {
			return invalid(field+".storeRef", "is none of the stores of spec.secretStoreRefs")
		}
	}
	return nil
}

// matching returns the keys that an entry of dataTo takes.
func matching(field string, to *esv1alpha1.PushSecretDataTo, data map[string]secret.Value, taken map[string]bool) (map[string]secret.Value, error) {
	pattern := ""
	if to.Match != nil {
		pattern = to.Match.RegExp
	}
	re, err := regexp.Compile(pattern)
	if err != nil {
		return nil, invalid(field+".match.regexp", "is not a regular expression: %w", err)
	}
	out := map[string]secret.Value{}
	for k, v := range data {
		if re.MatchString(k) && !taken[k] {
			out[k] = v
		}
	}
	return out, nil
}

// rewritten returns which key goes under which name at the store.
func (p PushPlan) rewritten(ctx context.Context, field string, ops []esv1alpha1.PushSecretRewrite, matched map[string]secret.Value) (map[string]string, error) {
	// The names travel as values, so that every name can be traced to its key.
	names := make(map[string]secret.Value, len(matched))
	for k := range matched {
		names[k] = secret.FromString(k)
	}
	for j, op := range ops {
		if (op.Regexp == nil) == (op.Transform == nil) {
			return nil, invalid(fmt.Sprintf("%s.rewrite[%d]", field, j), "set exactly one of regexp and transform")
		}
		step := []esv1.ExternalSecretRewrite{{Regexp: op.Regexp, Transform: op.Transform}}
		var err error
		if names, err = rewrite(ctx, p.Engine, step, names); err != nil {
			return nil, within(field, err)
		}
	}
	out := make(map[string]string, len(names))
	for remote, key := range names {
		out[remote] = string(key.Reveal())
	}
	return out, nil
}

// checkPlaces refuses two entries for one place of a store, and two that the status
// could not tell apart.
func checkPlaces(entries []PushEntry) error {
	byID := map[string]PushEntry{}
	for _, e := range entries {
		first, dup := byID[e.ID()]
		switch {
		case !dup:
			byID[e.ID()] = e
		case first.Source != e.Source:
			return invalid(e.Field, "%s and %s both give a value for %q: select one of them, or push their keys apart", first.Source.Name, e.Source.Name, e.ID())
		case first.Field == e.Field:
			return invalid(e.Field, "two keys are pushed to %q: make their names differ", e.ID())
		default:
			return invalid(e.Field, "pushes to %q, and so does %s: remove one of them", e.ID(), first.Field)
		}
	}
	return nil
}

// shareMetadata gives all entries of one key the metadata that one of them has: it is
// the secret's, not a property's. It refuses entries that each have their own.
func shareMetadata(entries []PushEntry) error {
	type at struct{ key, namespace string }
	byKey := map[at]PushEntry{}
	for _, e := range entries {
		own := PushMetadata(e.Data)
		if own == nil {
			continue
		}
		place := at{e.Data.Match.RemoteRef.RemoteKey, RemoteNamespace(e.Data)}
		first, ok := byKey[place]
		if ok && !bytes.Equal(PushMetadata(first.Data), own) {
			return invalid(e.Field+".metadata", "differs from that of %s, which pushes to the same key %q: give both the same", first.Field, place.key)
		}
		if !ok {
			byKey[place] = e
		}
	}
	for i, e := range entries {
		shared := byKey[at{e.Data.Match.RemoteRef.RemoteKey, RemoteNamespace(e.Data)}]
		entries[i].shared = PushMetadata(shared.Data)
	}
	return nil
}

// reverseKeys undoes the Unicode conversion of keys: "_U0041_" is "A".
func reverseKeys(field string, how esv1alpha1.PushSecretConversionStrategy, in map[string]secret.Value) (map[string]secret.Value, error) {
	if how != esv1alpha1.PushSecretConversionReverseUnicode {
		return in, nil
	}
	re := regexp.MustCompile(`_U([0-9a-fA-F]{4,6})_`)
	return rename(field+".conversionStrategy", in, func(key string) (string, error) {
		return re.ReplaceAllStringFunc(key, func(code string) string {
			r, err := strconv.ParseUint(strings.Trim(code, "_U"), 16, 32)
			if err != nil || r > utf8.MaxRune || !utf8.ValidRune(rune(r)) {
				return code
			}
			return string(rune(r))
		}), nil
	})
}
