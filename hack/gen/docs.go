package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
)

const (
	tableBegin = "<!-- fields: generated from api/ by hack/gen -->\n"
	tableEnd   = "<!-- /fields -->\n"
)

// fillDocs replaces the table of fields in each page of docs/spec.
func fillDocs(root string, out map[string][]byte) error {
	for page, plural := range map[string]string{
		"docs/spec/externalsecret.md": "externalsecrets",
		"docs/spec/secretstore.md":    "secretstores",
	} {
		schema, err := schemaOf(out, plural)
		if err != nil {
			return err
		}
		b, err := os.ReadFile(filepath.Join(root, page))
		if err != nil {
			return err
		}
		before, rest, ok := strings.Cut(string(b), tableBegin)
		_, after, ok2 := strings.Cut(rest, tableEnd)
		if !ok || !ok2 {
			return fmt.Errorf("%s needs the lines %q and %q around its table", page, tableBegin, tableEnd)
		}
		rows := []string{"| field | type | default | meaning |", "|---|---|---|---|"}
		for _, part := range []string{"spec", "status"} {
			rows = appendRows(rows, part, schema.Properties[part])
		}
		out[page] = []byte(before + tableBegin + "\n" + strings.Join(rows, "\n") + "\n\n" + tableEnd + after)
	}
	return nil
}

// appendRows adds the rows of the fields below path, in the order of their names.
func appendRows(rows []string, path string, schema apiextensionsv1.JSONSchemaProps) []string {
	for _, name := range slices.Sorted(maps.Keys(schema.Properties)) {
		p := schema.Properties[name]
		at := path + "." + name
		typ, inner, innerPath := typeName(at, p)
		if p.Default == nil && slices.Contains(schema.Required, name) {
			typ += ", required"
		}
		rows = append(rows, fmt.Sprintf("| `%s` | %s | %s | %s |", at, typ, defaultOf(p), cell(p.Description)))
		if inner != nil {
			rows = appendRows(rows, innerPath, *inner)
		}
	}
	return rows
}

// typeName names the type of the field at path, and returns the object whose fields
// are worth rows of their own, if there is one, and the path of that object.
func typeName(path string, p apiextensionsv1.JSONSchemaProps) (name string, inner *apiextensionsv1.JSONSchemaProps, at string) {
	switch {
	case p.XIntOrString:
		return "integer or string", nil, ""
	case p.Type == "array":
		name, inner, at = typeName(path+"[]", *p.Items.Schema)
		return "list of " + name, inner, at
	case p.Type == "object" && p.AdditionalProperties != nil:
		return "map of strings", nil, ""
	case p.Type == "object":
		if common := commonType(p); common != "" {
			return common, nil, ""
		}
		return "object", &p, path
	case len(p.Enum) > 0:
		values := make([]string, 0, len(p.Enum))
		for _, v := range p.Enum {
			values = append(values, "`"+strings.Trim(string(v.Raw), `"`)+"`")
		}
		return strings.Join(values, ", "), nil, ""
	case p.Format == "byte":
		return "Base64", nil, ""
	case p.Format == "date-time":
		return "time", nil, ""
	}
	return p.Type, nil, ""
}

// commonType names the objects that occur so often that the pages describe them
// once; "" for all others.
func commonType(p apiextensionsv1.JSONSchemaProps) string {
	switch strings.Join(slices.Sorted(maps.Keys(p.Properties)), " ") {
	case "key name namespace":
		return "[secret key](#selectors)"
	case "audiences name namespace":
		return "[service account](#selectors)"
	case "key name namespace type":
		return "[CA source](#selectors)"
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
