package main

import (
	"context"
	"errors"
	"sync"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
)

// ready notes when ExternalSecrets of a namespace became Ready, and when they were
// reported on.
type ready struct {
	mu      sync.Mutex
	first   time.Time
	last    time.Time
	names   map[string]string // name → syncedResourceVersion
	changed chan struct{}
}

// watchReady watches a namespace until ctx ends.
func (b *bench) watchReady(ctx context.Context, namespace string) (*ready, error) {
	r := &ready{names: map[string]string{}, changed: make(chan struct{}, 1)}
	w, err := b.api.Watch(ctx, &v1.ExternalSecretList{}, client.InNamespace(namespace))
	if err != nil {
		return nil, err
	}
	go func() {
		for ctx.Err() == nil && err == nil {
			for event := range w.ResultChan() {
				if es, ok := event.Object.(*v1.ExternalSecret); ok {
					r.note(es, time.Now())
				}
			}
			// The API server ends watches, those that lag behind first. A new one
			// begins with what there is.
			w, err = b.api.Watch(ctx, &v1.ExternalSecretList{}, client.InNamespace(namespace))
		}
	}()
	return r, nil
}

func (r *ready) note(es *v1.ExternalSecret, now time.Time) {
	for _, c := range es.Status.Conditions {
		if c.Type != v1.ExternalSecretReady || c.Status != "True" {
			continue
		}
		r.mu.Lock()
		if r.first.IsZero() {
			r.first = now
		}
		if r.names[es.Name] != es.Status.SyncedResourceVersion {
			r.names[es.Name] = es.Status.SyncedResourceVersion
			r.last = now
		}
		r.mu.Unlock()
		select {
		case r.changed <- struct{}{}:
		default:
		}
	}
}

// all waits until n objects are Ready and returns when the first and the last were.
func (r *ready) all(ctx context.Context, n int) (first, last time.Time, err error) {
	return r.until(ctx, func() bool { return len(r.names) == n })
}

// until waits until done says so, which is asked after every change.
func (r *ready) until(ctx context.Context, done func() bool) (first, last time.Time, err error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	for {
		r.mu.Lock()
		over := done()
		first, last = r.first, r.last
		r.mu.Unlock()
		if over {
			return first, last, nil
		}
		select {
		case <-r.changed:
		case <-ctx.Done():
			return first, last, errors.New("not all objects became Ready within ten minutes")
		}
	}
}
