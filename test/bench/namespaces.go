package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
)

const (
	// groups is how many ClusterExternalSecrets there are; each selects one label.
	groups = 20
	// single and burst are how many namespaces get their label one after the other, and
	// at once.
	single, burst = 200, 500
)

func groupName(g int) string { return fmt.Sprintf("group-%02d", g%groups) }

func groupLabel(g int) string { return "bench.keyferry/" + groupName(g) }

// namespaces measures ClusterExternalSecrets whose children read one shared store.
func namespaces(ctx context.Context, b *bench) error {
	children, err := b.seedNamespaces(ctx)
	if err != nil {
		return err
	}
	fmt.Printf("namespaces: %d ClusterExternalSecrets, %d namespaces, %d ExternalSecrets wanted in them\n", groups, b.n, children)
	seen, err := watchReady(ctx, b.api, &corev1.SecretList{}, func(*corev1.Secret) string { return "there" }, client.MatchingLabels{v1.LabelManaged: v1.LabelManagedValue})
	if err != nil {
		return err
	}
	began := time.Now()
	p, _, err := b.cold(ctx, seen, children, "")
	if err != nil {
		return err
	}
	defer p.stop()
	fmt.Printf("  all Secrets are there after %7.2f s\n", time.Since(began).Seconds())
	counts, err := b.calm(ctx, p)
	if err != nil {
		return err
	}
	for _, step := range []struct {
		what string
		n    int
		run  func(context.Context, *ready) ([]time.Duration, error)
	}{
		{"labels one after the other", single, b.labelSingly},
		{"labels at once", burst, b.labelAtOnce},
		{"a pass of every ClusterExternalSecret", b.n, b.pass},
	} {
		took, err := step.run(ctx, seen)
		if err != nil {
			return fmt.Errorf("%s: %w", step.what, err)
		}
		after, err := b.calm(ctx, p)
		if err != nil {
			return err
		}
		if len(took) > 0 {
			fmt.Printf("  %s, %d of them, until the Secret is there: %s\n", step.what, step.n, quantiles(took))
		}
		after.print(step.what, counts, step.n)
		lists := after.since(counts).sum(kubernetesCalls, `verb="list"`)
		b.bar(lists == 0, "%s: %.0f list calls, none allowed", step.what, lists)
		counts = after
	}
	p.usage("in all")
	p.stop()
	return b.restart(ctx, "", 20*time.Second)
}

// seedNamespaces makes the store, the ClusterExternalSecrets, the namespaces that they
// select and those that get their labels later. It returns how many children are wanted.
func (b *bench) seedNamespaces(ctx context.Context) (children int, err error) {
	err = b.create(ctx, &v1.ClusterSecretStore{
		ObjectMeta: meta("", "shared"),
		Spec: v1.SecretStoreSpec{Provider: &v1.SecretStoreProvider{Fake: &v1.FakeProvider{
			Data: []v1.FakeProviderData{{Key: "password", Value: "of-everybody"}},
		}}},
	})
	if err != nil {
		return 0, err
	}
	for g := range groups {
		if err := b.create(ctx, clusterExternal(g)); err != nil {
			return 0, err
		}
	}
	for i := range single + burst {
		if err := b.create(ctx, namespaceOf(lateName(i))); err != nil {
			return 0, err
		}
	}
	wanted := make([]int, b.n)
	err = each(ctx, 0, b.n, func(ctx context.Context, i int) error {
		ns := namespaceOf(objectName(i))
		ns.Labels = b.labels(i)
		wanted[i] = len(ns.Labels)
		return b.create(ctx, ns)
	})
	for _, n := range wanted {
		children += n
	}
	return children, err
}

// labels are those of a namespace: of one to three groups, or of all.
func (b *bench) labels(i int) map[string]string {
	out := map[string]string{groupLabel(i): "yes"}
	if i%2 == 0 {
		out[groupLabel(i+7)] = "yes"
	}
	if i%4 == 0 {
		out[groupLabel(i+13)] = "yes"
	}
	for g := 0; b.every && g < groups; g++ {
		out[groupLabel(g)] = "yes"
	}
	return out
}

