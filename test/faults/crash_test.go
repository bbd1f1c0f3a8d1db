package faults_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	esv1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	"github.com/keyferry/keyferry/api/externalsecrets/v1alpha1"
	esmeta "github.com/keyferry/keyferry/api/meta/v1"
	"github.com/keyferry/keyferry/internal/testenv"
)

const (
	kills  = 200
	series = 4 // after each series of kills everything must converge
	pushes = 10
)

// crash is a world whose PushSecrets change all the time.
type crash struct {
	*world
	bao    *testenv.Bao
	trap   *trap
	mounts map[string]string // of the stores, by name
	before map[string]string // what was in the mounts before, by path

	mu     sync.Mutex
	random *rand.Rand
	steps  int
}

func TestAControllerThatIsKilledLosesTrackOfNothingItPushed(t *testing.T) {
	c := newCrash(t)
	begin := time.Now()
	reached := map[string]int{}
	for range series {
		stop := c.unrest()
		for range kills / series {
			reached[c.round()]++
		}
		stop()
		c.converge()
	}
	took := time.Since(begin)
	for _, what := range slices.Sorted(maps.Keys(reached)) {
		t.Logf("%3d killed %s", reached[what], what)
	}
	t.Logf("%d kills and %d changes of the specs in %s", kills, c.steps, took.Round(time.Second))
	if n := reached[points[0].name]; n < kills/20 {
		t.Errorf("killed %d times between a write and its report: that is not what this is for", n)
	}
	c.removeAll()
}

func TestAnObjectThatIsGoneBeforeItHasItsFinalizerPushesNothing(t *testing.T) {
	c := newCrash(t)
	gone := pushName(0)
	for i := range pushes {
		if i > 0 {
			c.remove(pushName(i))
		}
	}
	c.trap.arm(point{of: finalizes, before: true}, 1, func() bool { c.remove(gone); return true })
	p := startController(t, c.trap.kubeconfig, c.args()...)
	eventually(t, time.Minute, func() string {
		if !c.trap.reached() {
			return "no finalizer was set"
		}
		return ""
	})
	c.trap.disarm()
	again := c.push(9, true) // what comes after it is pushed after it
	again.Name = "zz-" + again.Name
	c.create(again)
	eventually(t, time.Minute, func() string {
		var ps v1alpha1.PushSecret
		if err := c.api.Get(t.Context(), client.ObjectKeyFromObject(again), &ps); err != nil || pushReady(&ps).Status != corev1.ConditionTrue {
			return fmt.Sprintf("%s: %v %s", again.Name, err, pushReady(&ps).Message)
		}
		return ""
	})
	if diff := cmp.Diff(c.wanted(), c.held("data")); diff != "" {
		t.Errorf("the stores hold something else than the specs say (-want +got):\n%s", diff)
	}
	c.remove(again.Name)
	eventually(t, time.Minute, func() string { return cmp.Diff(c.before, c.held("metadata")) })
	p.kill()
}

func (c *crash) remove(name string) {
	ps := &v1alpha1.PushSecret{ObjectMeta: c.meta(name)}
	if err := c.api.Delete(c.t.Context(), ps); err != nil {
		c.t.Error(err)
	}
}

func newCrash(t *testing.T) *crash {
	t.Helper()
	w, bao := newWorld(t, testenv.Cluster(t)), testenv.OpenBao(t)
	seed := rand.Uint64()
	t.Logf("the seed is %d", seed)
	c := &crash{world: w, bao: bao, trap: newTrap(t, w.plane, bao), random: rand.New(rand.NewPCG(seed, 0))}
	c.mounts = map[string]string{"one": w.namespace + "-one", "two": w.namespace + "-two"}
	w.create(&corev1.Secret{ObjectMeta: w.meta("bao-token"), StringData: map[string]string{"token": bao.RootToken}})
	for name, mount := range c.mounts {
		c.do(http.MethodPost, "sys/mounts/"+mount, map[string]any{"type": "kv", "options": map[string]string{"version": "2"}})
		eventually(t, time.Minute, func() string { // a new KV v2 needs a moment
			if _, err := bao.Do(t.Context(), http.MethodGet, mount+"/config", nil); err != nil {
				return err.Error()
			}
			return ""
		})
		for _, key := range []string{"foreign", "folder/foreign", "own-9-9"} {
			c.do(http.MethodPost, mount+"/data/"+key, map[string]any{"data": map[string]string{"v": "theirs", "a0": "theirs"}})
		}
		w.create(&esv1.SecretStore{ObjectMeta: w.meta(name), Spec: esv1.SecretStoreSpec{Provider: &esv1.SecretStoreProvider{Vault: &esv1.VaultProvider{
			Server: c.trap.store, Path: &mount, Version: esv1.VaultKVStoreV2,
			Auth: &esv1.VaultAuth{TokenSecretRef: &esmeta.SecretKeySelector{Name: "bao-token", Key: "token"}},
		}}}})
	}
	c.before = c.held("metadata")
	for i := range pushes {
		w.create(c.source(i), c.push(i, false))
	}
	return c
}

