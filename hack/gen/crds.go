package main

import (
	"bytes"
	"fmt"
	"maps"
	"strings"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"
)

const (
	crdDir    = "config/crds"
	crdHeader = "# Generated from api/ by hack/gen; changes made here are lost.\n"
)

// finishCRDs adds the version that External Secrets Operator's users may still have
// in their manifests: v1beta1 of the kinds that are v1 now, with the schema of v1 and
// no conversion.
func finishCRDs(out map[string][]byte) error {
	for name, b := range out {
		if !strings.HasPrefix(name, crdDir) {
			continue
		}
		var crd map[string]any
		if err := yaml.Unmarshal(b, &crd); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		spec, _ := crd["spec"].(map[string]any)
		versions, _ := spec["versions"].([]any)
		if len(versions) != 1 {
			return fmt.Errorf("%s: %d versions, want one", name, len(versions))
		}
		if v1, ok := versions[0].(map[string]any); ok && spec["group"] == "external-secrets.io" && v1["name"] == "v1" {
			old := maps.Clone(v1)
			old["name"], old["storage"] = "v1beta1", false
			old["deprecated"] = true
			old["deprecationWarning"] = "external-secrets.io/v1beta1 is deprecated; write apiVersion: external-secrets.io/v1, nothing else changes"
			spec["versions"] = []any{v1, old}
		}
		b, err := yaml.Marshal(crd)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		out[name] = append([]byte(crdHeader), b...)
	}
	return nil
}

// schemaOf returns the schema of the stored version of a generated definition, by the
// name of its file without .yaml, such as "external-secrets.io_secretstores".
func schemaOf(out map[string][]byte, file string) (*apiextensionsv1.JSONSchemaProps, error) {
	name := crdDir + "/" + file + ".yaml"
	crd := new(apiextensionsv1.CustomResourceDefinition)
	if err := yaml.Unmarshal(bytes.TrimPrefix(out[name], []byte(crdHeader)), crd); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	for _, v := range crd.Spec.Versions {
		if v.Storage {
			return v.Schema.OpenAPIV3Schema, nil
		}
	}
	return nil, fmt.Errorf("%s is not generated, or stores no version", name)
}
