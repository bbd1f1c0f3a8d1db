package faults_test

import (
	"context"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	watchtools "k8s.io/client-go/tools/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// history is every change to the objects of one kind in a namespace. It loses none:
// a watch that ends is taken up where it ended.
type history struct {
	mu      sync.Mutex
	events  []watch.Event
	changed chan struct{}
}

func (w *world) history(list client.ObjectList) *history {
	w.t.Helper()
	if err := w.api.List(w.t.Context(), list, client.InNamespace(w.namespace)); err != nil {
		w.t.Fatal(err)
	}
	source := &cache.ListWatch{WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
		fresh, _ := list.DeepCopyObject().(client.ObjectList)
		return w.api.Watch(ctx, fresh, &client.ListOptions{Namespace: w.namespace, Raw: &o})
	}}
	watcher, err := watchtools.NewRetryWatcherWithContext(w.t.Context(), list.GetResourceVersion(), cache.ToWatcherWithContext(source))
	if err != nil {
		w.t.Fatal(err)
	}
	h := &history{changed: make(chan struct{}, 1)}
	go func() {
		for event := range watcher.ResultChan() {
			h.mu.Lock()
			h.events = append(h.events, event)
			h.mu.Unlock()
			select {
			case h.changed <- struct{}{}:
			default:
			}
		}
	}()
	return h
}

// count returns how many objects the last event of which matches.
func (h *history) count(match func(runtime.Object) bool) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	last := map[string]bool{}
	for _, e := range h.events {
		if o, ok := e.Object.(client.Object); ok {
			last[o.GetName()] = e.Type != watch.Deleted && match(o)
		}
	}
	n := 0
	for _, ok := range last {
		if ok {
			n++
		}
	}
	return n
}

// until waits until so many objects match.
func (h *history) until(t *testing.T, n int, match func(runtime.Object) bool) {
	t.Helper()
	deadline := time.After(2 * time.Minute)
	for h.count(match) < n {
		select {
		case <-h.changed:
		case <-deadline:
			t.Fatalf("%d of %d objects within two minutes", h.count(match), n)
		}
	}
}

// types counts the events of each type, by object.
func (h *history) types() map[string]map[watch.EventType]int {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := map[string]map[watch.EventType]int{}
	for _, e := range h.events {
		o, ok := e.Object.(client.Object)
		if !ok {
			continue
		}
		if out[o.GetName()] == nil {
			out[o.GetName()] = map[watch.EventType]int{}
		}
		out[o.GetName()][e.Type]++
	}
	return out
}
