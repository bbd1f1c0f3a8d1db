package plan

import (
	"fmt"
	"regexp"
	"slices"

	esv1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	"github.com/keyferry/keyferry/secret"
)

// StoreRef names a store. Kind is SecretStore or ClusterSecretStore, never empty.
type StoreRef struct{ Kind, Name string }

// String returns "Kind/Name".
func (r StoreRef) String() string { return r.Kind + "/" + r.Name }

// Source is one read: an entry of spec.dataFrom or spec.data.
type Source struct {
	// Field is the path of the entry, for errors: "spec.dataFrom[2].find".
	Field string
	// Store answers it; Generator does, if that is set, and then there is no Store.
	Store     StoreRef
	Generator *esv1.GeneratorRef
	// Ref is what data and extract read; its Property is the manifest's.
	Ref secret.Ref
	// Find is set for find, and Ref is not.
	Find *secret.Query
}

// where names the entry and its store in a message, and the key unless the store's
// own words have it.
func (s Source) where(withKey bool) string {
	if g := s.Generator; g != nil {
		return fmt.Sprintf("%s (%s/%s)", s.Field, g.Kind, g.Name)
	}
	if s.Find != nil || !withKey {
		return fmt.Sprintf("%s (%s)", s.Field, s.Store)
	}
	return fmt.Sprintf("%s (%s, key %q)", s.Field, s.Store, s.Ref.Key)
}

// TemplateSource is a ConfigMap or Secret, in the namespace of the object, that
// templateFrom takes templates from.
type TemplateSource struct {
	// Kind is ConfigMap or Secret.
	Kind, Name string
	// Keys are those that the templates use, in order, each once.
	Keys []string
	// Field is where the manifest names it first, for errors.
	Field string
}

// Key is how Target.Sources names it: "ConfigMap/name" or "Secret/name".
func (s TemplateSource) Key() string { return s.Kind + "/" + s.Name }

