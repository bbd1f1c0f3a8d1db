package fake

import (
	"context"
	"errors"

	"github.com/keyferry/keyferry/api/generators/v1alpha1"
	"github.com/keyferry/keyferry/generator"
	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/secret"
)

const kind = v1alpha1.FakeKind

// Generator returns the generator of what the manifest holds. Its keys are those of
// spec.data.
func Generator() generator.Generator {
	return generator.Define(generator.Definition[v1alpha1.FakeSpec]{Kind: kind, Validate: validate, Generate: generate})
}

func validate(spec *v1alpha1.FakeSpec) error {
	if len(spec.Data) == 0 {
		return &secret.Error{Kind: secret.Invalid, Op: "generate", Provider: kind, Err: errors.New("spec.data is empty: there is nothing to hand out")}
	}
	return nil
}

func generate(_ context.Context, spec *v1alpha1.FakeSpec, _ provider.Env) (generator.Output, error) {
	values := make(map[string]secret.Value, len(spec.Data))
	for key, value := range spec.Data {
		values[key] = secret.FromString(value)
	}
	return generator.Output{Values: values}, nil
}
