package rotation

import (
	"context"
	"crypto/sha3"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keyferry/keyferry/api/generators/v1alpha1"
	"github.com/keyferry/keyferry/internal/cluster"
)

// byOwner is the index of the cache over GeneratorStates: by the UID of their owners.
const byOwner = "generatorowner"

// Index adds the index to a cache that a Keeper needs, once for a process.
func Index(ctx context.Context, indexer client.FieldIndexer) error {
	err := indexer.IndexField(ctx, &v1alpha1.GeneratorState{}, byOwner, func(o client.Object) []string {
		var out []string
		for _, owner := range o.GetOwnerReferences() {
			out = append(out, string(owner.UID))
		}
		return out
	})
	if err != nil {
		return fmt.Errorf("index GeneratorStates by %s: %w", byOwner, err)
	}
	return nil
}

// ownerKey is the label of a GeneratorState: whom it is for, and what.
func ownerKey(kind string, owner client.Object, key string) string {
	sum := sha3.Sum224([]byte(strings.Join([]string{kind, owner.GetNamespace(), owner.GetName(), key}, "/")))
	return hex.EncodeToString(sum[:])
}

// record makes a GeneratorState for what a batch left behind, or because it ends.
func (k *Keeper) record(ctx context.Context, r Request, b *batch) error {
	if !k.States || len(b.left) == 0 && b.expires.IsZero() {
		b.told = true
		return nil
	}
	gvk, err := k.Client.GroupVersionKindFor(r.Owner)
	if err != nil {
		return err
	}
	left := b.left
	if len(left) == 0 {
		left = json.RawMessage(nothing)
	}
	state := &v1alpha1.GeneratorState{
		ObjectMeta: metav1.ObjectMeta{
			Namespace:    r.Owner.GetNamespace(),
			GenerateName: strings.ToLower("gen-" + r.From.Kind + "-" + r.From.Generator.Name + "-"),
			Labels:       map[string]string{v1alpha1.GeneratorStateLabelOwnerKey: ownerKey(gvk.Kind, r.Owner, r.Key)},
			Finalizers:   []string{v1alpha1.GeneratorStateFinalizer},
			OwnerReferences: []metav1.OwnerReference{{
				APIVersion: gvk.GroupVersion().String(), Kind: gvk.Kind, Name: r.Owner.GetName(), UID: r.Owner.GetUID(),
			}},
		},
		Spec: v1alpha1.GeneratorStateSpec{
			Resource: &apiextensionsv1.JSON{Raw: r.From.manifest},
			State:    &apiextensionsv1.JSON{Raw: left},
		},
	}
	if err := k.Client.Create(ctx, state); err != nil {
		return cluster.Error("write", err)
	}
	b.state = state.Name
	_ = k.tell(ctx, state.Namespace, &b.lease) // tried again when the values have arrived
	return nil
}

// tell writes what is known of a lease to the status of its GeneratorState, once.
func (k *Keeper) tell(ctx context.Context, namespace string, l *lease) error {
	if l.told || l.state == "" {
		return nil
	}
	status := v1alpha1.GeneratorStateStatus{
		Renewable: l.renewable,
		Conditions: []v1alpha1.GeneratorStateStatusCondition{{
			Type: v1alpha1.GeneratorStateReady, Status: corev1.ConditionTrue,
			Reason: v1alpha1.ConditionReasonCreated, Message: "in use", LastTransitionTime: metav1.NewTime(k.Clock.Now().Truncate(time.Second)),
		}},
	}
	if !l.expires.IsZero() {
		expires := metav1.NewTime(l.expires)
		status.Expires, status.Lifetime = &expires, &metav1.Duration{Duration: l.lifetime}
	}
	patch, err := json.Marshal(map[string]any{"status": status})
	if err != nil {
		return err
	}
	obj := &v1alpha1.GeneratorState{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: l.state}}
	err = k.Client.Status().Patch(ctx, obj, client.RawPatch(types.MergePatchType, patch))
	if client.IgnoreNotFound(err) != nil {
		return cluster.Error("status", err)
	}
	l.told = true
	return nil
}

