package faults_test

import (
	"context"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	esv1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	"github.com/keyferry/keyferry/internal/testenv"
)

func readyObject(o runtime.Object) bool {
	es, ok := o.(*esv1.ExternalSecret)
	return ok && isReady(es)
}

// stored is what the store has for the i-th object.
func (w *world) stored(i int) map[string]string { return content(w.namespace + "/" + objectName(i)) }

func TestAControllerThatIsKilledWritesNothingTwice(t *testing.T) {
	const n = 1000
	w := newWorld(t, testenv.Cluster(t))
	bao := testenv.OpenBao(t)
	w.bao(bao, bao.RootToken)
	w.populate(bao, n, nil)
	objects, secrets := w.history(&esv1.ExternalSecretList{}), w.history(&corev1.SecretList{})
	for _, share := range []int{n / 3, n * 2 / 3} {
		p := w.start()
		objects.until(t, share, readyObject)
		p.kill()
		left := n - objects.count(readyObject)
		if left == 0 {
			t.Fatalf("the controller was done before it was killed at %d", share)
		}
		t.Logf("killed with %d of %d objects not Ready", left, n)
	}
	begin := time.Now()
	w.start()
	objects.until(t, n, readyObject)
	t.Logf("converged %s after the last start", time.Since(begin).Round(time.Millisecond))
	w.sameData(w.stored)
	for name, count := range secrets.types() {
		if name != "bao-token" && (count[watch.Added] != 1 || count[watch.Modified] != 0 || count[watch.Deleted] != 0) {
			t.Errorf("Secret %s was written more than once: %v", name, count)
		}
	}
}

func TestAnOutageOfTheStoreChangesNoSecret(t *testing.T) {
	const n = 30
	w := newWorld(t, testenv.Cluster(t))
	bao := testenv.StartOpenBao(t)
	w.bao(bao, bao.RootToken)
	w.populate(bao, n, func(i int, es *esv1.ExternalSecret) {
		es.Spec.RefreshInterval = &metav1.Duration{Duration: time.Second}
		switch i % 3 {
		case 1:
			es.Spec.Target = esv1.ExternalSecretTarget{DeletionPolicy: esv1.DeletionPolicyDelete}
		case 2:
			es.Spec.Target = esv1.ExternalSecretTarget{DeletionPolicy: esv1.DeletionPolicyMerge}
		}
	})
	p := w.start()
	eventually(t, time.Minute, func() string { return w.notReady(n, isReady) })
	before := w.targets()
	unavailable := func(es *esv1.ExternalSecret) bool {
		c := ready(es)
		return c.Status == corev1.ConditionFalse && c.Reason == esv1.ConditionReasonSecretSyncedError && strings.HasPrefix(c.Message, "Unavailable: ")
	}
	bao.Stop()
	eventually(t, time.Minute, func() string { return w.notReady(n, unavailable) })
	p.kill() // a start during the outage is no reason to doubt what is there
	p = w.start()
	eventually(t, time.Minute, func() string {
		if p.sum(t, "externalsecret_sync_calls_error") < n {
			return "not every object was tried again"
		}
		return w.notReady(n, unavailable)
	})
	w.untouched(before)
	back := time.Now().Truncate(time.Second) // as a status has it
	if err := bao.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	put(t, bao, w.namespace+"/"+objectName(0), map[string]string{"user": "new", "password": "newer"})
	eventually(t, time.Minute-time.Since(back), func() string {
		return w.notReady(n, func(es *esv1.ExternalSecret) bool { return isReady(es) && !es.Status.RefreshTime.Time.Before(back) })
	})
	t.Logf("all fresh %s after the store was back", time.Since(back).Round(time.Millisecond))
	eventually(t, time.Minute-time.Since(back), func() string {
		if s := w.targets()[objectName(0)]; string(s.Data["user"]) != "new" {
			return "the Secret has not the new value"
		}
		return ""
	})
}

