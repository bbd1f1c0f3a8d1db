package local

import (
	"context"
	"errors"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	esv1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	"github.com/keyferry/keyferry/generator"
	"github.com/keyferry/keyferry/internal/reconcile"
	"github.com/keyferry/keyferry/plan"
	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/secret"
	"github.com/keyferry/keyferry/store"
	"github.com/keyferry/keyferry/template"
)

// Config is what an Engine works with. All of it is required.
type Config struct {
	Pool *store.Pool
	// Generators are those of the pool.
	Generators   generator.Registry
	Templates    *template.Engine
	Surroundings *Surroundings
	Output       *Output
	Clock        provider.Clock
}

// Engine makes passes over ExternalSecrets. It makes one at a time.
type Engine struct{ Config }

// NewEngine returns an Engine.
func NewEngine(c Config) *Engine { return &Engine{c} }

// Result is what a pass over one ExternalSecret came to.
type Result struct {
	Object *esv1.ExternalSecret
	// Message is what a condition would say; empty if there is an error.
	Message string
	// Changes lists the targets that are not as they were.
	Changes []Change
	Err     error
}

// concurrency is how many ExternalSecrets are read for at once.
const concurrency = 32

// Sync makes one pass over each of list, in order, and reports each when it is done.
// Reads are made beside each other, and shared as far as they began at or after
// since. It tries all of them, unless ctx ends: then it reports no more. It blocks
// until the last is written.
func (e *Engine) Sync(ctx context.Context, m *Manifests, list []*esv1.ExternalSecret, since time.Time, report func(Result)) {
	type reading struct {
		data plan.Data
		err  error
	}
	reads, held := make([]chan reading, len(list)), make([]map[string][]byte, len(list))
	for i, es := range list {
		if !e.Output.keeps(m, es) {
			reads[i] = make(chan reading, 1)
			held[i] = e.Output.made(m, es)
		}
	}
	go func() {
		slots := make(chan struct{}, concurrency)
		for i, es := range list {
			if reads[i] == nil {
				continue
			}
			slots <- struct{}{}
			go func() {
				data, err := e.gather(ctx, m, asking{es, held[i], since})
				<-slots
				reads[i] <- reading{data, err}
			}()
		}
	}()
	for i, es := range list {
		if reads[i] == nil {
			report(Result{Object: es, Message: "kept: refreshPolicy is CreatedOnce"})
			continue
		}
		r := <-reads[i]
		if errors.Is(ctx.Err(), context.Canceled) {
			return
		}
		switch {
		case errors.Is(r.err, errHidden):
			report(Result{Object: es, Message: errHidden.Error()})
		case r.err != nil:
			report(Result{Object: es, Err: r.err})
		default:
			report(e.apply(ctx, m, es, r.data))
		}
	}
}

// asking is an ExternalSecret, and what its target has of it already.
type asking struct {
	*esv1.ExternalSecret
	held  map[string][]byte
	since time.Time
}

// gather reads, and makes, what an ExternalSecret asks for.
func (e *Engine) gather(ctx context.Context, m *Manifests, es asking) (plan.Data, error) {
	if err := plan.Validate(&es.Spec); err != nil {
		return plan.Data{}, err
	}
	sources, err := plan.Sources(&es.Spec)
	if err != nil {
		return plan.Data{}, err
	}
	places, err := places(m, es.ExternalSecret)
	if err != nil {
		return plan.Data{}, err
	}
	answers := reconcile.Fetch(ctx, e.Pool, sources, places, es.since)
	if err := e.generate(ctx, m, es, answers); err != nil {
		return plan.Data{}, err
	}
	return plan.Collect(ctx, e.Templates, &es.Spec, sources, answers)
}

// places resolves the stores that an ExternalSecret reads from. It fails with Invalid
// if one is missing, and with Denied if one does not admit the namespace.
func places(m *Manifests, es *esv1.ExternalSecret) (map[plan.StoreRef]store.Place, error) {
	out := map[plan.StoreRef]store.Place{}
	for _, ref := range plan.Stores(&es.Spec) {
		s := m.store(ref, es.Namespace)
		if s == nil {
			return nil, invalid("%s %q is not in the manifests: add it, or correct spec.secretStoreRef", ref.Kind, ref.Name)
		}
		if ref.Kind == esv1.ClusterSecretStoreKind {
			ok, err := plan.Admits(s.GetSpec().Conditions, es.Namespace, m.labels(es.Namespace))
			if err != nil {
				return nil, fmt.Errorf("%s %s: %w", ref.Kind, ref.Name, err)
			}
			if !ok {
				return nil, refuse(secret.Denied, "using cluster store %q is not allowed from namespace %q: denied by spec.conditions", ref.Name, es.Namespace)
			}
		}
		place, err := reconcile.Place(s, es.Namespace)
		if err != nil {
			return nil, fmt.Errorf("%s %s: %w", ref.Kind, ref.Name, err)
		}
		out[ref] = place
	}
	return out, nil
}

