package testenv

import (
	"context"
	"sync"
)

// TB is what this package uses of testing.TB.
type TB interface {
	Helper()
	Context() context.Context
	Cleanup(func())
	Fatalf(format string, args ...any)
}

// shared is a server that all tests of a process use.
type shared[T any] struct {
	once   sync.Once
	server *T
	err    error
}

//nolint:gochecknoglobals // one server for the whole process is what Cluster and OpenBao promise
var (
	sharedPlane shared[ControlPlane]
	sharedBao   shared[Bao]
)

func (s *shared[T]) get(ctx context.Context, start func(context.Context) (*T, error)) (*T, error) {
	s.once.Do(func() { s.server, s.err = start(ctx) })
	return s.server, s.err
}

// Cluster returns the control plane that all tests of this process share, and
// starts it for the first. The test fails if it does not start. Tests keep apart
// by namespace, and must not harm it.
func Cluster(tb TB) *ControlPlane {
	tb.Helper()
	c, err := sharedPlane.get(tb.Context(), NewControlPlane)
	if err != nil {
		tb.Fatalf("start the control plane: %v", err)
	}
	return c
}

// StartCluster starts a control plane for this test alone, and stops it with the test.
func StartCluster(tb TB) *ControlPlane {
	tb.Helper()
	c, err := NewControlPlane(tb.Context())
	if err != nil {
		tb.Fatalf("start a control plane: %v", err)
	}
	tb.Cleanup(c.Close)
	return c
}

// Namespace makes a namespace with a name of its own, and deletes it when the test
// ends, without waiting until it is gone.
func (c *ControlPlane) Namespace(tb TB) string {
	tb.Helper()
	name, err := c.createNamespace(tb.Context())
	if err != nil {
		tb.Fatalf("create a namespace: %v", err)
	}
	tb.Cleanup(func() { c.deleteNamespace(context.WithoutCancel(tb.Context()), name) })
	return name
}

// OpenBao returns the OpenBao that all tests of this process share, and starts it
// for the first. The test fails if it does not start. Tests keep apart by paths and
// mounts, and must not stop it.
func OpenBao(tb TB) *Bao {
	tb.Helper()
	b, err := sharedBao.get(tb.Context(), NewBao)
	if err != nil {
		tb.Fatalf("start OpenBao: %v", err)
	}
	return b
}

// StartOpenBao starts an OpenBao for this test alone, and stops it with the test.
func StartOpenBao(tb TB) *Bao {
	tb.Helper()
	b, err := NewBao(tb.Context())
	if err != nil {
		tb.Fatalf("start an OpenBao: %v", err)
	}
	tb.Cleanup(b.Close)
	return b
}
