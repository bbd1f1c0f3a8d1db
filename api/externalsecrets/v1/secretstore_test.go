package v1_test

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	esv1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
)

func TestStoresAreAlike(t *testing.T) {
	meta := metav1.ObjectMeta{Name: "a"}
	for kind, store := range map[string]esv1.GenericStore{
		"SecretStore":        &esv1.SecretStore{ObjectMeta: meta},
		"ClusterSecretStore": &esv1.ClusterSecretStore{ObjectMeta: meta},
	} {
		store.GetSpec().Controller = "c"
		store.GetStatus().ObservedGeneration = 3
		again, ok := store.DeepCopyObject().(esv1.GenericStore)
		if !ok {
			t.Fatalf("%s: the copy is a %T", kind, store.DeepCopyObject())
		}
		if again.GetKind() != kind || again.GetName() != "a" || again.GetSpec().Controller != "c" || again.GetStatus().ObservedGeneration != 3 {
			t.Errorf("%s: got %s %+v", kind, again.GetKind(), again)
		}
	}
}

func TestAddToScheme(t *testing.T) {
	s := runtime.NewScheme()
	for range 2 { // it may be repeated
		if err := esv1.AddToScheme(s); err != nil {
			t.Fatal(err)
		}
	}
	for _, kind := range []string{esv1.ExtSecretKind, esv1.ClusterExtSecretKind, esv1.SecretStoreKind, esv1.ClusterSecretStoreKind} {
		for _, kind := range []string{kind, kind + "List"} {
			if _, err := s.New(esv1.GroupVersion().WithKind(kind)); err != nil {
				t.Error(err)
			}
		}
	}
}
