package plan_test

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	esv1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	"github.com/keyferry/keyferry/plan"
)

// noon is when the tests happen.
func noon() time.Time { return time.Date(2030, 6, 12, 12, 0, 0, 0, time.UTC) }

// synced returns an object that was synced as it is, some time before noon.
func synced(t *testing.T, ago time.Duration, spec string) *esv1.ExternalSecret {
	t.Helper()
	es := object(t, spec)
	es.Labels = map[string]string{"team": "a"}
	es.Annotations = map[string]string{"note": "x"}
	es.Status.RefreshTime = metav1.NewTime(noon().Add(-ago))
	es.Status.SyncedResourceVersion = plan.SyncedVersion(es)
	return es
}

func TestRefresh(t *testing.T) {
	type change = func(*esv1.ExternalSecret)
	none := func(*esv1.ExternalSecret) {}
	var (
		generation = func(es *esv1.ExternalSecret) { es.Generation++ }
		label      = func(es *esv1.ExternalSecret) { es.Labels["team"] = "b" }
		annotation = func(es *esv1.ExternalSecret) { es.Annotations["note"] = "y" }
		force      = func(es *esv1.ExternalSecret) { es.Annotations[esv1.AnnotationForceSync] = "1" }
		unsynced   = func(es *esv1.ExternalSecret) { es.Status.SyncedResourceVersion = "" }
		timeless   = func(es *esv1.ExternalSecret) { es.Status.RefreshTime = metav1.Time{} }
		foreign    = func(es *esv1.ExternalSecret) { es.Status.SyncedResourceVersion = "1-abcdef" }
	)
	for name, c := range map[string]struct {
		spec   string
		ago    time.Duration
		change change
		now    bool
		forced bool
		in     time.Duration // until Next; zero is never
	}{
		"periodic, not due":                                  {`refreshInterval: 1h`, 20 * time.Minute, none, false, false, 40 * time.Minute},
		"periodic is the default policy":                     {`{refreshInterval: 1h, refreshPolicy: Periodic}`, 20 * time.Minute, none, false, false, 40 * time.Minute},
		"an hour is the default interval":                    {`{}`, 20 * time.Minute, none, false, false, 40 * time.Minute},
		"periodic, interval passed":                          {`refreshInterval: 1h`, time.Hour, none, true, false, 0},
		"periodic, interval passed long ago":                 {`refreshInterval: 1h`, 100 * time.Hour, none, true, false, 0},
		"periodic, never synced":                             {`refreshInterval: 1h`, time.Minute, unsynced, true, false, 0},
		"periodic, no refresh time":                          {`refreshInterval: 1h`, time.Minute, timeless, true, false, 0},
		"periodic, refresh time in the future":               {`refreshInterval: 1h`, -time.Minute, none, true, false, 0},
		"periodic, generation changed":                       {`refreshInterval: 1h`, time.Minute, generation, true, false, 0},
		"periodic, label changed":                            {`refreshInterval: 1h`, time.Minute, label, true, false, 0},
		"periodic, annotation changed":                       {`refreshInterval: 1h`, time.Minute, annotation, true, false, 0},
		"periodic, forced":                                   {`refreshInterval: 1h`, time.Minute, force, true, true, 0},
		"periodic, synced by somebody with another digest":   {`refreshInterval: 1h`, time.Minute, foreign, true, false, 0},
		"interval 0, synced":                                 {`refreshInterval: 0s`, 1000 * time.Hour, none, false, false, 0},
		"interval 0, refresh time in the future":             {`refreshInterval: 0s`, -time.Hour, none, false, false, 0},
		"interval 0, spec changed":                           {`refreshInterval: 0s`, time.Minute, generation, true, false, 0},
		"interval 0, annotation changed":                     {`refreshInterval: 0s`, time.Minute, annotation, true, false, 0},
		"interval 0, never synced":                           {`refreshInterval: 0s`, time.Minute, unsynced, true, false, 0},
		"a negative interval is none":                        {`refreshInterval: -1h`, 1000 * time.Hour, none, false, false, 0},
		"created once, synced":                               {`refreshPolicy: CreatedOnce`, 1000 * time.Hour, none, false, false, 0},
		"created once, changed":                              {`refreshPolicy: CreatedOnce`, time.Minute, generation, false, false, 0},
		"created once, never synced":                         {`refreshPolicy: CreatedOnce`, time.Minute, unsynced, true, false, 0},
		"created once, no refresh time":                      {`refreshPolicy: CreatedOnce`, time.Minute, timeless, true, false, 0},
		"on change, synced":                                  {`refreshPolicy: OnChange`, 1000 * time.Hour, none, false, false, 0},
		"on change, never synced":                            {`refreshPolicy: OnChange`, time.Minute, unsynced, true, false, 0},
		"on change, no refresh time":                         {`refreshPolicy: OnChange`, time.Minute, timeless, true, false, 0},
		"on change, spec changed":                            {`refreshPolicy: OnChange`, time.Minute, generation, true, false, 0},
		"on change, label changed":                           {`refreshPolicy: OnChange`, time.Minute, label, true, false, 0},
		"on change, forced":                                  {`refreshPolicy: OnChange`, time.Minute, force, true, true, 0},
		"allowed now":                                        {`syncWindows: {kind: allow, windows: [{schedule: "0 11 * * *", duration: 2h}]}`, 2 * time.Hour, none, true, false, 0},
		"allowed later":                                      {`syncWindows: {kind: allow, windows: [{schedule: "0 14 * * *", duration: 1h}]}`, 2 * time.Hour, none, false, false, 2 * time.Hour},
		"allowed later, at the first of two":                 {`syncWindows: {kind: allow, windows: [{schedule: "0 20 * * *", duration: 1h}, {schedule: "30 13 * * *", duration: 1h}]}`, 2 * time.Hour, none, false, false, 90 * time.Minute},
		"allowed when due":                                   {`syncWindows: {kind: allow, windows: [{schedule: "0 11 * * *", duration: 2h}]}`, 20 * time.Minute, none, false, false, 40 * time.Minute},
		"not allowed when due":                               {`syncWindows: {kind: allow, windows: [{schedule: "0 14 * * *", duration: 1h}]}`, 20 * time.Minute, none, false, false, 2 * time.Hour},
		"a window went by unused":                            {`syncWindows: {kind: allow, windows: [{schedule: "0 10 * * *", duration: 1h}]}`, 3 * time.Hour, none, false, false, 22 * time.Hour},
		"a window that never opens":                          {`syncWindows: {kind: allow, windows: [{schedule: "0 0 30 2 *", duration: 1h}]}`, 3 * time.Hour, none, false, false, 0},
		"denied until the window closes":                     {`syncWindows: {kind: deny, windows: [{schedule: "0 11 * * *", duration: 2h}]}`, 2 * time.Hour, none, false, false, time.Hour + time.Second},
		"denied by windows that follow each other":           {`syncWindows: {kind: deny, windows: [{schedule: "0 11 * * *", duration: 2h}, {schedule: "0 13 * * *", duration: 1h}]}`, 2 * time.Hour, none, false, false, 2*time.Hour + time.Second},
		"not denied":                                         {`syncWindows: {kind: deny, windows: [{schedule: "0 14 * * *", duration: 1h}]}`, 2 * time.Hour, none, true, false, 0},
		"windows do not hold back a change":                  {`syncWindows: {kind: deny, windows: [{schedule: "0 11 * * *", duration: 2h}]}`, 2 * time.Hour, generation, true, false, 0},
		"windows do not hold back the first sync":            {`syncWindows: {kind: deny, windows: [{schedule: "0 11 * * *", duration: 2h}]}`, 2 * time.Hour, unsynced, true, false, 0},
		"an empty list of windows permits":                   {`syncWindows: {kind: allow, windows: []}`, 2 * time.Hour, none, true, false, 0},
		"an unknown kind of windows permits":                 {`syncWindows: {kind: maybe, windows: [{schedule: "0 14 * * *", duration: 1h}]}`, 2 * time.Hour, none, true, false, 0},
		"allow, only a schedule that cannot be read, blocks": {`syncWindows: {kind: allow, windows: [{schedule: "99 * * * *", duration: 1h}]}`, 2 * time.Hour, none, false, false, 0},
		"deny, only a schedule that cannot be read, permits": {`syncWindows: {kind: deny, windows: [{schedule: "TZ=UTC", duration: 1h}]}`, 2 * time.Hour, none, true, false, 0},
		"allow, one that cannot be read and one open":        {`syncWindows: {kind: allow, windows: [{schedule: "x", duration: 1h}, {schedule: "@hourly", duration: 1m}]}`, 2 * time.Hour, none, true, false, 0},
		"a negative duration is never open":                  {`syncWindows: {kind: allow, windows: [{schedule: "0 12 * * *", duration: -1h}]}`, 2 * time.Hour, none, false, false, 0},
		"every six hours since the epoch":                    {`syncWindows: {kind: allow, windows: [{schedule: "@every 6h", duration: 1m}]}`, 2 * time.Hour, none, true, false, 0},
		"every eight hours since the epoch":                  {`syncWindows: {kind: allow, windows: [{schedule: "@every 8h", duration: 1m}]}`, 2 * time.Hour, none, false, false, 4 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			es := synced(t, c.ago, c.spec)
			c.change(es)
			due := plan.Refresh(es, noon())
			if due.Now != c.now || due.Forced != c.forced || (due.Reason != "") != c.now {
				t.Fatalf("due: %+v", due)
			}
			var next time.Time
			if c.in != 0 {
				next = noon().Add(c.in)
			}
			if !due.Next.Equal(next) {
				t.Fatalf("next is %s, want %s", due.Next, next)
			}
		})
	}
}