func lateName(i int) string { return fmt.Sprintf("late-%05d", i) }

func clusterExternal(g int) *v1.ClusterExternalSecret {
	return &v1.ClusterExternalSecret{
		ObjectMeta: meta("", groupName(g)),
		Spec: v1.ClusterExternalSecretSpec{
			NamespaceSelectors: []*metav1.LabelSelector{{MatchLabels: map[string]string{groupLabel(g): "yes"}}},
			ExternalSecretSpec: v1.ExternalSecretSpec{
				SecretStoreRef: v1.SecretStoreRef{Name: "shared", Kind: v1.ClusterSecretStoreKind},
				Data:           []v1.ExternalSecretData{{SecretKey: "password", RemoteRef: v1.ExternalSecretDataRemoteRef{Key: "password"}}},
			},
		},
	}
}

// calm waits until the controller makes no more calls, and returns its counts.
func (b *bench) calm(ctx context.Context, p *process) (counters, error) {
	before := counters{}
	for {
		now, err := p.counts(ctx)
		if err != nil || now.sum(kubernetesCalls) == before.sum(kubernetesCalls) {
			return now, err
		}
		before = now
		if err := wait(ctx, 2*time.Second); err != nil {
			return nil, err
		}
	}
}

// label gives a namespace its label and returns when that was asked for.
func (b *bench) label(ctx context.Context, i int) (time.Time, error) {
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"labels": map[string]string{groupLabel(i): "yes"}}})
	if err != nil {
		return time.Time{}, err
	}
	now := time.Now()
	return now, b.api.Patch(ctx, namespaceOf(lateName(i)), client.RawPatch(types.MergePatchType, patch))
}

// arrived waits for the Secret of a namespace and returns how long that took.
func (r *ready) arrived(ctx context.Context, i int, since time.Time) (time.Duration, error) {
	var at time.Time
	err := r.until(ctx, func() error {
		there, ok := r.reports[client.ObjectKey{Namespace: lateName(i), Name: groupName(i)}]
		if !ok {
			return fmt.Errorf("namespace %s has no Secret", lateName(i))
		}
		at = there.at
		return nil
	})
	return at.Sub(since), err
}

func (b *bench) labelSingly(ctx context.Context, seen *ready) ([]time.Duration, error) {
	took := make([]time.Duration, single)
	for i := range took {
		asked, err := b.label(ctx, i)
		if err != nil {
			return nil, err
		}
		if took[i], err = seen.arrived(ctx, i, asked); err != nil {
			return nil, err
		}
	}
	return took, nil
}

func (b *bench) labelAtOnce(ctx context.Context, seen *ready) ([]time.Duration, error) {
	asked := make([]time.Time, burst)
	g, inner := errgroup.WithContext(ctx)
	g.SetLimit(parallel)
	for i := range asked {
		g.Go(func() (err error) {
			asked[i], err = b.label(inner, single+i)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	took := make([]time.Duration, burst)
	for i := range took {
		var err error
		if took[i], err = seen.arrived(ctx, single+i, asked[i]); err != nil {
			return nil, err
		}
	}
	return took, nil
}

// pass has every ClusterExternalSecret looked at as a whole, with no child to change.
func (b *bench) pass(ctx context.Context, _ *ready) ([]time.Duration, error) {
	for g := range groups {
		patch := client.RawPatch(types.MergePatchType, []byte(`{"spec":{"refreshTime":"2h"}}`))
		if err := b.api.Patch(ctx, &v1.ClusterExternalSecret{ObjectMeta: meta("", groupName(g))}, patch); err != nil {
			return nil, err
		}
	}
	return nil, wait(ctx, 3*time.Second)
}

func quantiles(all []time.Duration) string {
	slices.Sort(all)
	at := func(q float64) time.Duration {
		return all[int(q*float64(len(all)-1))].Round(time.Millisecond)
	}
	return fmt.Sprintf("p50 %s, p90 %s, p99 %s, most %s", at(.5), at(.9), at(.99), at(1))
}
