package rotation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/source"

	v1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	"github.com/keyferry/keyferry/api/generators/v1alpha1"
	"github.com/keyferry/keyferry/internal/cluster"
	"github.com/keyferry/keyferry/internal/reconcile"
	"github.com/keyferry/keyferry/secret"
	"github.com/keyferry/keyferry/store"
)

// Found is a generator that an object names, as that object sees it.
type Found struct {
	store.Generator
	// Name is "Kind/name", as the object names it.
	Name string
	// Version is another one for each generation of each manifest.
	Version string
	// manifest is what a GeneratorState keeps of it.
	manifest []byte
}

// Queue is where a controller gets its requests from.
type Queue = workqueue.TypedRateLimitingInterface[ctrl.Request]

// Finder finds the generators that the objects of one controller name.
type Finder struct {
	Cache cache.Cache
	// Class is the value of spec.controller that this process serves, beside none.
	Class string
	// Controller watches the kinds that somebody names.
	Controller controller.Controller
	// Wake is told that a generator appeared, or, if changed, is another. Name is "Kind/name",
	// namespace is empty for a ClusterGenerator. It must not block.
	Wake func(ctx context.Context, namespace, name string, changed bool, q Queue)

	mu    sync.Mutex
	kinds map[string]bool
}

// syncing is how long the first object that names a kind waits for its cache.
const syncing = 15 * time.Second

// Key is how indexes and messages name a generator: "Kind/name".
func Key(ref *v1.GeneratorRef) string { return ref.Kind + "/" + ref.Name }

// Get returns a generator as a consumer in the namespace sees it. It fails with Invalid
// if there is none, or the cluster does not have the kind, and with cluster.ErrSkip if it
// is another controller's. The first call for a kind waits for its cache.
func (f *Finder) Get(ctx context.Context, namespace string, ref *v1.GeneratorRef) (Found, error) {
	object, err := newObject(ref.Kind)
	if err != nil {
		return Found{}, err
	}
	if err := f.watch(ref.Kind); err != nil {
		return Found{}, err
	}
	key := client.ObjectKey{Namespace: namespace, Name: ref.Name}
	if ref.Kind == v1alpha1.ClusterGeneratorKind {
		key.Namespace = ""
	}
	waiting, cancel := context.WithTimeout(ctx, syncing)
	defer cancel()
	switch err := f.Cache.Get(waiting, key, object); {
	case apierrors.IsNotFound(err):
		return Found{}, invalid("%s %q does not exist: create it, or correct the reference", ref.Kind, ref.Name)
	case apimeta.IsNoMatchError(err):
		return Found{}, invalid("the cluster has no kind %s in %s: apply its definition", ref.Kind, v1alpha1.GroupVersion())
	case err != nil:
		return Found{}, cluster.Error("read", err)
	}
	g, class, err := reconcile.Generator(object, ref.Kind, namespace)
	if err != nil {
		return Found{}, err
	}
	if class != "" && class != f.Class {
		return Found{}, cluster.ErrSkip
	}
	manifest, err := manifestOf(object, ref.Kind)
	if err != nil {
		return Found{}, err
	}
	return Found{Generator: g, Name: Key(ref), Version: version(object), manifest: manifest}, nil
}

func version(o metav1.Object) string { return fmt.Sprintf("%s/%d", o.GetUID(), o.GetGeneration()) }

func newObject(kind string) (client.Object, error) {
	if kind == v1alpha1.ClusterGeneratorKind {
		return &v1alpha1.ClusterGenerator{}, nil
	}
	object, ok := v1alpha1.New(kind)
	if !ok {
		return nil, &secret.Error{Kind: secret.Unsupported, Err: fmt.Errorf("kind %q is not a generator of this build", kind)}
	}
	return object, nil
}