func (c *crash) do(method, path string, body any) []byte {
	c.t.Helper()
	answer, err := c.bao.Do(c.t.Context(), method, path, body)
	if err != nil {
		c.t.Fatal(err)
	}
	return answer
}

// n is a random number below limit.
func (c *crash) n(limit int) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.random.IntN(limit)
}

func pushName(i int) string { return fmt.Sprintf("push-%d", i) }

// source is the Secret that the i-th PushSecret pushes, with values it never had.
func (c *crash) source(i int) *corev1.Secret {
	data := map[string]string{}
	for k := range 4 {
		data[fmt.Sprintf("k%d", k)] = fmt.Sprintf("value %d of %d, %d", k, i, c.n(1_000_000))
	}
	return &corev1.Secret{ObjectMeta: c.meta(pushName(i)), StringData: data}
}

// push is what the i-th PushSecret could be. The first two push properties of one
// secret, the next two want the same keys, the others have keys of their own. At
// peace none wants what another has or what is foreign.
func (c *crash) push(i int, peace bool) *v1alpha1.PushSecret {
	ps := &v1alpha1.PushSecret{ObjectMeta: c.meta(pushName(i)), Spec: v1alpha1.PushSecretSpec{
		DeletionPolicy: v1alpha1.PushSecretDeletionPolicyDelete,
		Selector:       v1alpha1.PushSecretSelector{Secret: &v1alpha1.PushSecretSecret{Name: pushName(i)}},
	}}
	stores := [][]string{{"one"}, {"two"}, {"one", "two"}}[c.n(3)]
	for _, name := range stores {
		ps.Spec.SecretStoreRefs = append(ps.Spec.SecretStoreRefs, v1alpha1.PushSecretStoreRef{Name: name})
	}
	keys := rand.New(rand.NewPCG(uint64(c.n(1_000_000)), 0)).Perm(4)[:1+c.n(3)]
	for _, k := range keys {
		switch {
		case i < 2:
			ps.Spec.Data = append(ps.Spec.Data, entry(k, "shared", fmt.Sprintf("%c%d", 'a'+i, k)))
		case i < 4 && (!peace || k%2 == i%2):
			ps.Spec.Data = append(ps.Spec.Data, entry(k, fmt.Sprintf("pool-%d", k), "v"))
		case i < 4:
			ps.Spec.Data = append(ps.Spec.Data, entry(k, fmt.Sprintf("own-%d-%d", i, k), "v"))
		default:
			ps.Spec.Data = append(ps.Spec.Data, c.own(i, k)...)
		}
	}
	if !peace && c.n(8) == 0 {
		ps.Spec.Data = append(ps.Spec.Data, entry(0, "foreign", "mine"))
	}
	return ps
}

// own is a key of the i-th PushSecret: all of the source, one property, or two.
func (c *crash) own(i, k int) []v1alpha1.PushSecretData {
	key := fmt.Sprintf("folder/own-%d-%d", i, k)
	switch c.n(3) {
	case 0:
		d := entry(0, key, "")
		d.Match.SecretKey = ""
		return []v1alpha1.PushSecretData{d}
	case 1:
		return []v1alpha1.PushSecretData{entry(k, key, "v"), entry(k, key, "w")}
	}
	return []v1alpha1.PushSecretData{entry(k, key, "v")}
}

func entry(k int, key, property string) v1alpha1.PushSecretData {
	var d v1alpha1.PushSecretData
	d.Match.SecretKey = fmt.Sprintf("k%d", k)
	d.Match.RemoteRef = v1alpha1.PushSecretRemoteRef{RemoteKey: key, Property: property}
	return d
}

// round runs a controller until it is killed, and says where that was.
func (c *crash) round() string {
	c.t.Helper()
	p := launch(c.t, c.trap.kubeconfig, c.args()...)
	defer p.kill()
	at, nth, kill := points[c.n(len(points))], 1+c.n(6), func() bool { _ = p.cmd.Process.Kill(); return false }
	if c.n(4) == 0 {
		delay := time.Duration(c.n(300)) * time.Millisecond
		now := kill
		at, nth, kill = anyTime, 1, func() bool { time.AfterFunc(delay, func() { now() }); return true }
	}
	c.trap.arm(at, nth, kill)
	defer c.trap.disarm()
	idle := time.NewTimer(1500 * time.Millisecond)
	defer idle.Stop()
	select {
	case <-p.done:
		if !c.trap.reached() {
			c.t.Fatalf("the controller ended by itself:\n%s", tail(p.log.String(), 4000))
		}
		return at.name
	case <-idle.C:
		return "a while after its start"
	}
}