func TestRefreshWithinWindow(t *testing.T) {
	at := func(d int, clock string) time.Time {
		v, err := time.Parse(time.TimeOnly, clock)
		if err != nil {
			t.Fatal(err)
		}
		return time.Date(2030, 6, d, v.Hour(), v.Minute(), v.Second(), 0, time.UTC)
	}
	for name, c := range map[string]struct {
		now    time.Time
		inside bool
	}{
		"at the opening":             {at(12, "22:00:00"), true},
		"inside":                     {at(12, "23:30:00"), true},
		"inside, past midnight":      {at(13, "00:30:00"), true},
		"at the close":               {at(13, "01:00:00"), true},
		"a second past the close":    {at(13, "01:00:01"), false},
		"an hour before the opening": {at(12, "21:00:00"), false},
		"between two":                {at(13, "12:00:00"), false},
		"inside the second":          {at(13, "22:10:00"), true},
	} {
		for kind, want := range map[string]bool{"allow": c.inside, "deny": !c.inside} {
			t.Run(name+"/"+kind, func(t *testing.T) {
				es := synced(t, 1000*time.Hour, `syncWindows: {kind: `+kind+`, windows: [{schedule: "0 22 * * *", duration: 3h}]}`)
				// A local zone must not move the window.
				due := plan.Refresh(es, c.now.In(time.FixedZone("x", 5*3600)))
				if due.Now != want {
					t.Fatalf("due: %+v", due)
				}
				if !due.Now && !due.Next.After(c.now) {
					t.Fatalf("next %s does not lie ahead", due.Next)
				}
			})
		}
	}
}

