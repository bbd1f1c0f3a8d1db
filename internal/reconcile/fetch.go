package reconcile

import (
	"context"
	"sync"
	"time"

	"github.com/keyferry/keyferry/plan"
	"github.com/keyferry/keyferry/secret"
	"github.com/keyferry/keyferry/store"
)

// Fetch reads every source that names a store, each store at the same time as the others,
// and returns one answer for each source in their order. What was read since the given time, for
// whomever, may be shared.
func Fetch(ctx context.Context, pool *store.Pool, sources []plan.Source, places map[plan.StoreRef]store.Place, since time.Time) []plan.Answer {
	answers := make([]plan.Answer, len(sources))
	refs := map[plan.StoreRef][]int{}
	var wg sync.WaitGroup
	for i, s := range sources {
		if s.Generator != nil {
			continue
		}
		if s.Find == nil {
			refs[s.Store] = append(refs[s.Store], i)
			continue
		}
		wg.Go(func() {
			found, err := pool.Find(ctx, places[s.Store], *s.Find, since)
			answers[i] = plan.Answer{Found: found, Err: err}
		})
	}
	for ref, indexes := range refs {
		wanted := make([]secret.Ref, len(indexes))
		for n, i := range indexes {
			wanted[n] = sources[i].Ref
		}
		wg.Go(func() {
			for n, a := range pool.Read(ctx, places[ref], wanted, since) {
				answers[indexes[n]] = plan.Answer{Secret: a.Secret, PropertyResolved: a.PropertyResolved, Err: a.Err}
			}
		})
	}
	wg.Wait()
	return answers
}