// anyTime is followed by a delay.
var anyTime = point{name: "within 300ms of its first request to a store", of: asksStore}

func (c *crash) args() []string {
	return []string{"--namespace=" + c.namespace, "--egress-allow=127.0.0.0/8", "--enable-flood-gate=false"}
}

// unrest changes specs and sources until what it returns is called.
func (c *crash) unrest() (stop func()) {
	ctx, cancel := context.WithCancel(c.t.Context())
	ended := make(chan error, 1)
	go func() {
		for ctx.Err() == nil {
			if err := c.change(ctx, c.n(pushes)); err != nil && ctx.Err() == nil {
				ended <- err
				return
			}
			select {
			case <-time.After(time.Duration(5+c.n(60)) * time.Millisecond):
			case <-ctx.Done():
			}
		}
		ended <- nil
	}()
	return func() {
		cancel()
		if err := <-ended; err != nil {
			c.t.Fatal(err)
		}
	}
}

// change changes one PushSecret or its source.
func (c *crash) change(ctx context.Context, i int) error {
	c.steps++
	switch n := c.n(20); {
	case n < 11:
		return c.have(ctx, c.push(i, false))
	case n < 17:
		return c.have(ctx, c.source(i))
	case n < 18:
		return client.IgnoreNotFound(c.api.Delete(ctx, c.source(i)))
	}
	return client.IgnoreNotFound(c.api.Delete(ctx, c.push(i, false)))
}

// have makes an object so, unless it is just being deleted.
func (c *crash) have(ctx context.Context, o client.Object) error {
	patch, err := json.Marshal(o)
	if err != nil {
		return err
	}
	made, _ := o.DeepCopyObject().(client.Object)
	if err = c.api.Create(ctx, made); apierrors.IsAlreadyExists(err) {
		err = client.IgnoreNotFound(c.api.Patch(ctx, o, client.RawPatch(types.MergePatchType, patch)))
	}
	return err
}

// converge lets a controller run until the stores hold what the specs say and
// nothing else.
func (c *crash) converge() {
	c.t.Helper()
	p := launch(c.t, c.trap.kubeconfig, c.args()...)
	defer p.kill()
	begin := time.Now()
	for i := range pushes {
		if err := c.have(c.t.Context(), c.source(i)); err != nil {
			c.t.Fatal(err)
		}
		wanted := c.push(i, true)
		eventually(c.t, time.Minute, func() string {
			if err := c.have(c.t.Context(), wanted.DeepCopy()); err != nil {
				return err.Error()
			}
			var got v1alpha1.PushSecret
			if err := c.api.Get(c.t.Context(), client.ObjectKeyFromObject(wanted), &got); err != nil || got.DeletionTimestamp != nil {
				return fmt.Sprintf("PushSecret %s is not there: %v %s", wanted.Name, err, pushReady(&got).Message)
			}
			return ""
		})
	}
	eventually(c.t, time.Minute, c.notSynced)
	eventually(c.t, 10*time.Second, func() string { return cmp.Diff(c.wanted(), c.held("data")) })
	c.t.Logf("converged %s after a start", time.Since(begin).Round(time.Millisecond))
	c.theirs()
}

