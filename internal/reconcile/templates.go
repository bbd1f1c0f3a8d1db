package reconcile

import (
	"context"
	"errors"
	"fmt"

	"github.com/keyferry/keyferry/plan"
	"github.com/keyferry/keyferry/secret"
	"github.com/keyferry/keyferry/store"
)

// Templates reads what templateFrom refers to, as package plan takes it.
func Templates(ctx context.Context, from store.Surroundings, namespace string, sources []plan.TemplateSource) (map[string]map[string]secret.Value, error) {
	out := make(map[string]map[string]secret.Value, len(sources))
	for _, s := range sources {
		loaded, err := from.Load(ctx, s.Kind, namespace, s.Name)
		if errors.Is(err, secret.NotFound) {
			return nil, &secret.Error{Kind: secret.Invalid, Err: fmt.Errorf("%s: %s %q does not exist: create it, or remove the entry", s.Field, s.Kind, s.Name)}
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.Field, err)
		}
		out[s.Key()] = loaded.Data
	}
	return out, nil
}
