package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	"github.com/keyferry/keyferry/api/externalsecrets/v1alpha1"
)

// ready notes when objects were reported on.
type ready struct {
	mu      sync.Mutex
	reports map[client.ObjectKey]report
	// anew are the objects with a new report since the last call of again; first and
	// last are when the first and the last of them came.
	anew        map[client.ObjectKey]bool
	first, last time.Time
	changed     chan struct{}
}

type report struct {
	version string
	at      time.Time
}

// watchReady watches objects until ctx ends. What version returns of an object is its
// report; nothing while it is not Ready.
func watchReady[O client.Object](ctx context.Context, api client.WithWatch, list client.ObjectList, version func(O) string, opts ...client.ListOption) (*ready, error) {
	r := &ready{reports: map[client.ObjectKey]report{}, anew: map[client.ObjectKey]bool{}, changed: make(chan struct{}, 1)}
	w, err := api.Watch(ctx, list, opts...)
	if err != nil {
		return nil, err
	}
	go func() {
		for ctx.Err() == nil && err == nil {
			for event := range w.ResultChan() {
				if o, ok := event.Object.(O); ok && event.Type != watch.Deleted {
					r.note(client.ObjectKeyFromObject(o), version(o), time.Now())
				}
			}
			// The API server ends watches, those that lag behind first. A new one
			// begins with what there is.
			w, err = api.Watch(ctx, list, opts...)
		}
	}()
	return r, nil
}

func (b *bench) watchExternalSecrets(ctx context.Context, namespace string) (*ready, error) {
	return watchReady(ctx, b.api, &v1.ExternalSecretList{}, func(es *v1.ExternalSecret) string {
		for _, c := range es.Status.Conditions {
			if c.Type == v1.ExternalSecretReady && c.Status == "True" {
				return es.Status.SyncedResourceVersion
			}
		}
		return ""
	}, client.InNamespace(namespace))
}

func (b *bench) watchPushSecrets(ctx context.Context, namespace string) (*ready, error) {
	return watchReady(ctx, b.api, &v1alpha1.PushSecretList{}, func(ps *v1alpha1.PushSecret) string {
		for _, c := range ps.Status.Conditions {
			if c.Type == v1alpha1.PushSecretReady && c.Status == "True" {
				return ps.Status.SyncedResourceVersion
			}
		}
		return ""
	}, client.InNamespace(namespace))
}

func (r *ready) note(key client.ObjectKey, version string, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if version == "" || r.reports[key].version == version {
		return
	}
	r.reports[key] = report{version, now}
	r.anew[key] = true
	if r.first.IsZero() {
		r.first = now
	}
	r.last = now
	select {
	case r.changed <- struct{}{}:
	default:
	}
}

// again begins a new count.
func (r *ready) again() {
	r.mu.Lock()
	defer r.mu.Unlock()
	clear(r.anew)
	r.first, r.last = time.Time{}, time.Time{}
}

// all waits until n objects were reported on anew, and returns when the first and the
// last were.
func (r *ready) all(ctx context.Context, n int) (first, last time.Time, err error) {
	err = r.until(ctx, func() error {
		if len(r.anew) < n {
			return fmt.Errorf("%d of %d objects became Ready", len(r.anew), n)
		}
		first, last = r.first, r.last
		return nil
	})
	return first, last, err
}

// until waits until done has no objection, which is asked after every report.
func (r *ready) until(ctx context.Context, done func() error) error {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Minute)
	defer cancel()
	for {
		r.mu.Lock()
		err := done()
		r.mu.Unlock()
		if err == nil {
			return nil
		}
		select {
		case <-r.changed:
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		}
	}
}

// force has all objects refreshed although nothing has changed, waits for their
// reports, and prints how long that took and the calls of the controller.
func (b *bench) force(ctx context.Context, p *process, seen *ready, object func(i int) client.Object) error {
	before, err := p.counts(ctx)
	if err != nil {
		return err
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": map[string]string{v1.AnnotationForceSync: "1"}}})
	if err != nil {
		return err
	}
	seen.again()
	start := time.Now()
	err = each(ctx, 0, b.n, func(ctx context.Context, i int) error {
		return b.api.Patch(ctx, object(i), client.RawPatch(types.MergePatchType, patch))
	})
	if err != nil {
		return err
	}
	_, last, err := seen.all(ctx, b.n)
	if err != nil {
		return fmt.Errorf("forced refresh: %w", err)
	}
	after, err := p.counts(ctx)
	if err != nil {
		return err
	}
	fmt.Printf("  forced refresh of all       %7.2f s, beside the requests that ask for it\n", last.Sub(start).Seconds())
	after.print("forced refresh", before, b.n)
	p.usage("in all")
	return nil
}
