package fanouttest

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keyferry/keyferry/internal/fanout"
	"github.com/keyferry/keyferry/internal/reconcile/conditions"
)

// StatusIsWrittenWhole fails the test if a status is not read as it was written, or if a
// field of it is not named when it is empty: a merge patch leaves alone what it does not
// name, and a list that became empty would stay. The function returns where an object has
// its status.
func StatusIsWrittenWhole[P, C client.Object, S any](t *testing.T, kind fanout.Kind[P, C], at func(P) *S) {
	t.Helper()
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	for name, s := range map[string]fanout.Status{
		"nothing": {},
		"all of it": {
			Child: "app", Provisioned: []string{"a", "b"}, Failed: []fanout.Failure{{Namespace: "c", Reason: "why"}}, Generation: 7,
			Conditions: conditions.Set(nil, conditions.Failed("Errored", "Conflict: so", true), now),
		},
	} {
		t.Run(name, func(t *testing.T) {
			raw, err := json.Marshal(kind.Encode(s))
			if err != nil {
				t.Fatal(err)
			}
			var named map[string]any
			if err := json.Unmarshal(raw, &named); err != nil {
				t.Fatal(err)
			}
			obj := kind.New()
			if err := json.Unmarshal(raw, at(obj)); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(s, kind.Status(obj)); diff != "" {
				t.Error(diff)
			}
			var fields []string
			for _, f := range reflect.VisibleFields(reflect.TypeFor[S]()) {
				tag, _, _ := strings.Cut(f.Tag.Get("json"), ",")
				fields = append(fields, tag)
			}
			slices.Sort(fields)
			if diff := cmp.Diff(fields, slices.Sorted(maps.Keys(named))); diff != "" {
				t.Error(diff)
			}
		})
	}
}
