package main

import (
	"context"
	"fmt"
	"net/http"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	metaapi "github.com/keyferry/keyferry/api/meta/v1"
	"github.com/keyferry/keyferry/internal/testenv"
)

// The namespaces of the two sides, and how many objects are worked on at once.
const (
	bareNamespace = "bare"
	coldNamespace = "cold"
	parallel      = 32
)

// names are the properties of an object's three keys.
func names() []string { return []string{"user", "password", "host"} }

func key(i int, name string) string { return fmt.Sprintf("bench/%05d/%s", i, name) }

// bench is one comparison.
type bench struct {
	n      int
	plane  *testenv.ControlPlane
	bao    *testenv.Bao
	config *rest.Config
	api    client.WithWatch
}

func newBench(ctx context.Context, n int) (*bench, error) {
	b := &bench{n: n}
	var err error
	if b.plane, err = testenv.NewControlPlane(ctx); err != nil {
		return nil, err
	}
	if b.bao, err = testenv.NewBao(ctx); err != nil {
		b.close()
		return nil, err
	}
	scheme := runtime.NewScheme()
	if err := corev1.AddToScheme(scheme); err != nil {
		return nil, err
	}
	if err := v1.AddToScheme(scheme); err != nil {
		return nil, err
	}
	b.config = b.plane.Config()
	b.config.QPS = -1
	b.api, err = client.NewWithWatch(b.config, client.Options{Scheme: scheme})
	return b, err
}

func (b *bench) close() {
	if b.bao != nil {
		b.bao.Close()
	}
	b.plane.Close()
}

// each calls f for every object, some at once.
func (b *bench) each(ctx context.Context, f func(context.Context, int) error) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(parallel)
	for i := range b.n {
		g.Go(func() error { return f(ctx, i) })
	}
	return g.Wait()
}

// seed fills the store, and makes both namespaces with their ExternalSecrets.
func (b *bench) seed(ctx context.Context) error {
	err := b.each(ctx, func(ctx context.Context, i int) error {
		for _, name := range names() {
			body := map[string]any{"data": map[string]string{"value": fmt.Sprintf("%s-%d", name, i)}}
			if _, err := b.bao.Do(ctx, http.MethodPost, "secret/data/"+key(i, name), body); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, ns := range []string{bareNamespace, coldNamespace} {
		if err := b.namespace(ctx, ns); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) namespace(ctx context.Context, name string) error {
	objects := []client.Object{
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}},
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: name, Name: "bao-token"}, StringData: map[string]string{"token": b.bao.RootToken}},
		b.store(name),
	}
	for _, obj := range objects {
		if err := b.api.Create(ctx, obj); err != nil {
			return err
		}
	}
	return b.each(ctx, func(ctx context.Context, i int) error { return b.api.Create(ctx, external(name, i)) })
}

func (b *bench) store(namespace string) *v1.SecretStore {
	path := "secret"
	return &v1.SecretStore{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "bao"},
		Spec: v1.SecretStoreSpec{Provider: &v1.SecretStoreProvider{Vault: &v1.VaultProvider{
			Server: b.bao.Address, Path: &path, Version: v1.VaultKVStoreV2,
			Auth: &v1.VaultAuth{TokenSecretRef: &metaapi.SecretKeySelector{Name: "bao-token", Key: "token"}},
		}}},
	}
}

func objectName(i int) string { return fmt.Sprintf("app-%05d", i) }

func external(namespace string, i int) *v1.ExternalSecret {
	es := &v1.ExternalSecret{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: objectName(i)},
		Spec:       v1.ExternalSecretSpec{SecretStoreRef: v1.SecretStoreRef{Name: "bao", Kind: v1.SecretStoreKind}},
	}
	for _, name := range names() {
		es.Spec.Data = append(es.Spec.Data, v1.ExternalSecretData{
			SecretKey: name,
			RemoteRef: v1.ExternalSecretDataRemoteRef{Key: key(i, name), Property: "value"},
		})
	}
	return es
}
