package plan

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	esv1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	esv1alpha1 "github.com/keyferry/keyferry/api/externalsecrets/v1alpha1"
	"github.com/keyferry/keyferry/secret"
)

const fieldPushTemplate = "spec.template"

// PushTemplateSources returns the ConfigMaps and Secrets that the template of a
// PushSecret names, as TemplateSources does.
func PushTemplateSources(ps *esv1alpha1.PushSecret) []TemplateSource {
	return templateSources(fieldPushTemplate, ps.Spec.Template)
}

// Pushed is what is at which store, by the name of the entry, as the status has it.
type Pushed map[string]map[string]esv1alpha1.PushSecretData

// PushedOf returns what the entries of a plan say.
func PushedOf(entries map[StoreRef][]PushEntry) Pushed {
	out := Pushed{}
	for store, list := range entries {
		for _, e := range list {
			out.Add(store, e.Data)
		}
	}
	return out
}

// Add adds what was pushed to a store.
func (p Pushed) Add(store StoreRef, d esv1alpha1.PushSecretData) {
	if p[store.String()] == nil {
		p[store.String()] = map[string]esv1alpha1.PushSecretData{}
	}
	p[store.String()][pushID(d)] = d
}

// Remove removes what is no longer at a store.
func (p Pushed) Remove(store StoreRef, d esv1alpha1.PushSecretData) {
	delete(p[store.String()], pushID(d))
	if len(p[store.String()]) == 0 {
		delete(p, store.String())
	}
}

// Has reports whether something was pushed to that place of a store.
func (p Pushed) Has(store StoreRef, d esv1alpha1.PushSecretData) bool {
	_, ok := p[store.String()][pushID(d)]
	return ok
}

// Whole returns what was pushed to a key of a store as a whole; false if nothing was.
func (p Pushed) Whole(store StoreRef, key string) (esv1alpha1.PushSecretData, bool) {
	d, ok := p[store.String()][key]
	return d, ok && pushRef(d) == secret.Ref{Key: key}
}

// With returns what p and q say together; q counts where both do.
func (p Pushed) With(q Pushed) Pushed {
	out := Pushed{}
	for _, from := range []Pushed{p, q} {
		for store, list := range from {
			for _, d := range list {
				out.Add(ParseStoreRef(store), d)
			}
		}
	}
	return out
}

// Less returns what p says and q does not.
func (p Pushed) Less(q Pushed) Pushed {
	out := Pushed{}
	for store, list := range p {
		for id, d := range list {
			if _, kept := q[store][id]; !kept {
				out.Add(ParseStoreRef(store), d)
			}
		}
	}
	return out
}

// List returns what was pushed to a store, in order.
func (p Pushed) List(store StoreRef) []esv1alpha1.PushSecretData {
	var out []esv1alpha1.PushSecretData
	for _, id := range secret.Keys(p[store.String()]) {
		out = append(out, p[store.String()][id])
	}
	return out
}

// Stores returns the stores in order.
func (p Pushed) Stores() []StoreRef {
	var out []StoreRef
	for _, name := range secret.Keys(p) {
		out = append(out, ParseStoreRef(name))
	}
	return out
}

// ParseStoreRef reads what StoreRef.String writes.
func ParseStoreRef(s string) StoreRef {
	for _, kind := range []string{esv1.SecretStoreKind, esv1.ClusterSecretStoreKind} {
		if len(s) > len(kind) && s[:len(kind)] == kind && s[len(kind)] == '/' {
			return StoreRef{Kind: kind, Name: s[len(kind)+1:]}
		}
	}
	return StoreRef{Name: s}
}

// Covers reports whether something that was pushed to a store lies at, in or around a place.
func (p Pushed) Covers(store StoreRef, d esv1alpha1.PushSecretData) bool {
	for _, o := range p[store.String()] {
		if Meet(o, d) {
			return true
		}
	}
	return false
}

// Meet reports whether two places of one store are, or contain, each other.
func Meet(a, b esv1alpha1.PushSecretData) bool {
	return overlap(pushRef(a), pushRef(b)) && RemoteNamespace(a) == RemoteNamespace(b)
}

func overlap(a, b secret.Ref) bool {
	return a.Key == b.Key && (a.Property == b.Property || a.Property == "" || b.Property == "")
}

// RemoteNamespace is the namespace at the store that the metadata of an entry names:
// keys of two namespaces are two places. Empty is that of the store.
func RemoteNamespace(d esv1alpha1.PushSecretData) string {
	var m struct {
		RemoteNamespace string `json:"remoteNamespace"`
		Spec            struct {
			RemoteNamespace string `json:"remoteNamespace"`
		} `json:"spec"`
	}
	if err := json.Unmarshal(PushMetadata(d), &m); err != nil {
		return "" // the provider refuses it
	}
	return m.Spec.RemoteNamespace + m.RemoteNamespace
}

// Feeds fails with Conflict if the ExternalSecret that made a source reads the place
// at the store to which it would be pushed: what is there counts, and a copy of it
// must never replace it.
func Feeds(es *esv1.ExternalSecret, store StoreRef, ref secret.Ref) error {
	sources, _ := Sources(&es.Spec) // one that is wrong reads nothing
	for _, s := range sources {
		if s.Store != store || s.Ref.Metadata || s.Ref.Version != "" {
			continue
		}
		if s.Find == nil && overlap(s.Ref, ref) || s.Find != nil && finds(s.Find, ref.Key) {
			return refuse(secret.Conflict, "spec.selector", "the Secret is made by ExternalSecret %q from this very key: it is not written back", es.Name)
		}
	}
	return nil
}

// finds reports whether a query finds a key, as far as its name tells.
func finds(q *secret.Query, key string) bool {
	return len(q.Tags) == 0 && strings.HasPrefix(key, q.Path) && (q.Name == nil || q.Name.MatchString(key))
}

// Rival returns the PushSecret among others that has the better right to a place of
// a store than ps; nil if there is none. Who pushed there before counts, then who is
// older, then the name; one that is being deleted, as long as it will still delete what
// is there. Others are those that push to the store; how their store names compare with
// the place is the caller's.
func Rival(ps *esv1alpha1.PushSecret, store StoreRef, d esv1alpha1.PushSecretData, others []*esv1alpha1.PushSecret) *esv1alpha1.PushSecret {
	mine := Pushed(ps.Status.SyncedPushSecrets).Has(store, d)
	for _, other := range others {
		goes := other.DeletionTimestamp != nil
		if other.UID == ps.UID || goes && !slices.Contains(other.Finalizers, esv1alpha1.PushSecretFinalizer) {
			continue
		}
		if Pushed(other.Status.SyncedPushSecrets).Covers(store, d) && (!mine || older(other, ps) && !goes) {
			return other
		}
	}
	return nil
}

func older(a, b metav1.Object) bool {
	x, y := a.GetCreationTimestamp().Time, b.GetCreationTimestamp().Time
	if !x.Equal(y) {
		return x.Before(y)
	}
	return fmt.Sprint(a.GetNamespace(), "/", a.GetName()) < fmt.Sprint(b.GetNamespace(), "/", b.GetName())
}