// Sources returns what has to be read, in the order in which it counts: dataFrom,
// then data. It fails with Invalid; the error names the field.
func Sources(spec *esv1.ExternalSecretSpec) ([]Source, error) {
	if len(spec.Data)+len(spec.DataFrom) == 0 {
		return nil, invalid("spec", "nothing to fetch: set spec.data or spec.dataFrom")
	}
	out := make([]Source, 0, len(spec.Data)+len(spec.DataFrom))
	for i := range spec.DataFrom {
		s, err := fromSource(spec, i)
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	seen := make(map[string]int, len(spec.Data))
	for i := range spec.Data {
		s, err := dataSource(spec, i)
		if err != nil {
			return nil, err
		}
		key := spec.Data[i].SecretKey
		if j, dup := seen[key]; dup && deletionPolicy(spec) == esv1.DeletionPolicyRetain {
			return nil, invalid(s.Field+".secretKey", "%q is already the key of spec.data[%d]: name each key once", key, j)
		}
		seen[key] = i
		out = append(out, s)
	}
	return out, nil
}

// Stores returns the stores that the sources use, each once, in spec order.
// Entries that Sources would refuse are left out.
func Stores(spec *esv1.ExternalSecretSpec) []StoreRef {
	var out []StoreRef
	add := func(r StoreRef) {
		if r.Name != "" && !slices.Contains(out, r) {
			out = append(out, r)
		}
	}
	for i := range spec.DataFrom {
		if ref := spec.DataFrom[i].SourceRef; ref == nil || ref.GeneratorRef == nil {
			add(storeOf(spec, fromStore(ref)))
		}
	}
	for i := range spec.Data {
		if ref := spec.Data[i].SourceRef; ref == nil || ref.GeneratorRef == nil {
			add(storeOf(spec, dataStore(ref)))
		}
	}
	return out
}

// TemplateSources returns the ConfigMaps and Secrets that templateFrom names,
// each once, in spec order.
func TemplateSources(spec *esv1.ExternalSecretSpec) []TemplateSource {
	return templateSources(fieldTemplate, spec.Target.Template)
}

func templateSources(root string, tpl *esv1.ExternalSecretTemplate) []TemplateSource {
	if tpl == nil {
		return nil
	}
	var out []TemplateSource
	add := func(kind, field string, ref *esv1.TemplateRef) {
		if ref == nil {
			return
		}
		i := slices.IndexFunc(out, func(s TemplateSource) bool { return s.Kind == kind && s.Name == ref.Name })
		if i < 0 {
			i = len(out)
			out = append(out, TemplateSource{Kind: kind, Name: ref.Name, Field: field})
		}
		for _, item := range ref.Items {
			if !slices.Contains(out[i].Keys, item.Key) {
				out[i].Keys = append(out[i].Keys, item.Key)
			}
		}
	}
	for i, from := range tpl.TemplateFrom {
		field := templateFromField(root, i)
		add(kindConfigMap, field+".configMap", from.ConfigMap)
		add(kindSecret, field+".secret", from.Secret)
	}
	return out
}

const (
	kindConfigMap = "ConfigMap"
	kindSecret    = "Secret"
)

const fieldTemplate = "spec.target.template"

func templateFromField(template string, i int) string {
	return fmt.Sprintf("%s.templateFrom[%d]", template, i)
}

// fromStore returns the store that an entry of dataFrom names itself.
func fromStore(ref *esv1.StoreGeneratorSourceRef) esv1.SecretStoreRef {
	if ref == nil || ref.SecretStoreRef == nil {
		return esv1.SecretStoreRef{}
	}
	return *ref.SecretStoreRef
}

// dataStore returns the store that an entry of data names itself.
func dataStore(ref *esv1.StoreSourceRef) esv1.SecretStoreRef {
	if ref == nil {
		return esv1.SecretStoreRef{}
	}
	return ref.SecretStoreRef
}

// storeOf returns the entry's own store, or else that of the spec.
func storeOf(spec *esv1.ExternalSecretSpec, own esv1.SecretStoreRef) StoreRef {
	if own.Name == "" {
		own = spec.SecretStoreRef
	}
	if own.Kind == "" {
		own.Kind = esv1.SecretStoreKind
	}
	return StoreRef{Kind: own.Kind, Name: own.Name}
}

func fromSource(spec *esv1.ExternalSecretSpec, i int) (Source, error) {
	entry := &spec.DataFrom[i]
	field := fmt.Sprintf("spec.dataFrom[%d]", i)
	if err := checkFrom(field, entry); err != nil {
		return Source{}, err
	}
	if entry.SourceRef != nil && entry.SourceRef.GeneratorRef != nil {
		return Source{Field: field + ".sourceRef.generatorRef", Generator: entry.SourceRef.GeneratorRef}, nil
	}
	store, err := checkedStore(spec, field, fromStore(entry.SourceRef))
	if err != nil {
		return Source{}, err
	}
	if entry.Extract != nil {
		ref, err := remoteRef(field+".extract", entry.Extract)
		return Source{Field: field + ".extract", Store: store, Ref: ref}, err
	}
	query, err := findQuery(field+".find", entry.Find)
	return Source{Field: field + ".find", Store: store, Find: query}, err
}

// checkFrom refuses an entry that does not say exactly one thing.
func checkFrom(field string, entry *esv1.ExternalSecretDataFromRemoteRef) error {
	if err := checkSourceRef(field+".sourceRef", entry); err != nil {
		return err
	}
	if entry.Extract != nil && entry.Find != nil {
		return invalid(field, "extract and find cannot be combined: use one entry for each")
	}
	if entry.Extract == nil && entry.Find == nil && (entry.SourceRef == nil || entry.SourceRef.GeneratorRef == nil) {
		return invalid(field, "says nothing: set extract, find or sourceRef.generatorRef")
	}
	for j, op := range entry.Rewrite {
		if err := checkRewrite(fmt.Sprintf("%s.rewrite[%d]", field, j), op); err != nil {
			return err
		}
	}
	return nil
}

func checkSourceRef(field string, entry *esv1.ExternalSecretDataFromRemoteRef) error {
	ref := entry.SourceRef
	switch {
	case ref == nil:
		return nil
	case ref.GeneratorRef == nil && ref.SecretStoreRef == nil:
		return invalid(field, "is empty: set storeRef or generatorRef, or remove it")
	case ref.GeneratorRef == nil:
		return nil
	case entry.Extract != nil || entry.Find != nil || ref.SecretStoreRef != nil:
		return invalid(field+".generatorRef", "cannot be combined with extract, find or storeRef: use one entry for each")
	}
	return CheckGenerator(field+".generatorRef", ref.GeneratorRef)
}

func checkRewrite(field string, op esv1.ExternalSecretRewrite) error {
	set := 0
	for _, is := range []bool{op.Merge != nil, op.Regexp != nil, op.Transform != nil} {
		if is {
			set++
		}
	}
	if set != 1 {
		return invalid(field, "set exactly one of merge, regexp and transform")
	}
	if op.Regexp != nil {
		if _, err := regexp.Compile(op.Regexp.Source); err != nil {
			return invalid(field+".regexp.source", "is not a regular expression: %w", err)
		}
	}
	if m := op.Merge; m != nil && m.Strategy == esv1.ExternalSecretRewriteMergeStrategyJSON && m.Into == "" {
		return invalid(field+".merge.into", "is empty: strategy JSON needs the key to write to")
	}
	return nil
}

func dataSource(spec *esv1.ExternalSecretSpec, i int) (Source, error) {
	entry := &spec.Data[i]
	field := fmt.Sprintf("spec.data[%d]", i)
	if entry.SourceRef != nil && entry.SourceRef.GeneratorRef != nil {
		return Source{}, invalid(field+".sourceRef.generatorRef", "a generator makes several keys: name it in spec.dataFrom, and use rewrite or spec.target.template for their names")
	}
	if entry.SecretKey == "" {
		return Source{}, invalid(field+".secretKey", "is empty: name the key of the target")
	}
	store, err := checkedStore(spec, field, dataStore(entry.SourceRef))
	if err != nil {
		return Source{}, err
	}
	ref, err := remoteRef(field+".remoteRef", &entry.RemoteRef)
	return Source{Field: field, Store: store, Ref: ref}, err
}

func checkedStore(spec *esv1.ExternalSecretSpec, field string, own esv1.SecretStoreRef) (StoreRef, error) {
	r := storeOf(spec, own)
	if r.Name == "" {
		return r, invalid(field, "has no store: set spec.secretStoreRef.name or %s.sourceRef.storeRef.name", field)
	}
	if r.Kind != esv1.SecretStoreKind && r.Kind != esv1.ClusterSecretStoreKind {
		return r, invalid(field, "store kind %q does not exist: use %s or %s", r.Kind, esv1.SecretStoreKind, esv1.ClusterSecretStoreKind)
	}
	return r, nil
}

func remoteRef(field string, ref *esv1.ExternalSecretDataRemoteRef) (secret.Ref, error) {
	if ref.Key == "" {
		return secret.Ref{}, invalid(field+".key", "is empty: name the secret at the store")
	}
	return secret.Ref{
		Key: ref.Key, Property: ref.Property, Version: ref.Version,
		Metadata: ref.MetadataPolicy == esv1.ExternalSecretMetadataPolicyFetch,
	}, nil
}

func findQuery(field string, find *esv1.ExternalSecretFind) (*secret.Query, error) {
	if find.Name == nil && find.Path == nil && len(find.Tags) == 0 {
		return nil, invalid(field, "says nothing: set name, path or tags")
	}
	q := &secret.Query{Tags: find.Tags}
	if find.Path != nil {
		q.Path = *find.Path
	}
	if find.Name != nil {
		re, err := regexp.Compile(find.Name.RegExp)
		if err != nil {
			return nil, invalid(field+".name.regexp", "is not a regular expression: %w", err)
		}
		q.Name = re
	}
	return q, nil
}
