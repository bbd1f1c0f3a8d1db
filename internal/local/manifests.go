package local

import (
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"

	esv1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	genv1alpha1 "github.com/keyferry/keyferry/api/generators/v1alpha1"
	"github.com/keyferry/keyferry/plan"
	"github.com/keyferry/keyferry/secret"
)

const (
	defaultNamespace = "default"
	kindSecret       = "Secret"
	kindConfigMap    = "ConfigMap"
)

// Input says where manifests are.
type Input struct {
	// Paths are files, folders (read with their subfolders, *.yaml, *.yml and *.json,
	// without names that begin with a dot), and "-" for Stdin.
	Paths []string
	Stdin io.Reader
}

// name identifies an object of the manifests; Namespace is empty for cluster kinds.
type name struct{ Kind, Namespace, Name string }

// Manifests is what was read. It is not changed after Load.
type Manifests struct {
	// ExternalSecrets in the order of the files.
	ExternalSecrets []*esv1.ExternalSecret
	// Ignored lists, once each and in order, the kinds that are of no use here, and
	// the files of folders that hold no object.
	Ignored []string

	stores     map[name]esv1.GenericStore
	secrets    map[name]*corev1.Secret
	configMaps map[name]*corev1.ConfigMap
	generators map[name]metav1.Object
	namespaces map[string]map[string]string
	seen       map[name]string // object → where it was defined
	revision   int64
}

// Load reads manifests. It fails with Invalid, naming file, object and field, for
// what is no manifest, for a field that its kind does not have, for an object that
// is there twice, and for a path that is not there.
func Load(in Input) (*Manifests, error) {
	m := &Manifests{
		stores: map[name]esv1.GenericStore{}, secrets: map[name]*corev1.Secret{},
		configMaps: map[name]*corev1.ConfigMap{}, namespaces: map[string]map[string]string{},
		generators: map[name]metav1.Object{}, seen: map[name]string{}, revision: 1,
	}
	for _, path := range in.Paths {
		if err := m.path(path, in.Stdin); err != nil {
			return nil, err
		}
	}
	slices.Sort(m.Ignored)
	m.Ignored = slices.Compact(m.Ignored)
	for _, o := range m.numbered() {
		o.SetGeneration(m.revision)
	}
	return m, nil
}

func (m *Manifests) path(path string, stdin io.Reader) error {
	if path == "-" {
		b, err := io.ReadAll(stdin)
		if err != nil {
			return refuse(secret.Unavailable, "standard input: %w", err)
		}
		return m.file("standard input", b, true)
	}
	info, err := os.Stat(path)
	if err != nil {
		return unreadable(path, err)
	}
	if !info.IsDir() {
		return m.read(path, true)
	}
	return walk(path, func(at string, isDir bool) error {
		if isDir {
			return nil
		}
		return m.read(at, false)
	})
}

// walk visits the folders and manifests below a folder, in order.
func walk(root string, visit func(at string, isDir bool) error) error {
	return filepath.WalkDir(root, func(at string, entry fs.DirEntry, err error) error {
		hidden := at != root && strings.HasPrefix(entry.Name(), ".")
		switch {
		case err != nil:
			return unreadable(at, err)
		case entry.IsDir() && hidden:
			return fs.SkipDir
		case hidden || !entry.IsDir() && !slices.Contains([]string{".yaml", ".yml", ".json"}, filepath.Ext(at)):
			return nil
		}
		return visit(at, entry.IsDir())
	})
}

func (m *Manifests) read(path string, named bool) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return unreadable(path, err)
	}
	return m.file(path, b, named)
}

// unreadable says what is wrong with a path, without saying it twice.
func unreadable(path string, err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		err = e.Err
	}
	if errors.Is(err, fs.ErrPermission) {
		return refuse(secret.Denied, "%s: %w", path, err)
	}
	return invalid("%s: %w", path, err)
}

// file adds the objects of a file. A file that the user named must hold nothing else.
func (m *Manifests) file(path string, content []byte, named bool) error {
	for _, doc := range split(path, content) {
		objects, err := doc.objects()
		if err != nil {
			return err
		}
		for _, o := range objects {
			if o.Kind != "" && o.APIVersion != "" {
				if err := m.add(o); err != nil {
					return err
				}
				continue
			}
			if named {
				return invalid("%s: is no Kubernetes object: it has no apiVersion or no kind", o.where)
			}
			m.Ignored = append(m.Ignored, path+" (no apiVersion and kind)")
		}
	}
	return nil
}

func (m *Manifests) add(o decoded) error {
	switch gvk := o.GroupVersionKind(); {
	case gvk.Group == esv1.Group && (gvk.Version == "v1" || gvk.Version == "v1beta1"):
		switch gvk.Kind {
		case esv1.ExtSecretKind:
			return m.addExternalSecret(o)
		case esv1.SecretStoreKind:
			return m.addStore(o, &esv1.SecretStore{})
		case esv1.ClusterSecretStoreKind:
			return m.addStore(o, &esv1.ClusterSecretStore{})
		}
	case o.APIVersion == genv1alpha1.GroupVersion().String():
		return m.addGenerator(o)
	case o.APIVersion == "v1":
		return m.addCore(o)
	}
	m.ignore(o)
	return nil
}

func (m *Manifests) addCore(o decoded) error {
	switch o.Kind {
	case kindSecret:
		return m.addSecret(o)
	case kindConfigMap:
		return m.addConfigMap(o)
	case "Namespace":
		return m.addNamespace(o)
	}
	m.ignore(o)
	return nil
}

func (m *Manifests) ignore(o decoded) {
	m.Ignored = append(m.Ignored, o.Kind+" ("+o.APIVersion+")")
}

