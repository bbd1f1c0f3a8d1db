package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// parallel is how many objects are worked on at once: as many as the controller does.
const parallel = 32

// atLeast is the part of a bare client's rate that the controller has to reach.
const atLeast = 0.8

// bare is a client that does nothing but its work on each object. One half of it is done
// before the controller works and one after, so that both find the machine alike.
type bare struct {
	n    int
	work func(context.Context, int) error
	seen *ready
	took time.Duration
}

// newBare returns a client of a namespace that somebody watches, as for the controller.
func (b *bench) newBare(ctx context.Context, namespace string, watch func(context.Context, string) (*ready, error), work func(context.Context, int) error) (*bare, error) {
	seen, err := watch(ctx, namespace)
	return &bare{n: b.n, work: work, seen: seen}, err
}

// half works on the objects between two indexes.
func (c *bare) half(ctx context.Context, from, to int) error {
	c.seen.again()
	if err := each(ctx, from, to, c.work); err != nil {
		return err
	}
	first, last, err := c.seen.all(ctx, to-from)
	c.took += last.Sub(first)
	fmt.Printf("  bare client                 %7.1f objects/s\n", perSecond(to-from, first, last))
	return err
}

// beside starts the controller for a namespace, which seen is of, after the client has
// worked on half of its objects and before it works on the others. It returns the
// controller, still running, and its rate as a part of the client's.
func (c *bare) beside(ctx context.Context, b *bench, seen *ready, namespace string) (*process, float64, error) {
	if err := c.half(ctx, 0, c.n/2); err != nil {
		return nil, 0, err
	}
	p, rate, err := b.cold(ctx, seen, c.n, namespace)
	if err != nil {
		return nil, 0, err
	}
	if err := c.half(ctx, c.n/2, c.n); err != nil {
		p.stop()
		return nil, 0, err
	}
	return p, rate / (float64(c.n-2) / c.took.Seconds()), nil
}

func perSecond(n int, first, last time.Time) float64 {
	return float64(n-1) / last.Sub(first).Seconds()
}

// each calls f for every index, some at once.
func each(ctx context.Context, from, to int, f func(context.Context, int) error) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(parallel)
	for i := from; i < to; i++ {
		g.Go(func() error { return f(ctx, i) })
	}
	return g.Wait()
}

func (b *bench) patchStatus(ctx context.Context, obj client.Object, status any) error {
	patch, err := json.Marshal(map[string]any{"status": status})
	if err != nil {
		return err
	}
	return b.api.Status().Patch(ctx, obj, client.RawPatch(types.MergePatchType, patch))
}