// apply makes the target what it should be.
func (e *Engine) apply(ctx context.Context, m *Manifests, es *esv1.ExternalSecret, data plan.Data) Result {
	out := Result{Object: es}
	action, change, err := e.write(ctx, m, es, data)
	if err != nil {
		out.Err = err
		return out
	}
	out.Message = action.Ready.Message
	if change.Verb != plan.Nothing {
		out.Changes = append(out.Changes, change)
	}
	gone, err := e.sweep(es)
	out.Changes, out.Err = append(out.Changes, gone...), err
	return out
}

func (e *Engine) write(ctx context.Context, m *Manifests, es *esv1.ExternalSecret, data plan.Data) (plan.Action, Change, error) {
	id := targetID(es)
	templates, err := e.templates(ctx, es)
	if err != nil {
		return plan.Action{}, Change{}, err
	}
	before, err := e.Output.existing(m, id)
	if err != nil {
		return plan.Action{}, Change{}, err
	}
	t := plan.Target{
		Object: es, Data: data, Sources: templates, Engine: e.Templates,
		Existing: before.secret, Live: before.object, AllowGeneric: true,
	}
	decide := plan.Apply
	if plan.IsGeneric(es) {
		decide = plan.ApplyGeneric
	}
	action, err := decide(ctx, t)
	if errors.Is(err, secret.Conflict) { // somebody else's target does not become ours by waiting
		err = reconcile.Stop(err)
	}
	if err != nil {
		return action, Change{}, err
	}
	var change Change
	switch action.Verb {
	case plan.Create, plan.Update:
		change, err = e.Output.save(es, id, before, state{secret: action.Secret, object: action.Object})
	case plan.Delete:
		change, err = e.Output.delete(id, before)
	case plan.Nothing:
		if es.Spec.Target.CreationPolicy != esv1.CreatePolicyNone {
			e.Output.keep(id, before)
		}
	}
	return action, change, err
}

// templates reads what templateFrom refers to.
func (e *Engine) templates(ctx context.Context, es *esv1.ExternalSecret) (map[string]map[string]secret.Value, error) {
	out := map[string]map[string]secret.Value{}
	for _, s := range plan.TemplateSources(&es.Spec) {
		loaded, err := e.Surroundings.Load(ctx, s.Kind, es.Namespace, s.Name)
		if errors.Is(err, secret.NotFound) {
			return nil, invalid("%s: %s %q is not in the manifests: add it, or remove the entry", s.Field, s.Kind, s.Name)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.Field, err)
		}
		out[s.Key()] = loaded.Data
	}
	return out, nil
}

// sweep deletes the Secrets of an ExternalSecret that are not its target any more.
func (e *Engine) sweep(es *esv1.ExternalSecret) ([]Change, error) {
	var candidates []metav1.PartialObjectMetadata
	for _, id := range e.Output.ownedBy(es.Namespace, es.Name) {
		if id.Kind != kindSecret || id.APIVersion != "v1" {
			continue
		}
		c := metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{
			Namespace: id.Namespace, Name: id.Name,
			Labels: map[string]string{esv1.LabelOwner: plan.OwnerLabel(es.Namespace, es.Name)},
		}}
		e.Output.entries[id].decorate(&c)
		candidates = append(candidates, c)
	}
	var out []Change
	for _, orphan := range plan.Orphans(es, candidates) {
		change, err := e.remove(ID{APIVersion: "v1", Kind: kindSecret, Namespace: orphan.Namespace, Name: orphan.Name})
		if err != nil {
			return out, err
		}
		out = append(out, change)
	}
	return out, nil
}

// Release deletes the targets that go with an ExternalSecret which is no more.
func (e *Engine) Release(es *esv1.ExternalSecret) Result {
	out := Result{Object: es, Message: "the ExternalSecret is gone"}
	for _, id := range e.Output.ownedBy(es.Namespace, es.Name) {
		change, err := e.remove(id)
		if err != nil {
			out.Err = err
			return out
		}
		out.Changes = append(out.Changes, change)
	}
	return out
}

// remove deletes a target of which only the output knows.
func (e *Engine) remove(id ID) (Change, error) {
	before, err := e.Output.find(&Manifests{}, id)
	if err != nil {
		return Change{}, err
	}
	return e.Output.delete(id, before)
}
