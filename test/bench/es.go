package main

import (
	"context"
	"fmt"
	"net/http"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
)

// The namespaces of the two sides.
const (
	bareNamespace = "bare"
	coldNamespace = "cold"
)

// names are the properties of an object's three keys.
func names() []string { return []string{"user", "password", "host"} }

func key(i int, name string) string { return fmt.Sprintf("bench/%05d/%s", i, name) }

// externalSecrets measures ExternalSecrets of three keys each.
func externalSecrets(ctx context.Context, b *bench) error {
	fmt.Printf("es: %d ExternalSecrets of three keys each\n", b.n)
	if err := b.seedExternal(ctx); err != nil {
		return err
	}
	client, err := b.newBare(ctx, bareNamespace, b.watchExternalSecrets, b.bareExternal)
	if err != nil {
		return err
	}
	seen, err := b.watchExternalSecrets(ctx, coldNamespace)
	if err != nil {
		return err
	}
	p, ratio, err := client.beside(ctx, b, seen, coldNamespace)
	if err != nil {
		return err
	}
	defer p.stop()
	b.bar(ratio >= atLeast, "from nothing at %.2f of the bare client, at least %.2f", ratio, atLeast)
	return b.afterwards(ctx, p, seen)
}

// afterwards measures a controller that has nothing to do.
func (b *bench) afterwards(ctx context.Context, p *process, seen *ready) error {
	if err := b.rest(ctx, p); err != nil {
		return err
	}
	err := b.force(ctx, p, seen, func(i int) client.Object {
		return &v1.ExternalSecret{ObjectMeta: meta(coldNamespace, objectName(i))}
	})
	if err != nil {
		return err
	}
	p.stop()
	return b.restart(ctx, coldNamespace, 10*time.Second)
}

// seedExternal fills the store, and makes both namespaces with their ExternalSecrets.
func (b *bench) seedExternal(ctx context.Context) error {
	var err error
	if b.bao, err = newBao(ctx); err != nil {
		return err
	}
	err = each(ctx, 0, b.n, func(ctx context.Context, i int) error {
		for _, name := range names() {
			body := map[string]any{"data": map[string]string{"value": fmt.Sprintf("%s-%d", name, i)}}
			if err := b.bao.do(ctx, http.MethodPost, "data/"+key(i, name), body, nil); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, ns := range []string{bareNamespace, coldNamespace} {
		if err := b.create(ctx, b.bao.objects(ns)...); err != nil {
			return err
		}
		err := each(ctx, 0, b.n, func(ctx context.Context, i int) error {
			return b.create(ctx, external(ns, i, "bao", func(name string) v1.ExternalSecretDataRemoteRef {
				return v1.ExternalSecretDataRemoteRef{Key: key(i, name), Property: "value"}
			}))
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func external(namespace string, i int, store string, ref func(name string) v1.ExternalSecretDataRemoteRef) *v1.ExternalSecret {
	es := &v1.ExternalSecret{
		ObjectMeta: meta(namespace, objectName(i)),
		Spec:       v1.ExternalSecretSpec{SecretStoreRef: v1.SecretStoreRef{Name: store, Kind: v1.SecretStoreKind}},
	}
	for _, name := range names() {
		es.Spec.Data = append(es.Spec.Data, v1.ExternalSecretData{SecretKey: name, RemoteRef: ref(name)})
	}
	return es
}

// bareExternal reads three keys, creates a Secret and patches a status.
func (b *bench) bareExternal(ctx context.Context, i int) error {
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: bareNamespace, Name: objectName(i), Labels: map[string]string{v1.LabelManaged: v1.LabelManagedValue}},
		Data:       map[string][]byte{},
	}
	for _, name := range names() {
		var got struct{ Data map[string]string }
		if err := b.bao.do(ctx, http.MethodGet, "data/"+key(i, name), nil, &got); err != nil {
			return err
		}
		secret.Data[name] = []byte(got.Data["value"])
	}
	if err := b.api.Create(ctx, secret); err != nil {
		return err
	}
	now := metav1.Now().Rfc3339Copy()
	return b.patchStatus(ctx, &v1.ExternalSecret{ObjectMeta: meta(bareNamespace, secret.Name)}, v1.ExternalSecretStatus{
		RefreshTime: now, SyncedResourceVersion: "1-bare", Binding: corev1.LocalObjectReference{Name: secret.Name},
		Conditions: []v1.ExternalSecretStatusCondition{{Type: v1.ExternalSecretReady, Status: "True", Reason: v1.ConditionReasonSecretSynced, Message: "secret synced", LastTransitionTime: now}},
	})
}