// untouched fails for every Secret that is not as it was.
func (w *world) untouched(before map[string]corev1.Secret) {
	w.t.Helper()
	after := w.targets()
	for name, old := range before {
		if now, ok := after[name]; !ok || now.ResourceVersion != old.ResourceVersion {
			w.t.Errorf("Secret %s was touched", name)
		}
	}
}

func TestAWrongTokenIsToldAndCorrectedAtOnce(t *testing.T) {
	for name, gate := range map[string]string{"with the flood gate": "true", "without it": "false"} {
		t.Run(name, func(t *testing.T) {
			const n = 50
			w := newWorld(t, testenv.Cluster(t))
			bao := testenv.OpenBao(t)
			w.bao(bao, "s.wrong")
			w.populate(bao, n, nil)
			p := w.start("--enable-flood-gate=" + gate)
			refused := func(message string) bool {
				return strings.HasPrefix(message, "Unauthenticated: ") && strings.Contains(message, "correct the credential")
			}
			eventually(t, time.Minute, func() string {
				return w.notReady(n, func(es *esv1.ExternalSecret) bool {
					return ready(es).Status == corev1.ConditionFalse && refused(ready(es).Message)
				})
			})
			eventually(t, time.Minute, func() string {
				var s esv1.SecretStore
				if err := w.api.Get(t.Context(), client.ObjectKey{Namespace: w.namespace, Name: "bao"}, &s); err != nil {
					return err.Error()
				}
				for _, c := range s.Status.Conditions {
					if c.Type == esv1.SecretStoreReady && c.Status == corev1.ConditionFalse && refused(c.Message) {
						return ""
					}
				}
				return "the store does not say that the token is wrong"
			})
			if calls := p.sum(t, "externalsecret_provider_api_calls_count"); calls == 0 || calls > 10 {
				t.Errorf("%v calls to the store with a wrong token, for %d objects", calls, n)
			}
			begin := time.Now()
			w.patch(&corev1.Secret{ObjectMeta: w.meta("bao-token")}, `{"stringData":{"token":"`+bao.RootToken+`"}}`)
			eventually(t, 10*time.Second, func() string { return w.notReady(n, isReady) })
			t.Logf("all %d Ready %s after the correction", n, time.Since(begin).Round(time.Millisecond))
			w.sameData(w.stored)
		})
	}
}

func (w *world) patch(o client.Object, merge string) {
	w.t.Helper()
	if err := w.api.Patch(w.t.Context(), o, client.RawPatch(types.MergePatchType, []byte(merge))); err != nil {
		w.t.Fatal(err)
	}
}

func TestAnAPIServerThatIsKilledUnderLoadLosesNothing(t *testing.T) {
	const n, edited = 300, 50
	plane := testenv.StartCluster(t)
	w := newWorld(t, plane)
	bao := testenv.OpenBao(t)
	w.bao(bao, bao.RootToken)
	w.populate(bao, n, nil)
	for i := range edited {
		put(t, bao, w.namespace+"/edited-"+objectName(i), content("edited "+objectName(i)))
	}
	objects := w.history(&esv1.ExternalSecretList{})
	p := w.start()
	objects.until(t, n/3, readyObject)
	if err := plane.KillAPIServer(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Logf("killed with %d of %d objects not Ready", n-objects.count(readyObject), n)
	if err := plane.WaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	each(t, edited, func(ctx context.Context, i int) error {
		es := w.external(objectName(i), w.namespace+"/edited-"+objectName(i))
		merge := client.MergeFrom(w.external(objectName(i), w.namespace+"/"+objectName(i)))
		return w.api.Patch(ctx, es, merge)
	})
	if err := plane.KillAPIServer(t.Context()); err != nil { // while the edits are acted on
		t.Fatal(err)
	}
	if err := plane.WaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	eventually(t, 2*time.Minute, func() string { return w.notReady(n, isReady) })
	t.Logf("converged %s after the API server was ready", time.Since(begin).Round(time.Millisecond))
	w.sameData(func(i int) map[string]string {
		if i < edited {
			return content("edited " + objectName(i))
		}
		return w.stored(i)
	})
	if !p.alive() {
		t.Error("the controller ended with the API server")
	}
}
