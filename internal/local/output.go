package local

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strings"

	esv1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	"github.com/keyferry/keyferry/plan"
	"github.com/keyferry/keyferry/secret"
)

// Options say where targets go.
type Options struct {
	// Dir is the folder that is written, made if it is not there. Empty keeps targets
	// in memory, for Output.Write.
	Dir    string
	Format Format
	// Dry writes nothing; what would be written counts for the objects that follow.
	Dry bool
}

// Output holds targets, as an API server would. It is not safe for concurrent use.
type Output struct {
	format  Format
	dry     bool
	disk    *disk // nil if there is no folder
	entries map[ID]entry
	// memory holds what was decided where nothing is written; a state in it that does
	// not exist was deleted.
	memory map[ID]state
}

// Change is what became, or would become, of one target, by names of keys.
type Change struct {
	ID                      ID
	Verb                    plan.Verb
	Added, Changed, Removed []string
}

// Open opens an output. It fails with Invalid if the folder is none, or holds an
// index that cannot be read, and with Denied if it may not be written.
func Open(o Options) (*Output, error) {
	out := &Output{format: o.Format, dry: o.Dry, entries: map[ID]entry{}}
	if o.Dry || o.Dir == "" {
		out.memory = map[ID]state{}
	}
	if o.Dir == "" {
		return out, nil
	}
	d, err := openDisk(o.Dir, !o.Dry)
	if err != nil || d == nil {
		return out, err
	}
	out.disk = d
	if err := out.readIndex(); err != nil {
		return nil, fmt.Errorf("%w (in %s)", err, o.Dir)
	}
	return out, nil
}

// Close lets go of the folder.
func (o *Output) Close() error {
	if o.disk == nil {
		return nil
	}
	return o.disk.root.Close()
}

func (o *Output) readIndex() error {
	names, err := o.disk.list(indexFolder)
	if err != nil {
		return err
	}
	for _, n := range names {
		if path.Ext(n) != ".json" {
			continue
		}
		file := path.Join(indexFolder, n)
		b, _, err := o.disk.read(file)
		if err != nil {
			return err
		}
		var e entry
		if err := json.Unmarshal(b, &e); err != nil || e.stem()+".json" != n || !local(e.Files) {
			return invalid("%s: cannot be read: remove it; the files of that target are then yours", file)
		}
		o.entries[e.ID] = e
	}
	return nil
}

// local reports whether all paths stay inside the folder, and out of the index.
func local(files []string) bool {
	return !slices.ContainsFunc(files, func(f string) bool {
		return !filepath.IsLocal(f) || path.Clean(f) != f || strings.HasPrefix(f, indexFolder)
	})
}

// existing returns a target as it is, in the output or else in the manifests, with
// the marks of ownership that plan looks at.
func (o *Output) existing(m *Manifests, id ID) (state, error) {
	s, err := o.find(m, id)
	if err == nil && s.exists() {
		s.entry.decorate(s.meta())
	}
	return s, err
}

func (o *Output) find(m *Manifests, id ID) (state, error) {
	if s, ok := o.memory[id]; ok {
		return s.clone(), nil
	}
	if err := o.format.takes(id); err != nil {
		return state{}, err
	}
	if o.disk != nil {
		e := o.entries[id]
		if e.Format != "" && e.Format != o.format {
			return state{}, refuse(secret.Conflict, "%s was written in format %s: keep to it, or use another folder", id, e.Format)
		}
		s, err := o.format.load(o.disk, id)
		if err != nil {
			return state{}, err
		}
		if s.exists() {
			s.entry, s.stored = e, true
			if s.secret != nil && e.Immutable {
				s.secret.Immutable = &e.Immutable
			}
			return s, nil
		}
	}
	var s state
	var err error
	s.secret, s.object, err = m.object(id)
	return s, err
}

// keeps reports whether a target is not to be made again: it is there, es made it,
// and es wants it made once.
func (o *Output) keeps(m *Manifests, es *esv1.ExternalSecret) bool {
	if es.Spec.RefreshPolicy != esv1.RefreshPolicyCreatedOnce {
		return false
	}
	s, err := o.find(m, targetID(es))
	_, wrote := s.entry.Managers[es.Name]
	return err == nil && s.stored && wrote
}