func TestRefreshNamesSchedulesItCannotRead(t *testing.T) {
	es := synced(t, time.Minute, `syncWindows: {kind: deny, windows: [{schedule: "@daily", duration: 1m}, {schedule: "1 2 3", duration: 1m}]}`)
	due := plan.Refresh(es, noon())
	if len(due.Warnings) != 1 || due.Warnings[0][:len("spec.syncWindows.windows[1].schedule")] != "spec.syncWindows.windows[1].schedule" {
		t.Fatalf("warnings: %q", due.Warnings)
	}
}

func TestRefreshDeniedForEverLooksAgain(t *testing.T) {
	es := synced(t, 2*time.Hour, `syncWindows: {kind: deny, windows: [{schedule: "0 0 * * *", duration: 48h}]}`)
	due := plan.Refresh(es, noon())
	if due.Now || !due.Next.After(noon().Add(100*24*time.Hour)) {
		t.Fatalf("due: %+v", due)
	}
}

func TestSyncedVersion(t *testing.T) {
	base := func() *esv1.ExternalSecret {
		es := object(t, `{}`)
		es.Labels, es.Annotations = map[string]string{"a": "1"}, map[string]string{"b": "2"}
		return es
	}
	want := plan.SyncedVersion(base())
	if want != plan.SyncedVersion(base()) || want[:2] != "1-" {
		t.Fatalf("version %q is not stable, or does not begin with the generation", want)
	}
	for name, change := range map[string]func(*esv1.ExternalSecret){
		"generation":       func(es *esv1.ExternalSecret) { es.Generation = 2 },
		"label value":      func(es *esv1.ExternalSecret) { es.Labels["a"] = "2" },
		"label moved":      func(es *esv1.ExternalSecret) { es.Labels, es.Annotations = es.Annotations, es.Labels },
		"label run on":     func(es *esv1.ExternalSecret) { es.Labels = map[string]string{"a": "1 c:3"} },
		"two labels":       func(es *esv1.ExternalSecret) { es.Labels = map[string]string{"a": "1", "c": "3"} },
		"no annotations":   func(es *esv1.ExternalSecret) { es.Annotations = nil },
		"force-sync":       func(es *esv1.ExternalSecret) { es.Annotations[esv1.AnnotationForceSync] = "" },
		"force-sync value": func(es *esv1.ExternalSecret) { es.Annotations[esv1.AnnotationForceSync] = "9" },
	} {
		t.Run(name, func(t *testing.T) {
			es := base()
			change(es)
			if got := plan.SyncedVersion(es); got == want {
				t.Fatalf("%q did not change", got)
			}
		})
	}
}