// manifestOf returns what is kept of a manifest: enough to find it again, and its spec.
func manifestOf(object client.Object, kind string) ([]byte, error) {
	raw, err := json.Marshal(object)
	if err != nil {
		return nil, &secret.Error{Kind: secret.Internal, Op: "encode", Err: errors.New("a manifest does not encode")}
	}
	var fields struct {
		Spec json.RawMessage `json:"spec"`
	}
	if err := json.Unmarshal(raw, &fields); err != nil {
		return nil, &secret.Error{Kind: secret.Internal, Op: "encode", Err: errors.New("a manifest does not decode")}
	}
	return json.Marshal(map[string]any{
		"apiVersion": v1alpha1.GroupVersion().String(), "kind": kind, "spec": fields.Spec,
		"metadata": metav1.ObjectMeta{Name: object.GetName(), Namespace: object.GetNamespace(), UID: object.GetUID(), Generation: object.GetGeneration()},
	})
}

// decode is the reverse of manifestOf.
func decode(manifest []byte) (object client.Object, kind string, err error) {
	var header metav1.TypeMeta
	if err := json.Unmarshal(manifest, &header); err != nil {
		return nil, "", invalid("spec.resource is no manifest")
	}
	if object, err = newObject(header.Kind); err != nil {
		return nil, "", fmt.Errorf("spec.resource: %w", err)
	}
	if err := json.Unmarshal(manifest, object); err != nil {
		return nil, "", invalid("spec.resource is no %s", header.Kind)
	}
	return object, header.Kind, nil
}

// Restore returns the generator that a GeneratorState keeps, with what it left behind;
// that is nil if it left nothing. It fails with Invalid, or with Unsupported for a kind
// that this build does not have.
//
// A ClusterGenerator may connect to what a tenant may not, and whoever writes a state is
// no administrator: it counts as one only while the cluster has it just so.
func Restore(ctx context.Context, from client.Reader, state *v1alpha1.GeneratorState) (store.Generator, json.RawMessage, error) {
	if state.Spec.Resource == nil {
		return store.Generator{}, nil, invalid("spec.resource is missing")
	}
	object, kind, err := decode(state.Spec.Resource.Raw)
	if err != nil {
		return store.Generator{}, nil, err
	}
	g, _, err := reconcile.Generator(object, kind, state.Namespace)
	if err != nil {
		return g, nil, fmt.Errorf("spec.resource: %w", err)
	}
	if kept, ok := object.(*v1alpha1.ClusterGenerator); ok {
		live := &v1alpha1.ClusterGenerator{}
		err := from.Get(ctx, client.ObjectKey{Name: kept.Name}, live)
		if client.IgnoreNotFound(err) != nil {
			return g, nil, cluster.Error("read", err)
		}
		g.Cluster = err == nil && apiequality.Semantic.DeepEqual(live.Spec, kept.Spec)
	}
	if state.Spec.State == nil || string(state.Spec.State.Raw) == nothing {
		return g, nil, nil
	}
	return g, state.Spec.State.Raw, nil
}

// nothing is the state of what ends by itself.
const nothing = "{}"

// watch watches a kind, once.
func (f *Finder) watch(kind string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.kinds[kind] {
		return nil
	}
	object, err := newObject(kind)
	if err != nil {
		return err
	}
	wake := func(ctx context.Context, o client.Object, changed bool, q Queue) {
		f.Wake(ctx, o.GetNamespace(), kind+"/"+o.GetName(), changed, q)
	}
	err = f.Controller.Watch(source.Kind(f.Cache, object, handler.Funcs{
		CreateFunc: func(ctx context.Context, e event.CreateEvent, q Queue) { wake(ctx, e.Object, false, q) },
		UpdateFunc: func(ctx context.Context, e event.UpdateEvent, q Queue) {
			if version(e.ObjectOld) != version(e.ObjectNew) {
				wake(ctx, e.ObjectNew, true, q)
			}
		},
	}))
	if err != nil {
		return fmt.Errorf("watch %s: %w", kind, err)
	}
	if f.kinds == nil {
		f.kinds = map[string]bool{}
	}
	f.kinds[kind] = true
	return nil
}

func invalid(format string, args ...any) error {
	return &secret.Error{Kind: secret.Invalid, Err: fmt.Errorf(format, args...)}
}