// made returns the data of a Secret that is there and that es wrote; nil if there is
// none, or es makes no values.
func (o *Output) made(m *Manifests, es *esv1.ExternalSecret) map[string][]byte {
	if len(plan.Generators(&es.Spec)) == 0 {
		return nil
	}
	s, err := o.find(m, targetID(es))
	if _, wrote := s.entry.Managers[es.Name]; err != nil || !wrote || !s.stored || s.secret == nil {
		return nil
	}
	return s.secret.Data
}

func (s state) clone() state {
	if s.secret != nil {
		s.secret = s.secret.DeepCopy()
	}
	if s.object != nil {
		s.object = s.object.DeepCopy()
	}
	return s
}

// save makes a target what es wants it to be.
func (o *Output) save(es *esv1.ExternalSecret, id ID, before, after state) (Change, error) {
	now := after.content()
	now.owner = undecorate(after.meta())
	files, err := o.format.encode(id, after)
	if err != nil {
		return Change{}, err
	}
	was := before.content()
	if o.format != FormatSecret { // there is no place for them
		was.labels, was.annotations, now.labels, now.annotations = nil, nil, nil, nil
	}
	after.entry = before.entry.next(es, was, now)
	after.entry.ID, after.entry.Format = id, o.format
	after.entry.Files = o.owned(id, after.entry)
	after.stored = true
	change := difference(id, before, after)
	if change.Verb == plan.Nothing && o.differs(files) {
		change.Verb = plan.Update
	}
	if o.memory != nil {
		o.memory[id] = after
		return change, nil
	}
	return change, o.commit(after.entry, files)
}

// owned returns the files of a target that are ours to remove.
func (o *Output) owned(id ID, e entry) []string {
	if o.format != FormatFiles {
		return []string{o.format.place(id)}
	}
	files := []string{}
	for _, p := range e.Managers {
		for _, k := range p.Data {
			files = append(files, path.Join(o.format.place(id), k))
		}
	}
	slices.Sort(files)
	return slices.Compact(files)
}

// differs reports whether a file that is there holds something else.
func (o *Output) differs(files map[string][]byte) bool {
	if o.disk == nil {
		return false
	}
	for file, want := range files {
		if held, ok, err := o.disk.read(file); err != nil || !ok || !bytes.Equal(held, want) {
			return true
		}
	}
	return false
}

// commit writes the files of a target and removes those that it has no more. The
// index is ahead of the files, so that none is forgotten if this is interrupted.
func (o *Output) commit(e entry, files map[string][]byte) error {
	stale := slices.DeleteFunc(slices.Clone(o.entries[e.ID].Files), func(f string) bool { return slices.Contains(e.Files, f) })
	ahead := e
	ahead.Files = slices.Sorted(slices.Values(slices.Concat(e.Files, stale)))
	if err := o.remember(ahead); err != nil {
		return err
	}
	for _, file := range secret.Keys(files) {
		if err := o.disk.write(file, files[file]); err != nil {
			return err
		}
	}
	for _, file := range stale {
		if err := o.disk.remove(file); err != nil {
			return err
		}
	}
	if len(stale) == 0 {
		return nil
	}
	return o.remember(e)
}

func (o *Output) remember(e entry) error {
	b, err := json.MarshalIndent(e, "", "  ")
	if err != nil { // strings always encode
		return refuse(secret.Internal, "the index does not encode")
	}
	if err := o.disk.write(path.Join(indexFolder, e.stem()+".json"), append(b, '\n')); err != nil {
		return err
	}
	o.entries[e.ID] = e
	return nil
}

// keep puts a target that needs no change where Write finds it.
func (o *Output) keep(id ID, s state) {
	if o.memory != nil && s.exists() {
		undecorate(s.meta())
		o.memory[id] = s
	}
}

// delete removes a target, as far as its files were written here.
func (o *Output) delete(id ID, before state) (Change, error) {
	change := difference(id, before, state{})
	if o.memory != nil {
		o.memory[id] = state{}
		return change, nil
	}
	for _, file := range o.entries[id].Files {
		if err := o.disk.remove(file); err != nil {
			return Change{}, err
		}
	}
	if err := o.disk.remove(path.Join(indexFolder, id.stem()+".json")); err != nil {
		return Change{}, err
	}
	delete(o.entries, id)
	return change, nil
}

