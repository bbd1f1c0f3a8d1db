package uuid_test

import (
	"errors"
	"regexp"
	"testing"

	"github.com/keyferry/keyferry/api/generators/v1alpha1"
	"github.com/keyferry/keyferry/generator"
	"github.com/keyferry/keyferry/generator/generatortest"
	"github.com/keyferry/keyferry/generators/uuid"
	"github.com/keyferry/keyferry/provider/providertest"
)

func TestConformance(t *testing.T) {
	version4 := regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	generatortest.Run(t, generatortest.Harness{
		Env: providertest.NewEnv(t), Generator: uuid.Generator(), Local: true, Secret: []string{"uuid"},
		Spec: func(providertest.Situation) any { return &v1alpha1.UUIDSpec{} },
		Fits: func(_ any, out generator.Output) error {
			if !version4.Match(out.Values["uuid"].Reveal()) {
				return errors.New("it is no UUID of version 4")
			}
			return nil
		},
		Without: map[string]string{"spec/invalid": "the spec has no fields"},
	})
}
