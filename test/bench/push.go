package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	"github.com/keyferry/keyferry/api/externalsecrets/v1alpha1"
	"github.com/keyferry/keyferry/provider"
)

func pushedTo(namespace string, i int) string { return fmt.Sprintf("%s/%05d", namespace, i) }

// pushSecrets measures PushSecrets of one Secret and one new key each.
func pushSecrets(ctx context.Context, b *bench) error {
	var err error
	if b.bao, err = newBao(ctx); err != nil {
		return err
	}
	for _, policy := range []v1alpha1.PushSecretDeletionPolicy{v1alpha1.PushSecretDeletionPolicyNone, v1alpha1.PushSecretDeletionPolicyDelete} {
		fmt.Printf("push: %d PushSecrets of one key each, deletionPolicy %s\n", b.n, policy)
		ratio, err := b.push(ctx, policy)
		if err != nil {
			return err
		}
		b.bar(ratio >= atLeast, "from nothing at %.2f of the bare client, at least %.2f", ratio, atLeast)
	}
	return nil
}

// push measures the first sync with a deletion policy, against a client, and a refresh
// that finds all unchanged.
func (b *bench) push(ctx context.Context, policy v1alpha1.PushSecretDeletionPolicy) (ratio float64, err error) {
	namespace := "cold-" + strings.ToLower(string(policy))
	work := pushing{b, "bare-" + strings.ToLower(string(policy)), policy}
	for _, ns := range []string{namespace, work.namespace} {
		if err := b.seedPush(ctx, ns, policy); err != nil {
			return 0, err
		}
	}
	client, err := b.newBare(ctx, work.namespace, b.watchPushSecrets, work.one)
	if err != nil {
		return 0, err
	}
	seen, err := b.watchPushSecrets(ctx, namespace)
	if err != nil {
		return 0, err
	}
	p, ratio, err := client.beside(ctx, b, seen, namespace)
	if err != nil {
		return 0, err
	}
	defer p.stop()
	return ratio, b.again(ctx, p, seen, namespace)
}

// again has all PushSecrets refreshed, and holds that to what it may cost.
func (b *bench) again(ctx context.Context, p *process, seen *ready, namespace string) error {
	counts, err := p.counts(ctx)
	if err != nil {
		return err
	}
	before, err := b.stored(ctx, namespace)
	if err != nil {
		return err
	}
	err = b.force(ctx, p, seen, func(i int) client.Object {
		return &v1alpha1.PushSecret{ObjectMeta: meta(namespace, objectName(i))}
	})
	if err != nil {
		return err
	}
	now, err := p.counts(ctx)
	if err != nil {
		return err
	}
	after, err := b.stored(ctx, namespace)
	if err != nil {
		return err
	}
	b.unchanged(now.since(counts), before, after)
	return nil
}

// unchanged holds a refresh that had nothing to write to what it may cost.
func (b *bench) unchanged(made counters, before, after []string) {
	other := 0
	for i := range before {
		if before[i] != after[i] {
			other++
		}
	}
	writes := made.sum(storeCalls, `call="WriteSecretData"`) + made.sum(storeCalls, `call="DeleteSecret"`)
	reads := made.sum(storeCalls) - writes
	b.bar(writes == 0 && other == 0, "unchanged refresh: %.0f store writes, %d of %d keys changed at the store, none allowed", writes, other, b.n)
	b.bar(reads <= float64(b.n), "unchanged refresh: %.0f store reads of %d keys", reads, b.n)
}

// stored is what the store says of the keys of a namespace: versions, times and marks. It
// fails if one has not exactly one version with the mark.
func (b *bench) stored(ctx context.Context, namespace string) ([]string, error) {
	out := make([]string, b.n)
	return out, each(ctx, 0, b.n, func(ctx context.Context, i int) error {
		var raw json.RawMessage
		if err := b.bao.do(ctx, http.MethodGet, "metadata/"+pushedTo(namespace, i), nil, &raw); err != nil {
			return err
		}
		var data struct {
			Version int               `json:"current_version"`
			Custom  map[string]string `json:"custom_metadata"`
		}
		if err := json.Unmarshal(raw, &data); err != nil || data.Version != 1 || data.Custom[provider.Mark] != provider.ManagedBy {
			return fmt.Errorf("%s is not there with one version and the mark", pushedTo(namespace, i))
		}
		out[i] = string(raw)
		return nil
	})
}

