package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
)

const (
	tableBegin = "<!-- fields: generated from api/ by hack/gen -->\n"
	tableEnd   = "<!-- /fields -->\n"
)

// specPage is a page of docs/spec.
type specPage struct {
	name string // of the page
	crd  string // the file of the definition in config/crds, without .yaml
	leaf string // pattern of the fields whose own fields are on another page
}

func specPages() []specPage {
	return []specPage{
		{name: "clusterexternalsecret", crd: "external-secrets.io_clusterexternalsecrets", leaf: "spec.externalSecretSpec"},
		{name: "clustergenerator", crd: "generators.external-secrets.io_clustergenerators", leaf: "spec.generator.*"},
		{name: "clusterpushsecret", crd: "external-secrets.io_clusterpushsecrets", leaf: "spec.pushSecretSpec"},
		{name: "externalsecret", crd: "external-secrets.io_externalsecrets"},
		{name: "generatorstate", crd: "generators.external-secrets.io_generatorstates"},
		{name: "pushsecret", crd: "external-secrets.io_pushsecrets", leaf: "spec.template"},
		{name: "secretstore", crd: "external-secrets.io_secretstores"},
	}
}

// fillDocs replaces the tables of fields: in each page of docs/spec, and in those pages
// of docs/provider and docs/generator that ask for one.
func fillDocs(root string, out map[string][]byte) error {
	for _, p := range specPages() {
		schema, err := schemaOf(out, p.crd)
		if err != nil {
			return err
		}
		t := newTable("field", "secretstore.md#selectors")
		if p.name == "secretstore" {
			t.selectors = "#selectors"
		}
		t.leaf = p.leaf
		for _, part := range []string{"spec", "status"} {
			t.add(part+".", schema.Properties[part])
		}
		if err := t.fill(root, "docs/spec/"+p.name+".md", out); err != nil {
			return err
		}
	}
	if err := fillAsked(root, "docs/provider", out, providerTable); err != nil {
		return err
	}
	return fillAsked(root, "docs/generator", out, generatorTable)
}

// fillAsked fills the pages of a folder that have the lines around a table.
func fillAsked(root, dir string, out map[string][]byte, tableOf func(map[string][]byte, string) (*table, error)) error {
	pages, err := filepath.Glob(filepath.Join(root, dir, "*.md"))
	if err != nil {
		return err
	}
	for _, page := range pages {
		b, err := os.ReadFile(page)
		if err != nil {
			return err
		}
		if !strings.Contains(string(b), tableBegin) {
			continue
		}
		t, err := tableOf(out, strings.TrimSuffix(filepath.Base(page), ".md"))
		if err != nil {
			return err
		}
		if err := t.fill(root, dir+"/"+filepath.Base(page), out); err != nil {
			return err
		}
	}
	return nil
}

// providerTable has the fields of the provider whose key is the name, whatever the
// letter case.
func providerTable(out map[string][]byte, name string) (*table, error) {
	schema, err := schemaOf(out, "external-secrets.io_secretstores")
	if err != nil {
		return nil, err
	}
	for key, p := range schema.Properties["spec"].Properties["provider"].Properties {
		if strings.EqualFold(key, name) {
			t := newTable("field of `spec.provider."+key+"`", "../spec/secretstore.md#selectors")
			t.add("", p)
			return t, nil
		}
	}
	return nil, fmt.Errorf("docs/provider/%s.md: spec.provider has no such member", name)
}

// generatorTable has the fields of the kind of generator that begins with the name.
func generatorTable(out map[string][]byte, name string) (*table, error) {
	const group = "generators.external-secrets.io_"
	var found []string
	for file := range out {
		if crd, ok := strings.CutPrefix(file, crdDir+"/"); ok && strings.HasPrefix(crd, group+name) {
			found = append(found, strings.TrimSuffix(crd, ".yaml"))
		}
	}
	if len(found) != 1 {
		return nil, fmt.Errorf("docs/generator/%s.md: %d kinds of generators begin with that name, want one", name, len(found))
	}
	schema, err := schemaOf(out, found[0])
	if err != nil {
		return nil, err
	}
	t := newTable("field", "../spec/secretstore.md#selectors")
	t.add("spec.", schema.Properties["spec"])
	return t, nil
}

// table is a table of fields.
type table struct {
	rows      []string
	selectors string // link to where the common types are explained
	leaf      string // pattern of the fields whose own fields are on another page
}

