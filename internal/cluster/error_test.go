package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	"github.com/keyferry/keyferry/internal/cluster"
	"github.com/keyferry/keyferry/secret"
)

func TestErrorKinds(t *testing.T) {
	const canary = "hunter2-canary"
	secrets := schema.GroupResource{Resource: "secrets"}
	cases := map[string]struct {
		err  error
		want secret.Kind
		wait time.Duration
	}{
		"not found":         {apierrors.NewNotFound(secrets, canary), secret.NotFound, 0},
		"forbidden":         {apierrors.NewForbidden(secrets, "s", errors.New(canary)), secret.Denied, 0},
		"unauthorized":      {apierrors.NewUnauthorized(canary), secret.Unauthenticated, 0},
		"conflict":          {apierrors.NewConflict(secrets, "s", errors.New(canary)), secret.Conflict, 0},
		"exists":            {apierrors.NewAlreadyExists(secrets, canary), secret.Conflict, 0},
		"invalid":           {apierrors.NewInvalid(schema.GroupKind{Kind: "Secret"}, canary, nil), secret.Invalid, 0},
		"bad request":       {apierrors.NewBadRequest(canary), secret.Invalid, 0},
		"too large":         {apierrors.NewRequestEntityTooLargeError(canary), secret.Invalid, 0},
		"too many requests": {apierrors.NewTooManyRequests(canary, 7), secret.RateLimited, 7 * time.Second},
		"server timeout":    {apierrors.NewServerTimeout(secrets, canary, 3), secret.Unavailable, 3 * time.Second},
		"internal":          {apierrors.NewInternalError(errors.New(canary)), secret.Unavailable, 0},
		"unavailable":       {apierrors.NewServiceUnavailable(canary), secret.Unavailable, 0},
		"wrapped":           {fmt.Errorf("%s: %w", canary, apierrors.NewUnauthorized("")), secret.Unauthenticated, 0},
		"no answer":         {errors.New(canary), secret.Unavailable, 0},
		"given up":          {context.Canceled, secret.Unavailable, 0},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			err := cluster.Error("read", c.err)
			if secret.KindOf(err) != c.want || secret.RetryAfterOf(err) != c.wait {
				t.Errorf("%v after %v, want %s after %v", err, secret.RetryAfterOf(err), c.want, c.wait)
			}
			if strings.Contains(fmt.Sprintf("%v %+v", err, []any{err}), canary) {
				t.Errorf("%v quotes the API server", err)
			}
			if again := cluster.Error("read", err); secret.KindOf(again) != c.want || again.Error() != err.Error() {
				t.Errorf("the second time %v", again)
			}
		})
	}
	if err := client.IgnoreNotFound(cluster.Error("read", apierrors.NewNotFound(secrets, "s"))); err != nil {
		t.Errorf("a client does not know NotFound: %v", err)
	}
	if err := cluster.Error("read", context.Canceled); !errors.Is(err, context.Canceled) {
		t.Errorf("%v is not known as Canceled", err)
	}
	if err := cluster.Error("read", nil); err != nil {
		t.Errorf("no error became %v", err)
	}
}

func TestStripKeepsWhatIsNeeded(t *testing.T) {
	deleted := metav1.Now()
	owner := metav1.OwnerReference{Kind: "ExternalSecret", Name: "es", UID: "u", Controller: new(true)}
	full := cluster.Metadata(cluster.SecretKind())
	full.ObjectMeta = metav1.ObjectMeta{
		Namespace: "ns", Name: "s", UID: "uid", ResourceVersion: "7", Generation: 2, DeletionTimestamp: &deleted,
		Labels:          map[string]string{v1.LabelManaged: "true", v1.LabelOwner: "x", "app": "y"},
		Annotations:     map[string]string{"kubectl.kubernetes.io/last-applied-configuration": "a value"},
		OwnerReferences: []metav1.OwnerReference{{Kind: "Other"}, owner}, Finalizers: []string{"f"},
		ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "m"}},
	}
	want := cluster.Metadata(cluster.SecretKind())
	want.ObjectMeta = metav1.ObjectMeta{
		Namespace: "ns", Name: "s", UID: "uid", ResourceVersion: "7", DeletionTimestamp: &deleted,
		Labels: map[string]string{v1.LabelManaged: "true", v1.LabelOwner: "x", "app": "y"}, OwnerReferences: []metav1.OwnerReference{owner},
	}
	for name, c := range map[string]struct{ in, want any }{
		"all of it": {full, want},
		"little":    {&metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Name: "s", Labels: map[string]string{"a": "b"}}}, &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Name: "s", Labels: map[string]string{"a": "b"}}}},
		"others":    {"not metadata", "not metadata"},
	} {
		got, err := cluster.Strip(c.in)
		if diff := cmp.Diff(c.want, got); err != nil || diff != "" {
			t.Errorf("%s: %v %s", name, err, diff)
		}
	}
}

func TestStripManagedFields(t *testing.T) {
	got, err := cluster.StripManagedFields(&corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: "c", ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "m"}}}, Data: map[string]string{"k": "v"},
	})
	want := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "c"}, Data: map[string]string{"k": "v"}}
	if diff := cmp.Diff(any(want), got); err != nil || diff != "" {
		t.Errorf("%v %s", err, diff)
	}
}

func TestKinds(t *testing.T) {
	for want, got := range map[string]schema.GroupVersionKind{"Secret": cluster.SecretKind(), "ConfigMap": cluster.ConfigMapKind(), "Namespace": cluster.NamespaceKind()} {
		if got != corev1.SchemeGroupVersion.WithKind(want) {
			t.Errorf("%s: %v", want, got)
		}
	}
}
