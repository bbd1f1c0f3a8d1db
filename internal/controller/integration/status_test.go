package integration

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	esv1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	"github.com/keyferry/keyferry/plan"
	"github.com/keyferry/keyferry/secret"
)

func TestStatusOfASync(t *testing.T) {
	k := withDB(t, "1")
	began := time.Now().Add(-time.Second)
	k.externalSecret("app", oneKey(`, target: {name: creds}`))
	es := k.awaitSynced("app")
	s := k.awaitData("creds", held{"p": "1"})
	got := es.Status
	if got.RefreshTime.Time.Before(began.Truncate(time.Second)) || got.RefreshTime.After(time.Now()) {
		t.Errorf("refreshTime is %v", got.RefreshTime)
	}
	since := ready(es).LastTransitionTime
	if since.IsZero() {
		t.Error("Ready has no lastTransitionTime")
	}
	got.RefreshTime = metav1.Time{}
	want := esv1.ExternalSecretStatus{
		SyncedResourceVersion: plan.SyncedVersion(es), ObservedGeneration: es.Generation, TargetResourceVersion: s.ResourceVersion,
		Binding: corev1.LocalObjectReference{Name: "creds"},
		Conditions: []esv1.ExternalSecretStatusCondition{{
			Type: esv1.ExternalSecretReady, Status: corev1.ConditionTrue, Reason: synced, Message: "secret synced", LastTransitionTime: since,
		}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("status (-want +got):\n%s", diff)
	}
}

func TestStatusIsNotWrittenWhenNothingChanged(t *testing.T) {
	k := withWitness(t)
	k.externalSecret("app", oneKey(`, refreshInterval: 30s`))
	before := k.awaitSynced("app")
	s := k.awaitData("app", held{"p": "1"})
	gets := k.requests("get", "secrets")
	k.later(31 * time.Second)
	if got := k.passes(); got != 2 {
		t.Fatalf("synced %d times, want a refresh", got)
	}
	after, now := &esv1.ExternalSecret{}, &corev1.Secret{}
	k.get(after, "app")
	k.get(now, "app")
	if !cmp.Equal(after.Status, before.Status) || now.ResourceVersion != s.ResourceVersion {
		t.Errorf("a refresh that changed nothing wrote: %s", cmp.Diff(before.Status, after.Status))
	}
	if got := k.requests("get", "secrets"); got != gets {
		t.Errorf("a refresh that changed nothing read %d Secrets", got-gets)
	}
	// After a minute it is time to say that it is fresh.
	k.later(35 * time.Second)
	k.await("the refresh time moves", func() string {
		es := &esv1.ExternalSecret{}
		if k.get(es, "app"); !es.Status.RefreshTime.After(before.Status.RefreshTime.Time) {
			return es.Status.RefreshTime.String()
		}
		return ""
	})
	if got := k.eventsOf("Updated"); len(got) != 0 {
		t.Errorf("refreshes that changed nothing left events: %q", got)
	}
}

func TestStatusOfAFailureAndItsEnd(t *testing.T) {
	k := withDB(t, "1")
	k.externalSecret("app", oneKey(""))
	before := k.awaitSynced("app")
	k.backend.fail("db", secret.Denied)
	k.ask("app")
	es := k.awaitFailed("app", secret.Denied)
	c := ready(es)
	for _, part := range []string{"spec.data[0]", "SecretStore/main", "as the test wants it", "grant the access"} {
		if !strings.Contains(c.Message, part) {
			t.Errorf("the message lacks %q: %s", part, c.Message)
		}
	}
	if c.Reason != failed {
		t.Errorf("reason is %q", c.Reason)
	}
	if r := condition(es, esv1.ExternalSecretReconciling); r.Status != corev1.ConditionTrue {
		t.Errorf("it is tried again, and Reconciling is %v", r)
	}
	if es.Status.SyncedResourceVersion != before.Status.SyncedResourceVersion || es.Status.Binding.Name != "app" || !es.Status.RefreshTime.Equal(&before.Status.RefreshTime) {
		t.Errorf("a failure changed what was synced: %s", raw(es.Status))
	}
	k.backend.fail("db", "")
	es = k.force("app")
	if len(es.Status.Conditions) != 1 || ready(es).Reason != synced {
		t.Errorf("conditions are %s", raw(es.Status.Conditions))
	}
}

func TestEvents(t *testing.T) {
	k := start(t)
	k.backend.set("db", "1")
	k.backend.set("more", "m")
	k.store("main", steered)
	k.externalSecret("app", `{secretStoreRef: {name: main}, target: {deletionPolicy: Delete},
 data: [{secretKey: p, remoteRef: {key: db}}, {secretKey: q, remoteRef: {key: more}}]}`)
	k.awaitEvent("Normal Created: secret created")
	k.awaitSynced("app")

	k.backend.remove("more")
	k.force("app")
	k.awaitEvent("Normal Updated: secret updated")
	k.awaitEvent("Normal MissingProviderSecret: not at the store: spec.data[1]")

	k.backend.fail("db", secret.Denied)
	k.ask("app")
	k.awaitFailed("app", secret.Denied)
	k.awaitEvent("Warning UpdateFailed: Denied: spec.data[0]")
	k.backend.fail("db", "")
	k.backend.remove("db")
	k.force("app")
	k.awaitEvent("Normal Deleted: secret deleted due to DeletionPolicy=Delete")
	for _, reason := range []string{"Created", "Updated", "UpdateFailed", "Deleted"} {
		if got := k.eventsOf(reason); len(got) != 1 {
			t.Errorf("want one event of %s, there are %q", reason, got)
		}
	}
}

func TestFailureThatStaysIsReportedOnce(t *testing.T) {
	k := start(t, oneByOne)
	k.backend.set("db", "1")
	k.backend.fail("db", secret.Denied)
	k.store("main", steered)
	k.externalSecret("app", oneKey(""))
	first := k.awaitFailed("app", secret.Denied)
	k.backend.set("witness", "w")
	k.externalSecret("witness", `{secretStoreRef: {name: main}, data: [{secretKey: w, remoteRef: {key: witness}}]}`)
	k.awaitSynced("witness")
	for range 3 {
		k.later(20 * time.Minute)
	}
	k.awaitEvent("Warning UpdateFailed")
	if got := k.passes(); got != 4 {
		t.Errorf("tried %d times, want four", got)
	}
	es := &esv1.ExternalSecret{}
	if k.get(es, "app"); !cmp.Equal(es.Status, first.Status) {
		t.Errorf("status changed: %s", cmp.Diff(first.Status, es.Status))
	}
	if got := k.eventsOf("UpdateFailed"); len(got) != 1 {
		t.Errorf("one failure, %d events: %q", len(got), got)
	}
}

func TestMetricsLiveAsLongAsTheObject(t *testing.T) {
	k := withDB(t, "1")
	k.externalSecret("app", oneKey(""))
	k.awaitSynced("app")
	labels := func(more map[string]string) map[string]string {
		more["name"], more["namespace"] = "app", k.ns
		return more
	}
	is := func(status string) float64 {
		v, _ := k.metric("externalsecret_status_condition", labels(map[string]string{"condition": "Ready", "status": status}))
		return v
	}
	if is("True") != 1 || is("False") != 0 {
		t.Errorf("Ready: True %v, False %v", is("True"), is("False"))
	}
	if n, _ := k.metric("externalsecret_sync_calls_error", labels(map[string]string{})); n != 0 {
		t.Errorf("%v errors", n)
	}
	k.backend.fail("db", secret.Denied)
	k.ask("app")
	k.awaitFailed("app", secret.Denied)
	if n, _ := k.metric("externalsecret_sync_calls_error", labels(map[string]string{})); n != 1 || is("True") != 0 || is("False") != 1 {
		t.Errorf("%v errors; Ready: True %v, False %v", n, is("True"), is("False"))
	}
	k.delete(&esv1.ExternalSecret{}, "app")
	for _, name := range []string{"externalsecret_sync_calls_total", "externalsecret_sync_calls_error", "externalsecret_status_condition"} {
		k.await(name+" goes", func() string {
			if _, series := k.metric(name, labels(map[string]string{})); series > 0 {
				return "series are left"
			}
			return ""
		})
	}
}

// table returns the rows of kubectl's view: column → cell.
func (k *kit) table(path string) map[string]any {
	k.Helper()
	clients, err := kubernetes.NewForConfig(k.config)
	if err != nil {
		k.Fatal(err)
	}
	body, err := clients.RESTClient().Get().AbsPath(path).SetHeader("Accept", "application/json;as=Table;v=v1;g=meta.k8s.io").DoRaw(k.Context())
	if err != nil {
		k.Fatal(err)
	}
	var table metav1.Table
	if err := json.Unmarshal(body, &table); err != nil {
		k.Fatal(err)
	}
	if len(table.Rows) != 1 {
		k.Fatalf("%d rows", len(table.Rows))
	}
	row := map[string]any{}
	for i, column := range table.ColumnDefinitions {
		row[column.Name] = table.Rows[0].Cells[i]
	}
	return row
}

func TestWhatKubectlShows(t *testing.T) {
	k := withDB(t, "1")
	k.externalSecret("app", oneKey(`, refreshInterval: 1h30m`))
	k.awaitSynced("app")
	path := "/apis/external-secrets.io/v1/namespaces/" + k.ns
	row := k.table(path + "/externalsecrets/app")
	if last, ok := row["Last Sync"].(string); !ok || last == "" || strings.Contains(last, "unknown") {
		t.Errorf("Last Sync is %v", row["Last Sync"])
	}
	delete(row, "Last Sync")
	want := map[string]any{"Name": "app", "StoreType": nil, "Store": "main", "Refresh Interval": "1h30m", "Status": "SecretSynced", "Ready": "True"}
	if diff := cmp.Diff(want, row); diff != "" {
		t.Errorf("the ExternalSecret (-want +got):\n%s", diff)
	}
	row = k.table(path + "/secretstores/main")
	delete(row, "AGE")
	want = map[string]any{"Name": "main", "Status": "Valid", "Capabilities": "ReadWrite", "Ready": "True"}
	if diff := cmp.Diff(want, row); diff != "" {
		t.Errorf("the SecretStore (-want +got):\n%s", diff)
	}
	k.backend.fail("db", secret.Denied)
	k.ask("app")
	k.awaitFailed("app", secret.Denied)
	if row = k.table(path + "/externalsecrets/app"); row["Status"] != "SecretSyncedError" || row["Ready"] != "False" {
		t.Errorf("after a failure: %v", row)
	}
}