func newTable(column, selectors string) *table {
	return &table{rows: []string{"| " + column + " | type | default | meaning |", "|---|---|---|---|"}, selectors: selectors}
}

// fill puts the table into the page.
func (t *table) fill(root, page string, out map[string][]byte) error {
	b, err := os.ReadFile(filepath.Join(root, page))
	if err != nil {
		return err
	}
	before, rest, ok := strings.Cut(string(b), tableBegin)
	_, after, ok2 := strings.Cut(rest, tableEnd)
	if !ok || !ok2 {
		return fmt.Errorf("%s needs the lines %q and %q around its table", page, tableBegin, tableEnd)
	}
	out[page] = []byte(before + tableBegin + "\n" + strings.Join(t.rows, "\n") + "\n\n" + tableEnd + after)
	return nil
}

// add adds the rows of the fields of the schema, in the order of their names. The
// prefix precedes each.
func (t *table) add(prefix string, schema apiextensionsv1.JSONSchemaProps) {
	for _, name := range slices.Sorted(maps.Keys(schema.Properties)) {
		p := schema.Properties[name]
		at := prefix + name
		typ, inner, innerPath := t.typeName(at, p)
		if p.Default == nil && slices.Contains(schema.Required, name) {
			typ += ", required"
		}
		t.rows = append(t.rows, fmt.Sprintf("| `%s` | %s | %s | %s |", at, typ, defaultOf(p), cell(p.Description)))
		if leaf, err := path.Match(t.leaf, at); inner != nil && (err != nil || !leaf) {
			t.add(innerPath+".", *inner)
		}
	}
}

// typeName names the type of the field at path, and returns the object whose fields
// are worth rows of their own, if there is one, and the path of that object.
func (t *table) typeName(path string, p apiextensionsv1.JSONSchemaProps) (name string, inner *apiextensionsv1.JSONSchemaProps, at string) {
	switch {
	case p.XIntOrString:
		return "integer or string", nil, ""
	case p.Type == "":
		return "any", nil, ""
	case p.Type == "array":
		name, inner, at = t.typeName(path+"[]", *p.Items.Schema)
		return "list of " + name, inner, at
	case p.Type == "object" && p.AdditionalProperties != nil:
		return mapType(*p.AdditionalProperties.Schema), nil, ""
	case p.Type == "object":
		if common := t.commonType(p); common != "" {
			return common, nil, ""
		}
		return "object", &p, path
	case len(p.Enum) > 0:
		values := make([]string, 0, len(p.Enum))
		for _, v := range p.Enum {
			values = append(values, "`"+strings.Trim(string(v.Raw), `"`)+"`")
		}
		return strings.Join(values, ", "), nil, ""
	}
	return scalarType(p), nil, ""
}

func mapType(value apiextensionsv1.JSONSchemaProps) string {
	switch {
	case value.Type == "array":
		return "map of lists"
	case value.Type == "object" && value.AdditionalProperties != nil:
		return "map of maps"
	}
	return "map of strings"
}

func scalarType(p apiextensionsv1.JSONSchemaProps) string {
	switch p.Format {
	case "byte":
		return "Base64"
	case "date-time":
		return "time"
	}
	return p.Type
}

// commonType names the objects that occur so often that a page describes them once; ""
// for all others.
func (t *table) commonType(p apiextensionsv1.JSONSchemaProps) string {
	link := func(name string) string { return "[" + name + "](" + t.selectors + ")" }
	switch strings.Join(slices.Sorted(maps.Keys(p.Properties)), " ") {
	case "key name namespace", "key name":
		if len(p.Required) > 0 {
			return "" // a selector for something else than a Secret
		}
		return link("secret key")
	case "audiences name namespace":
		return link("service account")
	case "key name namespace type":
		return link("CA source")
	case "matchExpressions matchLabels":
		return "label selector"
	}
	return ""
}

func defaultOf(p apiextensionsv1.JSONSchemaProps) string {
	if p.Default == nil {
		return ""
	}
	var s string
	if json.Unmarshal(p.Default.Raw, &s) != nil {
		s = string(p.Default.Raw)
	}
	if s == "" {
		return "" // an empty string is what a field that is left out means anyway
	}
	return "`" + s + "`"
}

// cell makes one line of text that may stand in a table.
func cell(text string) string {
	return strings.ReplaceAll(strings.Join(strings.Fields(text), " "), "|", `\|`)
}
