package cli

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	esv1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	"github.com/keyferry/keyferry/internal/local"
	"github.com/keyferry/keyferry/plan"
	"github.com/keyferry/keyferry/secret"
)

func TestProgress(t *testing.T) {
	tests := map[string]struct {
		reporter reporter
		want     string
	}{
		"on a terminal the last line is written over": {reporter{terminal: true}, "\r\x1b[Ksyncing 1 of 2" +
			"\r\x1b[KExternalSecret a/b: created Secret a/b (added k)\n\r\x1b[Ksyncing 2 of 2" +
			"\r\x1b[KExternalSecret a/b: Denied (grant the access, or refer to something that is allowed)\n" +
			"\r\x1b[K1 changed, 0 unchanged, 1 failed\n"},
		"elsewhere lines are plain": {reporter{}, "ExternalSecret a/b: created Secret a/b (added k)\n" +
			"ExternalSecret a/b: Denied (grant the access, or refer to something that is allowed)\n1 changed, 0 unchanged, 1 failed\n"},
		"quiet leaves failures": {reporter{quiet: true}, "ExternalSecret a/b: Denied (grant the access, or refer to something that is allowed)\n"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			r := &test.reporter
			r.out, r.err, r.total = &b, &b, 2
			es := &esv1.ExternalSecret{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "b"}}
			id := local.ID{APIVersion: "v1", Kind: "Secret", Namespace: "a", Name: "b"}
			r.progress()
			r.result(local.Result{Object: es, Changes: []local.Change{{ID: id, Verb: plan.Create, Added: []string{"k"}}}})
			r.result(local.Result{Object: es, Err: secret.Denied})
			r.summary()
			if diff := cmp.Diff(test.want, b.String()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
