package local

import (
	"context"
	"errors"
	"fmt"

	esv1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	genv1alpha1 "github.com/keyferry/keyferry/api/generators/v1alpha1"
	"github.com/keyferry/keyferry/internal/reconcile"
	"github.com/keyferry/keyferry/plan"
	"github.com/keyferry/keyferry/secret"
	"github.com/keyferry/keyferry/store"
)

// errHidden says that a target is left as it is.
var errHidden = errors.New("kept: what was generated for it cannot be read back; delete it to have it made anew")

// generate answers the sources that name a generator: with what the target has already,
// or else with new values. It fails with errHidden if the target has them in a form from
// which they cannot be told.
func (e *Engine) generate(ctx context.Context, m *Manifests, es asking, answers []plan.Answer) error {
	for i, ref := range plan.Generators(&es.Spec) {
		g, err := m.generator(es.Namespace, ref)
		if err != nil {
			return fmt.Errorf("spec.dataFrom[%d].sourceRef.generatorRef: %w", i, err)
		}
		recovery := plan.Absent
		var values map[string]secret.Value
		if es.held != nil {
			of, err := e.Generators.Lookup(g.Kind)
			if err != nil {
				return err
			}
			values, recovery = plan.TakeBack(ctx, e.Templates, es.ExternalSecret, i, plan.TakeFrom{
				Data: es.held, Keys: of.Keys(g.Spec), Intact: func(string) bool { return true },
			})
		}
		switch recovery {
		case plan.Hidden:
			return errHidden
		case plan.Absent:
			values, err = e.make(ctx, g)
		}
		answers[i] = plan.Answer{Secret: secret.Secret{Fields: values}, Err: err}
	}
	return nil
}

// make makes values. What they leave behind elsewhere nobody would end: then they are
// ended at once, and refused.
func (e *Engine) make(ctx context.Context, g store.Generator) (map[string]secret.Value, error) {
	out, err := e.Pool.Generate(ctx, g)
	if err != nil || len(out.State) == 0 {
		return out.Values, err
	}
	if err := e.Pool.Cleanup(context.WithoutCancel(ctx), g, out.State); err != nil {
		return nil, fmt.Errorf("what the %s left behind could not be ended: %w", g.Kind, err)
	}
	return nil, refuse(secret.Unsupported, "a %s leaves behind what somebody has to end, and without a cluster nobody does: use it in a cluster", g.Kind)
}

// generator finds a generator that a consumer in namespace refers to. It fails with
// Invalid if there is none.
func (m *Manifests) generator(namespace string, ref *esv1.GeneratorRef) (store.Generator, error) {
	key := name{ref.Kind, namespace, ref.Name}
	if ref.Kind == genv1alpha1.ClusterGeneratorKind {
		key.Namespace = ""
	}
	object, ok := m.generators[key]
	if !ok {
		return store.Generator{}, invalid("%s %q is not in the manifests: add it, or correct the reference", ref.Kind, ref.Name)
	}
	g, _, err := reconcile.Generator(object, ref.Kind, namespace)
	return g, err
}