// ownedBy returns the targets that go with an ExternalSecret, in order.
func (o *Output) ownedBy(namespace, es string) []ID {
	var out []ID
	for id, e := range o.entries {
		if s, ok := o.memory[id]; ok {
			e = s.entry
		}
		if e.Namespace == namespace && e.Owner == es && e.Format == o.format {
			out = append(out, id)
		}
	}
	sortIDs(out)
	return out
}

func sortIDs(ids []ID) {
	slices.SortFunc(ids, func(a, b ID) int { return strings.Compare(a.stem(), b.stem()) })
}

// difference compares two states of a target by their keys.
func difference(id ID, before, after state) Change {
	c := Change{ID: id}
	was, now := map[string]string{}, after.content().keys()
	if before.stored {
		was = before.content().keys()
	}
	for _, k := range secret.Keys(now) {
		old, ok := was[k]
		switch {
		case !ok:
			c.Added = append(c.Added, k)
		case old != now[k]:
			c.Changed = append(c.Changed, k)
		}
	}
	c.Removed = slices.DeleteFunc(secret.Keys(was), func(k string) bool {
		_, kept := now[k]
		return kept
	})
	switch {
	case !before.stored && after.exists():
		c.Verb = plan.Create
	case before.stored && !after.exists():
		c.Verb = plan.Delete
	case len(c.Added)+len(c.Changed)+len(c.Removed) > 0:
		c.Verb = plan.Update
	}
	return c
}

// keys returns the keys of the data, those of spec.data under their path.
func (c content) keys() map[string]string {
	out := make(map[string]string, len(c.data)+len(c.specData))
	maps.Copy(out, c.data)
	for k, v := range c.specData {
		out["spec.data."+k] = v
	}
	return out
}

// Write writes the targets that an output without a folder holds, in order. It fails
// with Invalid for a target that the format cannot write, and with Unsupported for
// format files, which is more than one stream.
func (o *Output) Write(w io.Writer) error {
	if o.format == FormatFiles {
		return refuse(secret.Unsupported, "format files is one file for each key: name a folder")
	}
	ids := o.held()
	var b bytes.Buffer
	for _, id := range ids {
		files, err := o.format.encode(id, o.memory[id])
		if err != nil {
			return err
		}
		switch {
		case o.format == FormatSecret && b.Len() > 0:
			b.WriteString("---\n")
		case o.format == FormatDotenv && len(ids) > 1:
			b.WriteString("# " + id.Namespace + "/" + id.Name + "\n")
		}
		for _, text := range files {
			b.Write(text)
		}
	}
	if _, err := w.Write(b.Bytes()); err != nil {
		return refuse(secret.Unavailable, "the output cannot be written: %w", err)
	}
	return nil
}

// held returns the targets that are in memory, in order.
func (o *Output) held() []ID {
	var ids []ID
	for id, s := range o.memory {
		if s.exists() {
			ids = append(ids, id)
		}
	}
	sortIDs(ids)
	return ids
}

// CheckApart fails with Invalid if the folder that is written lies in a folder that
// is read: what is written would be taken for manifests.
func CheckApart(paths []string, dir string) error {
	out, err := resolve(dir)
	if err != nil {
		return err
	}
	for _, p := range paths {
		in, err := resolve(p)
		if err != nil {
			return err
		}
		if rel, err := filepath.Rel(in, out); err == nil && filepath.IsLocal(rel) {
			return invalid("--out %s lies in -f %s, and what is written would be read as manifests: name a folder elsewhere", dir, p)
		}
	}
	return nil
}

// resolve returns an absolute path without links, also of what is not there yet.
func resolve(p string) (string, error) {
	abs, err := filepath.Abs(p)
	if err != nil {
		return "", unreadable(p, err)
	}
	rest := ""
	for at := abs; ; at = filepath.Dir(at) {
		if real, err := filepath.EvalSymlinks(at); err == nil {
			return filepath.Join(real, rest), nil
		}
		if at == filepath.Dir(at) {
			return abs, nil
		}
		rest = filepath.Join(filepath.Base(at), rest)
	}
}