func TestDrifted(t *testing.T) {
	good := func() *metav1.PartialObjectMetadata {
		m := &metav1.PartialObjectMetadata{}
		m.Labels = map[string]string{esv1.LabelManaged: "true"}
		m.ResourceVersion = "7"
		return m
	}
	unlabelled, edited := good(), good()
	unlabelled.Labels = nil
	edited.ResourceVersion = "8"
	for name, c := range map[string]struct {
		policy string
		target *metav1.PartialObjectMetadata
		reason string
		want   bool
	}{
		"owner, as written":                  {"Owner", good(), "", false},
		"owner, deleted":                     {"Owner", nil, "", true},
		"owner is the default":               {`""`, nil, "", true},
		"owner, unlabelled":                  {"Owner", unlabelled, "", true},
		"owner, edited":                      {"Owner", edited, "", true},
		"owner, deleted by us":               {"Owner", nil, esv1.ConditionReasonSecretDeleted, false},
		"owner, absent after a sync":         {"Owner", nil, esv1.ConditionReasonSecretSynced, true},
		"owner, never written":               {"Owner", nil, "unwritten", false},
		"owner, generic, deleted by us":      {"Owner", nil, esv1.ConditionReasonResourceDeleted, false},
		"create or merge, deleted":           {"CreateOrMerge", nil, "", true},
		"create or merge, edited":            {"CreateOrMerge", edited, "", true},
		"merge, absent":                      {"Merge", nil, "", false},
		"merge, edited":                      {"Merge", edited, "", true},
		"merge, appeared":                    {"Merge", unlabelled, esv1.ConditionReasonSecretMissing, true},
		"orphan is left alone when deleted":  {"Orphan", nil, "", false},
		"orphan is left alone when edited":   {"Orphan", edited, "", false},
		"none has no target":                 {"None", nil, "", false},
		"none does not care for its present": {"None", edited, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			es := object(t, "target: {creationPolicy: "+c.policy+"}")
			es.Status.TargetResourceVersion, es.Status.Binding.Name = "7", "db"
			if c.reason == "unwritten" { // the store had nothing, and Retain kept it at that
				es.Status.TargetResourceVersion, es.Status.Binding.Name = "", ""
			}
			if c.reason != "" {
				es.Status.Conditions = []esv1.ExternalSecretStatusCondition{
					{Type: esv1.ExternalSecretStalled, Status: corev1.ConditionFalse},
					{Type: esv1.ExternalSecretReady, Status: corev1.ConditionTrue, Reason: c.reason},
				}
			}
			if got := plan.Drifted(es, c.target); got != c.want {
				t.Fatalf("drifted: %v", got)
			}
		})
	}
}