// open returns what was left behind for a use and is not to be ended yet.
func (k *Keeper) open(ctx context.Context, owner client.Object, key string) ([]v1alpha1.GeneratorState, error) {
	all, err := k.states(ctx, owner)
	if err != nil || len(all) == 0 {
		return nil, err
	}
	gvk, err := k.Client.GroupVersionKindFor(owner)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(all, func(state v1alpha1.GeneratorState) bool {
		label := state.Labels[v1alpha1.GeneratorStateLabelOwnerKey]
		return label != ownerKey(gvk.Kind, owner, key) && !inherited(&state, key, func(other string) bool { return label == ownerKey(gvk.Kind, owner, other) })
	}), nil
}

// UseOf names the n-th use that an owner has of a generator.
func UseOf(generator string, n int) string { return fmt.Sprintf("%s#%d", generator, n) }

// inherited reports whether ESO made a state for a use, as far as that can be told: it has
// another label for it. Ours reports whether the label is that of another use.
func inherited(state *v1alpha1.GeneratorState, key string, ours func(key string) bool) bool {
	generator, _, several := strings.Cut(key, "#")
	if !several { // the owner has no other use
		return true
	}
	for n := range maxUses {
		if ours(UseOf(generator, n)) {
			return false
		}
	}
	kind, name, _ := strings.Cut(generator, "/")
	var made struct {
		Kind     string `json:"kind"`
		Metadata struct {
			Name string `json:"name"`
		} `json:"metadata"`
	}
	if state.Spec.Resource == nil || json.Unmarshal(state.Spec.Resource.Raw, &made) != nil {
		return false
	}
	return made.Metadata.Name == name && (made.Kind == kind || kind == v1alpha1.ClusterGeneratorKind)
}

// maxUses is how many uses of one generator an owner is expected to have.
const maxUses = 16

// states returns what was left behind for an owner and is not to be ended yet.
func (k *Keeper) states(ctx context.Context, owner client.Object) ([]v1alpha1.GeneratorState, error) {
	if !k.States {
		return nil, nil
	}
	var list v1alpha1.GeneratorStateList
	err := k.Cache.List(ctx, &list, client.InNamespace(owner.GetNamespace()), client.MatchingFields{byOwner: string(owner.GetUID())})
	if err != nil {
		return nil, cluster.Error("read", err)
	}
	out := list.Items[:0]
	for _, state := range list.Items {
		if state.DeletionTimestamp == nil && state.Spec.GarbageCollectionDeadline == nil {
			out = append(out, state)
		}
	}
	return out, nil
}

// retireOthers gives what was left behind for an owner, and is not in use any more, until
// the end of the grace period. The cache may not have the latest of it yet.
func (k *Keeper) retireOthers(ctx context.Context, owner client.Object, kept map[string]*batch) error {
	states, err := k.states(ctx, owner)
	inUse, obsolete := map[string]bool{}, map[string]bool{}
	for _, b := range kept {
		inUse[b.state] = true
		for _, name := range b.replaced {
			obsolete[name] = true
		}
	}
	for i := range states {
		obsolete[states[i].Name] = true
	}
	for name := range obsolete {
		if !inUse[name] {
			err = errors.Join(err, k.retire(ctx, owner.GetNamespace(), name))
		}
	}
	return err
}

// retire gives a GeneratorState its deadline. That it is gone is no error.
func (k *Keeper) retire(ctx context.Context, namespace, name string) error {
	if name == "" {
		return nil
	}
	patch := fmt.Sprintf(`{"spec":{"garbageCollectionDeadline":%q}}`, k.Clock.Now().Add(k.Grace).UTC().Format(time.RFC3339))
	obj := &v1alpha1.GeneratorState{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	err := k.Client.Patch(ctx, obj, client.RawPatch(types.MergePatchType, []byte(patch)))
	return cluster.Error("write", client.IgnoreNotFound(err))
}

// leaseOf returns what a GeneratorState says.
func leaseOf(state *v1alpha1.GeneratorState) lease {
	l := lease{state: state.Name, renewable: state.Status.Renewable, told: true}
	if s := state.Spec.State; s != nil && string(s.Raw) != nothing {
		l.left = s.Raw
	}
	if e := state.Status.Expires; e != nil {
		l.expires = e.Time
	}
	if d := state.Status.Lifetime; d != nil {
		l.lifetime = d.Duration
	}
	return l
}

// madeBy returns the version of the generator that a GeneratorState keeps; empty if it
// does not say.
func madeBy(state *v1alpha1.GeneratorState) string {
	if state.Spec.Resource == nil {
		return ""
	}
	object, _, err := decode(state.Spec.Resource.Raw)
	if err != nil || object.GetUID() == "" {
		return ""
	}
	return version(object)
}
