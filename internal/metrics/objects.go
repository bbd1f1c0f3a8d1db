package metrics

import (
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// Key names an object; Namespace is empty for cluster-scoped ones.
type Key struct{ Namespace, Name string }

// Condition is one condition of an object.
type Condition struct{ Type, Status string }

// Objects are the series of the objects of one kind.
type Objects struct {
	calls, errors, condition *prometheus.Desc
	namespaced, extended     bool

	mu sync.Mutex
	m  map[Key]*object
}

type object struct {
	calls, errors uint64
	conditions    []Condition
	labels        []string // values of the extended labels
}

// recommended are the labels that --enable-extended-metric-labels adds.
func recommended() []string {
	return []string{
		"app.kubernetes.io/name", "app.kubernetes.io/instance", "app.kubernetes.io/version",
		"app.kubernetes.io/component", "app.kubernetes.io/part-of", "app.kubernetes.io/managed-by",
	}
}

func newObjects(prefix string, namespaced, counted, extended bool) *Objects {
	labels := []string{"name"}
	if namespaced {
		labels = append(labels, "namespace")
	}
	if extended {
		for _, name := range recommended() {
			labels = append(labels, strings.NewReplacer(".", "_", "/", "_", "-", "_").Replace(name))
		}
	}
	o := &Objects{namespaced: namespaced, extended: extended, m: map[Key]*object{}}
	o.condition = prometheus.NewDesc(prefix+"_status_condition", "1 for the status that a condition of the object has, 0 for the other.", append([]string{"condition", "status"}, labels...), nil)
	if counted {
		o.calls = prometheus.NewDesc(prefix+"_sync_calls_total", "Passes over the object.", labels, nil)
		o.errors = prometheus.NewDesc(prefix+"_sync_calls_error", "Passes over the object that failed.", labels, nil)
	}
	return o
}

// Synced counts one pass over an object.
func (o *Objects) Synced(k Key, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	obj := o.get(k)
	obj.calls++
	if err != nil {
		obj.errors++
	}
}

// Set replaces what is known of an object's conditions and labels.
func (o *Objects) Set(k Key, conditions []Condition, labels map[string]string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	obj := o.get(k)
	obj.conditions = conditions
	if o.extended {
		obj.labels = obj.labels[:0]
		for _, name := range recommended() {
			obj.labels = append(obj.labels, labels[name])
		}
	}
}

// Delete removes the series of an object. It may be repeated.
func (o *Objects) Delete(k Key) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.m, k)
}

func (o *Objects) get(k Key) *object {
	obj, ok := o.m[k]
	if !ok {
		obj = &object{}
		if o.extended {
			obj.labels = make([]string, len(recommended()))
		}
		o.m[k] = obj
	}
	return obj
}

// Describe implements prometheus.Collector.
func (o *Objects) Describe(ch chan<- *prometheus.Desc) {
	ch <- o.condition
	if o.calls != nil {
		ch <- o.calls
		ch <- o.errors
	}
}

// Collect implements prometheus.Collector.
func (o *Objects) Collect(ch chan<- prometheus.Metric) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for k, obj := range o.m {
		labels := []string{k.Name}
		if o.namespaced {
			labels = append(labels, k.Namespace)
		}
		labels = append(labels, obj.labels...)
		if o.calls != nil {
			ch <- prometheus.MustNewConstMetric(o.calls, prometheus.CounterValue, float64(obj.calls), labels...)
			ch <- prometheus.MustNewConstMetric(o.errors, prometheus.CounterValue, float64(obj.errors), labels...)
		}
		for _, c := range obj.conditions {
			o.collectCondition(ch, c, labels)
		}
	}
}

func (o *Objects) collectCondition(ch chan<- prometheus.Metric, c Condition, labels []string) {
	for _, status := range []string{"True", "False"} {
		value := 0.0
		if c.Status == status {
			value = 1
		}
		ch <- prometheus.MustNewConstMetric(o.condition, prometheus.GaugeValue, value, append([]string{c.Type, status}, labels...)...)
	}
}