// take decodes an object and gives it what an API server would give it.
func (m *Manifests) take(o decoded, into metav1.Object, namespaced bool) (name, error) {
	if err := o.strict(into); err != nil {
		return name{}, err
	}
	namespace := ""
	if namespaced {
		if namespace = into.GetNamespace(); namespace == "" {
			namespace = defaultNamespace
		}
	}
	key := name{o.Kind, namespace, into.GetName()}
	if err := o.checkNames(namespace); err != nil {
		return key, err
	}
	if first, dup := m.seen[key]; dup {
		return key, invalid("%s: is already defined at %s: remove one of them", o, first)
	}
	m.seen[key] = o.where
	into.SetNamespace(namespace)
	into.SetUID(types.UID(strings.Join([]string{key.Kind, key.Namespace, key.Name}, "/")))
	into.SetResourceVersion("")
	into.SetManagedFields(nil)
	into.SetOwnerReferences(nil)
	into.SetDeletionTimestamp(nil)
	into.SetCreationTimestamp(metav1.Time{})
	return key, nil
}

func (m *Manifests) addExternalSecret(o decoded) error {
	es := &esv1.ExternalSecret{}
	if _, err := m.take(o, es, true); err != nil {
		return err
	}
	es.Status = esv1.ExternalSecretStatus{}
	if len(validation.IsDNS1123Subdomain(plan.TargetName(es))) > 0 {
		return invalid("%s: spec.target.name: %s", o, nameRule)
	}
	m.ExternalSecrets = append(m.ExternalSecrets, es)
	return nil
}

func (m *Manifests) addStore(o decoded, s esv1.GenericStore) error {
	key, err := m.take(o, s, s.GetKind() == esv1.SecretStoreKind)
	if err != nil {
		return err
	}
	if err := o.strictProvider(s.GetSpec().Provider); err != nil {
		return err
	}
	*s.GetStatus() = esv1.SecretStoreStatus{}
	m.stores[key] = s
	return nil
}

func (m *Manifests) addGenerator(o decoded) error {
	var object metav1.Object = &genv1alpha1.ClusterGenerator{}
	if o.Kind != genv1alpha1.ClusterGeneratorKind {
		one, ok := genv1alpha1.New(o.Kind)
		if !ok {
			m.ignore(o)
			return nil
		}
		object = one
	}
	key, err := m.take(o, object, o.Kind != genv1alpha1.ClusterGeneratorKind)
	if err != nil {
		return err
	}
	m.generators[key] = object
	return nil
}

func (m *Manifests) addSecret(o decoded) error {
	s := &corev1.Secret{}
	key, err := m.take(o, s, true)
	if err != nil {
		return err
	}
	foldStringData(s)
	m.secrets[key] = s
	return nil
}

func (m *Manifests) addConfigMap(o decoded) error {
	c := &corev1.ConfigMap{}
	key, err := m.take(o, c, true)
	if err != nil {
		return err
	}
	m.configMaps[key] = c
	return nil
}

func (m *Manifests) addNamespace(o decoded) error {
	n := &corev1.Namespace{}
	if _, err := m.take(o, n, false); err != nil {
		return err
	}
	m.namespaces[n.Name] = n.Labels
	return nil
}

// store returns the store that a consumer in namespace refers to; nil if there is
// none.
func (m *Manifests) store(ref plan.StoreRef, namespace string) esv1.GenericStore {
	if ref.Kind == esv1.ClusterSecretStoreKind {
		namespace = ""
	}
	return m.stores[name{ref.Kind, namespace, ref.Name}]
}

// labels returns the labels that a namespace has, with the one that every API
// server sets.
func (m *Manifests) labels(namespace string) map[string]string {
	out := map[string]string{}
	maps.Copy(out, m.namespaces[namespace])
	out[corev1.LabelMetadataName] = namespace
	return out
}

// object returns the Secret or ConfigMap of an ID as it would be in the cluster; nil
// if the manifests have none.
func (m *Manifests) object(id ID) (*corev1.Secret, *unstructured.Unstructured, error) {
	key := name{id.Kind, id.Namespace, id.Name}
	if id.APIVersion != "v1" {
		return nil, nil, nil
	}
	if s, ok := m.secrets[key]; ok && id.Kind == kindSecret {
		s = s.DeepCopy()
		s.UID = ""
		return s, nil, nil
	}
	c, ok := m.configMaps[key]
	if !ok || id.Kind != kindConfigMap {
		return nil, nil, nil
	}
	c = c.DeepCopy()
	c.UID = ""
	u, err := toUnstructured(c)
	return nil, u, err
}

// numbered returns the objects whose changes count.
func (m *Manifests) numbered() []metav1.Object {
	out := make([]metav1.Object, 0, len(m.stores)+len(m.ExternalSecrets))
	for _, s := range m.stores {
		out = append(out, s)
	}
	for _, es := range m.ExternalSecrets {
		out = append(out, es)
	}
	return out
}

// follow gives the objects that are as they were in before the generation that they
// had there, and a higher one to the others.
func (m *Manifests) follow(before *Manifests) {
	m.revision = before.revision + 1
	old := map[types.UID]metav1.Object{}
	for _, o := range before.numbered() {
		old[o.GetUID()] = o
	}
	for _, o := range m.numbered() {
		o.SetGeneration(m.revision)
		if was, ok := old[o.GetUID()]; ok && reflect.DeepEqual(specOf(o), specOf(was)) {
			o.SetGeneration(was.GetGeneration())
		}
	}
}

func specOf(o metav1.Object) any {
	switch o := o.(type) {
	case esv1.GenericStore:
		return o.GetSpec()
	case *esv1.ExternalSecret:
		return &o.Spec
	}
	return nil
}
