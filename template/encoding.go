package template

import (
	"bytes"
	"encoding/base32"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"io"
	"strings"

	"sigs.k8s.io/yaml"
	goyaml "sigs.k8s.io/yaml/goyaml.v2"

	"github.com/keyferry/keyferry/secret"
)

func encodingFunctions(library map[string]any) map[string]function {
	toJSON := map[string]function{}
	for name, from := range map[string]string{
		"toJson": "mustToJson", "mustToJson": "mustToJson", "toPrettyJson": "mustToPrettyJson",
		"mustToPrettyJson": "mustToPrettyJson", "toRawJson": "mustToRawJson", "mustToRawJson": "mustToRawJson",
	} {
		toJSON[name] = function{fn: library[from], why: "the value cannot be written as JSON"}
	}
	return merged(toJSON, map[string]function{
		"mustFromJson": {fn: library["mustFromJson"], why: "the input is not JSON"},
		"b64dec":       {fn: decodeBase64, why: "the input is not base64"},
		"b32dec":       {fn: decodeBase32, why: "the input is not base32"},
		"hexdec":       {fn: decodeHex, why: "the input is not hexadecimal"},
		"toYaml":       {fn: toYAML, why: "the value cannot be written as YAML"},
		"fromYaml":     {make: func(r *run) any { return r.fromYAML }},
		"urlParse":     {fn: library["urlParse"], why: "the input is not a URL"},
		"urlJoin":      {fn: library["urlJoin"], why: "the parts of a URL must be texts"},
	})
}

func decodeBase64(s string) (string, error) {
	b, err := base64.StdEncoding.DecodeString(s)
	return string(b), err
}

func decodeBase32(s string) (string, error) {
	b, err := base32.StdEncoding.DecodeString(s)
	return string(b), err
}

func decodeHex(s string) (string, error) {
	b, err := hex.DecodeString(s)
	return string(b), err
}

func toYAML(v any) (string, error) {
	b, err := yaml.Marshal(v)
	return strings.TrimSuffix(string(b), "\n"), err
}

// fromYAML returns a map. What cannot be read is told under the key Error, which
// is what templates written for External Secrets Operator look at.
func (r *run) fromYAML(s string) map[string]any {
	out := map[string]any{}
	if checkYAML([]byte(s), r.maxValue()) != nil || yaml.Unmarshal([]byte(s), &out) != nil {
		return map[string]any{"Error": "the input is not a YAML map"}
	}
	return out
}

// checkYAML refuses aliases that would grow the document beyond the limit.
func checkYAML(text []byte, limit int) error {
	if len(text) > limit {
		return tooLarge("the YAML", limit)
	}
	if !bytes.ContainsRune(text, '&') || !bytes.ContainsRune(text, '*') {
		return nil
	}
	var shared any
	if goyaml.Unmarshal(text, &shared) != nil {
		return reason("the output is not YAML")
	}
	_, err := measure(shared, limit)
	return err
}

func stringMap(text []byte, limit int) (map[string]string, error) {
	if err := checkYAML(text, limit); err != nil {
		return nil, err
	}
	out := map[string]string{}
	if yaml.Unmarshal(text, &out) != nil {
		return nil, reason("the output is not a YAML map of keys to texts; quote nested values, or write them with toJson | quote")
	}
	return out, nil
}

// ParseLeaf returns what a rendered value is in an object: the map, list, number,
// boolean or null that its text is in YAML, else the text itself. A text of
// several lines stays as it is unless it is a map or a list. Whole numbers are
// int64, others float64.
func ParseLeaf(v secret.Value) any {
	text := string(v.Reveal())
	if strings.TrimSpace(text) == "" || checkYAML(v.Reveal(), DefaultMaxOutput) != nil {
		return text
	}
	asJSON, err := yaml.YAMLToJSON(v.Reveal())
	if err != nil {
		return text
	}
	parsed, err := decodeJSON(asJSON)
	if err != nil {
		return text
	}
	if s, ok := parsed.(string); ok && (strings.Contains(strings.TrimSpace(text), "\n") && !strings.ContainsAny(text[:1], `"'|>!`)) {
		return text
	} else if ok {
		return s
	}
	return parsed
}

func decodeJSON(text []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil && err != io.EOF {
		return nil, err
	}
	return plainNumbers(v)
}

func plainNumbers(v any) (any, error) {
	var err error
	switch v := v.(type) {
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return n, nil
		}
		return v.Float64()
	case map[string]any:
		for k, e := range v {
			if v[k], err = plainNumbers(e); err != nil {
				return nil, err
			}
		}
	case []any:
		for i, e := range v {
			if v[i], err = plainNumbers(e); err != nil {
				return nil, err
			}
		}
	}
	return v, nil
}
