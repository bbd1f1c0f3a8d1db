package local

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	kjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"

	esv1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	"github.com/keyferry/keyferry/secret"
)

func refuse(kind secret.Kind, format string, args ...any) error {
	return &secret.Error{Kind: kind, Err: fmt.Errorf(format, args...)}
}

func invalid(format string, args ...any) error { return refuse(secret.Invalid, format, args...) }

// document is one YAML document of a file.
type document struct {
	file string
	line int // of its first line
	text []byte
}

// split cuts a file into documents at lines that begin with "---".
func split(file string, content []byte) []document {
	var out []document
	current := document{file: file, line: 1}
	n := 0
	for line := range bytes.Lines(content) {
		n++
		if rest, ok := bytes.CutPrefix(line, []byte("---")); ok && (len(rest) == 0 || bytes.ContainsAny(rest[:1], " \t\r\n")) {
			out = append(out, current)
			current = document{file: file, line: n}
			line = append([]byte("   "), rest...)
		}
		current.text = append(current.text, line...)
	}
	return append(out, current)
}

// header is what all manifests have.
type header struct {
	metav1.TypeMeta `json:",inline"`
	Metadata        struct {
		Name      string `json:"name"`
		Namespace string `json:"namespace"`
	} `json:"metadata"`
	Items []json.RawMessage `json:"items"`
}

// decoded is one object of a document.
type decoded struct {
	header
	where string
	json  []byte
}

// String names the object and where it is.
func (d decoded) String() string {
	name := d.Metadata.Name
	if d.Metadata.Namespace != "" {
		name = d.Metadata.Namespace + "/" + name
	}
	return fmt.Sprintf("%s: %s %s", d.where, d.Kind, name)
}

// objects decodes a document as far as all objects are alike; a List is taken apart.
func (d document) objects() ([]decoded, error) {
	where := fmt.Sprintf("%s:%d", d.file, d.line)
	b, err := yaml.YAMLToJSONStrict(d.text)
	if err != nil {
		return nil, invalid("%s: %s", where, d.safe(err))
	}
	if string(bytes.TrimSpace(b)) == "null" {
		return nil, nil
	}
	return unpack(where, b)
}

func unpack(where string, b []byte) ([]decoded, error) {
	o := decoded{where: where, json: b}
	if err := kjson.UnmarshalCaseSensitivePreserveInts(b, &o.header); err != nil {
		return nil, invalid("%s: is no Kubernetes object: %s", where, typeProblem(err))
	}
	if o.Kind != "List" {
		return []decoded{o}, nil
	}
	var out []decoded
	for i, item := range o.Items {
		inner, err := unpack(fmt.Sprintf("%s: items[%d]", where, i), item)
		if err != nil {
			return nil, err
		}
		out = append(out, inner...)
	}
	return out, nil
}

var (
	yamlLine      = regexp.MustCompile(`line (\d+): ?`)
	yamlDuplicate = regexp.MustCompile(`key "[^"]*" already set in map`)
)

// safe returns what a YAML error says, without what it quotes: that can be a value.
func (d document) safe(err error) string {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	line := 0
	if m := yamlLine.FindStringSubmatch(text); m != nil {
		_, _ = fmt.Sscan(m[1], &line)
	}
	problem := yamlDuplicate.FindString(text)
	if problem == "" {
		text = yamlLine.ReplaceAllString(text, "")
		if i := strings.IndexAny(text, "'`\"![{#:"); i >= 0 && !strings.HasPrefix(text, "did not find expected") {
			text = text[:i]
		}
		problem = strings.TrimSpace(text)
	}
	if problem == "" {
		problem = "a value cannot be read: quote it"
	}
	if line > 0 {
		return fmt.Sprintf("not YAML at line %d: %s", d.line+line-1, problem)
	}
	return "not YAML: " + problem
}

// strict decodes an object and refuses fields that it does not have.
func (d decoded) strict(into any) error {
	problems, err := kjson.UnmarshalStrict(d.json, into)
	if err != nil {
		return invalid("%s: %s", d, typeProblem(err))
	}
	if len(problems) > 0 {
		return invalid("%s: %s: correct or remove it", d, problems[0])
	}
	return nil
}

// typeProblem says which field has the wrong type, and nothing of its value.
func typeProblem(err error) string {
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		kind, _, _ := strings.Cut(wrong.Value, " ")
		if wrong.Field == "" {
			return "it is a " + kind
		}
		return fmt.Sprintf("%s: a %s where %s belongs: numbers and true/false need quotes to be text", wrong.Field, kind, kindName(wrong.Type))
	}
	text := err.Error()
	if strings.Contains(text, "illegal base64") {
		return "data is not base64: encode it, or use stringData"
	}
	if field := regexp.MustCompile(`Go struct field \w+\.([\w.]+)`).FindStringSubmatch(text); field != nil {
		return field[1] + ": a value of the wrong type: numbers and true/false need quotes to be text"
	}
	if strings.HasPrefix(text, "time: ") {
		return "a duration cannot be read: write one such as 1h30m"
	}
	return "a value cannot be read: check it against the documentation of the kind"
}

func kindName(t reflect.Type) string {
	if t == nil {
		return "something else"
	}
	switch t.Kind() {
	case reflect.String:
		return "a text"
	case reflect.Struct, reflect.Map:
		return "an object"
	case reflect.Slice:
		return "a list"
	}
	return "a " + t.Kind().String()
}

// strictProvider refuses unknown fields of the provider, which decodes itself and
// keeps whole what this build does not know.
func (d decoded) strictProvider(p *esv1.SecretStoreProvider) error {
	name, spec := p.Selected()
	if spec == nil {
		return nil
	}
	var raw struct {
		Spec struct {
			Provider map[string]json.RawMessage `json:"provider"`
		} `json:"spec"`
	}
	if err := json.Unmarshal(d.json, &raw); err != nil {
		return invalid("%s: %s", d, typeProblem(err))
	}
	problems, err := kjson.UnmarshalStrict(raw.Spec.Provider[name], reflect.New(reflect.TypeOf(spec).Elem()).Interface())
	if err != nil {
		return invalid("%s: spec.provider.%s: %s", d, name, typeProblem(err))
	}
	if len(problems) > 0 {
		return invalid("%s: spec.provider.%s: %s: correct or remove it", d, name, problems[0])
	}
	return nil
}

const nameRule = "a name has lower case letters, digits and '-' (names also '.'), and begins and ends with a letter or digit"

// checkNames refuses names that are none: they become file names.
func (d decoded) checkNames(namespace string) error {
	if d.Metadata.Name == "" {
		return invalid("%s: metadata.name is missing", d)
	}
	if len(validation.IsDNS1123Subdomain(d.Metadata.Name)) > 0 {
		return invalid("%s: metadata.name: %s", d, nameRule)
	}
	if namespace != "" && len(validation.IsDNS1123Label(namespace)) > 0 {
		return invalid("%s: metadata.namespace: %s", d, nameRule)
	}
	return nil
}
