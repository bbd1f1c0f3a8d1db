package fake_test

import (
	"fmt"
	"testing"

	"github.com/keyferry/keyferry/api/generators/v1alpha1"
	"github.com/keyferry/keyferry/generator"
	"github.com/keyferry/keyferry/generator/generatortest"
	"github.com/keyferry/keyferry/generators/fake"
	"github.com/keyferry/keyferry/provider/providertest"
)

func TestConformance(t *testing.T) {
	data := map[string]string{"user": "app", "password": "not-a-real-one", "empty": ""}
	generatortest.Run(t, generatortest.Harness{
		Env: providertest.NewEnv(t), Generator: fake.Generator(), Local: true, Public: []string{"user", "password", "empty"},
		Spec: func(providertest.Situation) any { return &v1alpha1.FakeSpec{Data: data} },
		Fits: func(_ any, out generator.Output) error {
			for key, want := range data {
				if got := string(out.Values[key].Reveal()); got != want {
					return fmt.Errorf("%s is %q, want %q", key, got, want)
				}
			}
			return nil
		},
		Invalid: map[string]any{"spec.data": &v1alpha1.FakeSpec{}},
		Without: map[string]string{"values/new": "it hands out what the manifest holds"},
	})
}