// seedPush makes a namespace with its Secrets and PushSecrets.
func (b *bench) seedPush(ctx context.Context, namespace string, policy v1alpha1.PushSecretDeletionPolicy) error {
	if err := b.create(ctx, b.bao.objects(namespace)...); err != nil {
		return err
	}
	return each(ctx, 0, b.n, func(ctx context.Context, i int) error {
		return b.create(ctx,
			secretOf(namespace, objectName(i), map[string]string{"password": fmt.Sprintf("password-%d", i)}),
			&v1alpha1.PushSecret{
				ObjectMeta: meta(namespace, objectName(i)),
				Spec: v1alpha1.PushSecretSpec{
					DeletionPolicy:  policy,
					SecretStoreRefs: []v1alpha1.PushSecretStoreRef{{Name: "bao", Kind: v1.SecretStoreKind}},
					Selector:        v1alpha1.PushSecretSelector{Secret: &v1alpha1.PushSecretSecret{Name: objectName(i)}},
					Data:            []v1alpha1.PushSecretData{pushedData(namespace, i)},
				},
			})
	})
}

func pushedData(namespace string, i int) v1alpha1.PushSecretData {
	return v1alpha1.PushSecretData{Match: v1alpha1.PushSecretMatch{
		SecretKey: "password", RemoteRef: v1alpha1.PushSecretRemoteRef{RemoteKey: pushedTo(namespace, i), Property: "password"},
	}}
}

// pushing is the work of a bare client on PushSecrets.
type pushing struct {
	*bench
	namespace string
	policy    v1alpha1.PushSecretDeletionPolicy
}

// one reads a Secret and the key, marks the key, writes its first version and patches a
// status. What will have to be deleted it writes down before, and adds a finalizer.
func (w pushing) one(ctx context.Context, i int) error {
	var source corev1.Secret
	if err := w.api.Get(ctx, client.ObjectKey{Namespace: w.namespace, Name: objectName(i)}, &source); err != nil {
		return err
	}
	key := pushedTo(w.namespace, i)
	ps := &v1alpha1.PushSecret{ObjectMeta: meta(w.namespace, objectName(i))}
	status := v1alpha1.PushSecretStatus{
		SyncedPushSecrets: map[string]map[string]v1alpha1.PushSecretData{"SecretStore/bao": {key + "/password": pushedData(w.namespace, i)}},
	}
	if w.policy == v1alpha1.PushSecretDeletionPolicyDelete {
		finalizer := fmt.Sprintf(`{"metadata":{"finalizers":[%q]}}`, v1alpha1.PushSecretFinalizer)
		if err := w.api.Patch(ctx, ps.DeepCopy(), client.RawPatch(types.MergePatchType, []byte(finalizer))); err != nil {
			return err
		}
		if err := w.patchStatus(ctx, ps.DeepCopy(), status); err != nil {
			return err
		}
	}
	if err := w.write(ctx, key, string(source.Data["password"])); err != nil {
		return err
	}
	now := metav1.Now().Rfc3339Copy()
	status.RefreshTime, status.SyncedResourceVersion, status.ObservedGeneration = now, "1-bare", 1
	status.Conditions = []v1alpha1.PushSecretStatusCondition{{
		Type: v1alpha1.PushSecretReady, Status: "True", Reason: v1alpha1.ReasonSynced, Message: "PushSecret synced successfully", LastTransitionTime: now,
	}}
	return w.patchStatus(ctx, ps, status)
}

// write makes the first version of a key that nobody has.
func (w pushing) write(ctx context.Context, key, password string) error {
	if err := w.bao.do(ctx, http.MethodGet, "data/"+key, nil, nil); err != nil {
		return err
	}
	mark := map[string]any{"custom_metadata": map[string]string{provider.Mark: provider.ManagedBy}}
	if err := w.bao.do(ctx, http.MethodPost, "metadata/"+key, mark, nil); err != nil {
		return err
	}
	content := map[string]any{"data": map[string]string{"password": password}, "options": map[string]int{"cas": 0}}
	return w.bao.do(ctx, http.MethodPost, "data/"+key, content, nil)
}
