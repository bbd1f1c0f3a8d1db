package local

import (
	"encoding/json"
	"path"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation"
	kjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"

	"github.com/keyferry/keyferry/secret"
)

// Format is how targets are written.
type Format string

// The formats.
const (
	// FormatSecret writes NAMESPACE.NAME.yaml, a manifest.
	FormatSecret Format = "secret"
	// FormatFiles writes NAMESPACE/NAME/KEY, one file for each key.
	FormatFiles Format = "files"
	// FormatDotenv writes NAMESPACE/NAME.env, lines of KEY=value.
	FormatDotenv Format = "dotenv"
)

// ParseFormat returns the format of that name. It fails with Invalid.
func ParseFormat(s string) (Format, error) {
	switch f := Format(s); f {
	case FormatSecret, FormatFiles, FormatDotenv:
		return f, nil
	}
	return "", invalid("--format %q does not exist: use secret, files or dotenv", s)
}

// stem is the name of a target in one file name. No two targets have the same: a
// namespace holds no dot, and no name an underscore.
func (id ID) stem() string {
	s := id.Namespace + "." + id.Name
	if id.Kind == kindSecret && id.APIVersion == "v1" {
		return s
	}
	s += "_" + strings.ToLower(id.Kind)
	if group, _, ok := strings.Cut(id.APIVersion, "/"); ok {
		s += "." + group
	}
	return s
}

// place is the file, or the folder, of a target.
func (f Format) place(id ID) string {
	switch f {
	case FormatFiles:
		return path.Join(id.Namespace, id.Name)
	case FormatDotenv:
		return path.Join(id.Namespace, id.Name+".env")
	}
	return id.stem() + ".yaml"
}

// takes fails with Unsupported if the format has no way to write such a target.
func (f Format) takes(id ID) error {
	if f != FormatSecret && (id.Kind != kindSecret || id.APIVersion != "v1") {
		return refuse(secret.Unsupported, "spec.target.manifest: format %s writes Secrets, and this is a %s: use --format secret", f, id.Kind)
	}
	return nil
}

// encode returns the files of a target, by path.
func (f Format) encode(id ID, s state) (map[string][]byte, error) {
	switch f {
	case FormatFiles:
		out := make(map[string][]byte, len(s.secret.Data))
		for k, v := range s.secret.Data {
			if strings.ContainsAny(k, `/\`) || len(validation.IsConfigMapKey(k)) > 0 {
				return nil, invalid("key %q cannot be a file name: rename it with spec.dataFrom[].rewrite or spec.target.template.data", k)
			}
			out[path.Join(f.place(id), k)] = v
		}
		return out, nil
	case FormatDotenv:
		b, err := dotenv(s.secret.Data)
		return map[string][]byte{f.place(id): b}, err
	}
	b, err := manifest(s)
	return map[string][]byte{f.place(id): b}, err
}

// manifest returns the YAML of a target as somebody would write it, keys in order.
func manifest(s state) ([]byte, error) {
	u, err := toUnstructured(s.meta())
	if err != nil {
		return nil, err
	}
	for _, field := range []string{"creationTimestamp", "resourceVersion", "uid", "generation", "managedFields", "selfLink"} {
		unstructured.RemoveNestedField(u.Object, "metadata", field)
	}
	unstructured.RemoveNestedField(u.Object, "status")
	b, err := yaml.Marshal(u.Object)
	if err != nil {
		return nil, refuse(secret.Internal, "the target does not encode")
	}
	return b, nil
}

func toUnstructured(o metav1.Object) (*unstructured.Unstructured, error) {
	if u, ok := o.(*unstructured.Unstructured); ok {
		return u.DeepCopy(), nil
	}
	m, err := runtime.DefaultUnstructuredConverter.ToUnstructured(o)
	if err != nil {
		return nil, refuse(secret.Internal, "the target does not encode")
	}
	return &unstructured.Unstructured{Object: m}, nil
}

// load reads a target; the state has none if it is not there.
func (f Format) load(d *disk, id ID) (state, error) {
	switch f {
	case FormatFiles:
		return loadFiles(d, f.place(id), id)
	case FormatDotenv:
		b, ok, err := d.read(f.place(id))
		if err != nil || !ok {
			return state{}, err
		}
		data, err := parseDotenv(b)
		if err != nil {
			return state{}, refuse(secret.Conflict, "%s: %w", f.place(id), err)
		}
		return state{secret: bare(id, data)}, nil
	}
	b, ok, err := d.read(f.place(id))
	if err != nil || !ok {
		return state{}, err
	}
	return parseManifest(f.place(id), b, id)
}

func loadFiles(d *disk, folder string, id ID) (state, error) {
	names, err := d.list(folder)
	if err != nil || names == nil {
		return state{}, err
	}
	data := map[string][]byte{}
	for _, n := range names {
		if len(validation.IsConfigMapKey(n)) > 0 {
			continue // no key: it is somebody else's
		}
		file := path.Join(folder, n)
		if info, err := d.stat(file); err != nil || info == nil || !info.Mode().IsRegular() {
			continue // if it is in the way, that shows when the key is written
		}
		b, _, err := d.read(file)
		if err != nil {
			return state{}, err
		}
		data[n] = b
	}
	return state{secret: bare(id, data)}, nil
}

// bare is a Secret of which nothing is known but its data.
func bare(id ID, data map[string][]byte) *corev1.Secret {
	return &corev1.Secret{
		TypeMeta:   metav1.TypeMeta{APIVersion: id.APIVersion, Kind: id.Kind},
		ObjectMeta: metav1.ObjectMeta{Namespace: id.Namespace, Name: id.Name},
		Data:       data,
	}
}

func parseManifest(file string, b []byte, id ID) (state, error) {
	var u unstructured.Unstructured
	text, err := yaml.YAMLToJSON(b)
	if err == nil {
		err = kjson.UnmarshalCaseSensitivePreserveInts(text, &u.Object)
	}
	if err != nil || u.Object == nil {
		return state{}, refuse(secret.Conflict, "%s: is no manifest: remove it", file)
	}
	if held := (ID{u.GetAPIVersion(), u.GetKind(), u.GetNamespace(), u.GetName()}); held != id {
		return state{}, refuse(secret.Conflict, "%s: holds something else than %s: remove it", file, id)
	}
	if id.Kind != kindSecret || id.APIVersion != "v1" {
		return state{object: &u}, nil
	}
	s := &corev1.Secret{}
	if err := json.Unmarshal(text, s); err != nil {
		return state{}, refuse(secret.Conflict, "%s: is no Secret: remove it", file)
	}
	foldStringData(s)
	return state{secret: s}, nil
}

// foldStringData does what an API server does with stringData.
func foldStringData(s *corev1.Secret) {
	if s.Data == nil {
		s.Data = map[string][]byte{}
	}
	for k, v := range s.StringData {
		s.Data[k] = []byte(v)
	}
	s.StringData = nil
}