// notSynced says what the PushSecrets say of themselves that is not right yet.
func (c *crash) notSynced() string {
	var list v1alpha1.PushSecretList
	if err := c.api.List(c.t.Context(), &list, client.InNamespace(c.namespace)); err != nil {
		c.t.Fatal(err)
	}
	var missing []string
	for _, ps := range list.Items {
		condition := pushReady(&ps)
		if condition.Status != corev1.ConditionTrue || ps.Status.ObservedGeneration != ps.Generation {
			missing = append(missing, fmt.Sprintf("%s: %s %s", ps.Name, condition.Status, condition.Message))
			continue
		}
		got, want := map[string]bool{}, map[string]bool{}
		for store, places := range ps.Status.SyncedPushSecrets {
			for id := range places {
				got[store+" "+id] = true
			}
		}
		for _, ref := range ps.Spec.SecretStoreRefs {
			for _, d := range ps.Spec.Data {
				want["SecretStore/"+ref.Name+" "+strings.TrimSuffix(d.Match.RemoteRef.RemoteKey+"/"+d.Match.RemoteRef.Property, "/")] = true
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			missing = append(missing, ps.Name+" has another record: "+diff)
		}
	}
	return strings.Join(missing, "\n")
}

// wanted is what the stores should hold by the specs, as held returns it.
func (c *crash) wanted() map[string]string {
	c.t.Helper()
	content := map[string]map[string]string{}
	for path := range c.before {
		content[path] = map[string]string{"v": "theirs", "a0": "theirs"}
	}
	var list v1alpha1.PushSecretList
	if err := c.api.List(c.t.Context(), &list, client.InNamespace(c.namespace)); err != nil {
		c.t.Fatal(err)
	}
	for _, ps := range list.Items {
		var source corev1.Secret
		if err := c.api.Get(c.t.Context(), client.ObjectKey{Namespace: c.namespace, Name: ps.Spec.Selector.Secret.Name}, &source); err != nil {
			c.t.Fatal(err)
		}
		for _, ref := range ps.Spec.SecretStoreRefs {
			for _, d := range ps.Spec.Data {
				path := c.mounts[ref.Name] + "/" + d.Match.RemoteRef.RemoteKey
				if content[path] == nil {
					content[path] = map[string]string{}
				}
				maps.Copy(content[path], part(d, &source))
			}
		}
	}
	out := map[string]string{}
	for path, members := range content {
		out[path] = text(c.t, members)
	}
	return out
}

// part is what one entry brings into its key.
func part(d v1alpha1.PushSecretData, source *corev1.Secret) map[string]string {
	if k := d.Match.SecretKey; k != "" {
		return map[string]string{d.Match.RemoteRef.Property: string(source.Data[k])}
	}
	out := map[string]string{}
	for k, v := range source.Data {
		out[k] = string(v)
	}
	return out
}

func text(t *testing.T, v any) string {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// held is everything in the mounts, by path: the data, or the metadata, of each key.
// A key without data, such as one that is only marked, is there too.
func (c *crash) held(api string) map[string]string {
	c.t.Helper()
	out := map[string]string{}
	for _, mount := range c.mounts {
		for _, key := range c.keys(mount, "") {
			var answer struct {
				Data json.RawMessage
			}
			raw, err := c.bao.Do(c.t.Context(), http.MethodGet, mount+"/"+api+"/"+key, nil)
			if err != nil {
				out[mount+"/"+key] = "nothing"
				continue
			}
			if err := json.Unmarshal(raw, &answer); err != nil {
				c.t.Fatal(err)
			}
			if api == "data" {
				var inner struct{ Data map[string]string }
				if err := json.Unmarshal(answer.Data, &inner); err != nil {
					c.t.Fatal(err)
				}
				answer.Data = json.RawMessage(text(c.t, inner.Data))
			}
			out[mount+"/"+key] = string(answer.Data)
		}
	}
	return out
}

// keys lists a folder of a mount and those below it.
func (c *crash) keys(mount, folder string) []string {
	c.t.Helper()
	raw, err := c.bao.Do(c.t.Context(), "LIST", mount+"/metadata/"+folder, nil)
	if err != nil {
		return nil // an empty folder is none
	}
	var answer struct{ Data struct{ Keys []string } }
	if err := json.Unmarshal(raw, &answer); err != nil {
		c.t.Fatal(err)
	}
	var out []string
	for _, key := range answer.Data.Keys {
		if strings.HasSuffix(key, "/") {
			out = append(out, c.keys(mount, folder+key)...)
		} else {
			out = append(out, folder+key)
		}
	}
	return out
}

// theirs fails if what was in the mounts before is not as it was, with every version.
func (c *crash) theirs() {
	c.t.Helper()
	now := c.held("metadata")
	for path, metadata := range c.before {
		if now[path] != metadata {
			c.t.Errorf("%s, which is not ours, is now %s and was %s", path, now[path], metadata)
		}
	}
}

// removeAll deletes the PushSecrets while controllers are killed, and then expects
// the stores as they were before.
func (c *crash) removeAll() {
	c.t.Helper()
	if err := c.api.DeleteAllOf(c.t.Context(), &v1alpha1.PushSecret{}, client.InNamespace(c.namespace)); err != nil {
		c.t.Fatal(err)
	}
	for range 5 {
		c.round()
	}
	p := launch(c.t, c.trap.kubeconfig, c.args()...)
	defer p.kill()
	eventually(c.t, time.Minute, func() string {
		var list v1alpha1.PushSecretList
		if err := c.api.List(c.t.Context(), &list, client.InNamespace(c.namespace)); err != nil {
			c.t.Fatal(err)
		}
		for _, ps := range list.Items {
			return ps.Name + " is still there: " + pushReady(&ps).Message
		}
		return ""
	})
	if diff := cmp.Diff(c.before, c.held("metadata")); diff != "" {
		c.t.Errorf("deletion left something else than what was there before (-before +now):\n%s", diff)
	}
}

func pushReady(ps *v1alpha1.PushSecret) v1alpha1.PushSecretStatusCondition {
	for _, c := range ps.Status.Conditions {
		if c.Type == v1alpha1.PushSecretReady {
			return c
		}
	}
	return v1alpha1.PushSecretStatusCondition{Status: "missing"}
}
