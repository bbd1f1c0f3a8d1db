package plan

import (
	"errors"
	"strings"
	"testing"

	esv1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	"github.com/keyferry/keyferry/secret"
	"github.com/keyferry/keyferry/template"
)

func TestAKeyThatATemplateMadeIsNotShown(t *testing.T) {
	engine, err := template.New(template.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for name, from := range map[string]esv1.TemplateFrom{
		"data key":         {Literal: new("a b {{ .v }}: x")},
		"annotation key":   {Literal: new("a b {{ .v }}: x"), Target: "annotations"},
		"label key":        {Literal: new("a b {{ .v }}: x"), Target: "Labels"},
		"label value":      {Literal: new("{{ .v }}: no label!"), Target: "Labels"},
		"key of a decoded": {Literal: new("{{ .v }}: '%%'"), ValuesDecodingStrategy: esv1.ExternalSecretDecodeBase64},
	} {
		t.Run(name, func(t *testing.T) {
			es := &esv1.ExternalSecret{}
			es.Name, es.Namespace = "app", "team"
			es.Spec.Target.Template = &esv1.ExternalSecretTemplate{TemplateFrom: []esv1.TemplateFrom{from}}
			_, err := Apply(t.Context(), Target{Object: es, Engine: engine, Data: Data{Values: map[string]secret.Value{"v": secret.FromString("canary")}}})
			if !errors.Is(err, secret.Invalid) {
				t.Fatalf("got %v, want Invalid", err)
			}
			if strings.Contains(err.Error(), "canary") || !strings.Contains(err.Error(), "templateFrom[0].literal") {
				t.Errorf("the error shows the value, or not the field: %v", err)
			}
		})
	}
}
