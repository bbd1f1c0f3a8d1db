package main

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	"github.com/keyferry/keyferry/api/externalsecrets/v1alpha1"
	"github.com/keyferry/keyferry/config/crds"
	"github.com/keyferry/keyferry/internal/testenv"
)

// bench is one run of one part.
type bench struct {
	n      int
	binary string
	idle   time.Duration
	every  bool
	plane  *testenv.ControlPlane
	api    client.WithWatch
	bao    *bao // of the parts that need one
	missed []error
}

func newBench(ctx context.Context, n int, o options) (*bench, error) {
	b := &bench{n: n, binary: o.binary, idle: o.idle, every: o.every}
	var err error
	if b.plane, err = testenv.NewControlPlane(ctx); err != nil {
		return nil, err
	}
	if err := b.connect(ctx); err != nil {
		b.close()
		return nil, err
	}
	return b, nil
}

func (b *bench) connect(ctx context.Context) error {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, v1.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			return err
		}
	}
	config := b.plane.Config()
	config.QPS = -1
	definitions, err := crds.All()
	if err != nil {
		return err
	}
	if err := testenv.InstallCRDs(ctx, config, definitions); err != nil {
		return err
	}
	b.api, err = client.NewWithWatch(config, client.Options{Scheme: scheme})
	return err
}

func (b *bench) close() {
	if b.bao != nil {
		b.bao.server.Close()
	}
	b.plane.Close()
}

func (b *bench) create(ctx context.Context, objects ...client.Object) error {
	for _, obj := range objects {
		if err := b.api.Create(ctx, obj); err != nil {
			return err
		}
	}
	return nil
}

// bar notes whether what was measured is what it has to be.
func (b *bench) bar(ok bool, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if ok {
		fmt.Printf("  ok       %s\n", text)
		return
	}
	fmt.Printf("  MISSED   %s\n", text)
	b.missed = append(b.missed, fmt.Errorf("missed with %d: %s", b.n, text))
}

func objectName(i int) string { return fmt.Sprintf("app-%05d", i) }

func meta(namespace, name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: namespace, Name: name}
}

func namespaceOf(name string) *corev1.Namespace {
	return &corev1.Namespace{ObjectMeta: meta("", name)}
}

func secretOf(namespace, name string, data map[string]string) *corev1.Secret {
	return &corev1.Secret{ObjectMeta: meta(namespace, name), StringData: data}
}
