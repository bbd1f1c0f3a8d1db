package plan

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	esv1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
)

// Due says whether an ExternalSecret is to be synced, and when it will be.
type Due struct {
	// Now: read the stores in this pass.
	Now bool
	// Forced: the force-sync annotation changed since the last sync, so nothing
	// that was read before will do.
	Forced bool
	// Reason is why, in a few words; empty when nothing is due.
	Reason string
	// Next is when to look again if nothing else happens; zero is never. It is
	// not set when Now is.
	Next time.Time
	// Warnings name schedules of syncWindows that cannot be read. Such a window
	// is never open.
	Warnings []string
}

// Refresh decides whether the stores are to be read at now. A change of the spec,
// of labels or of annotations is due at once under every policy but CreatedOnce,
// also with a refreshInterval of zero. Sync windows hold back the passing of the
// interval and nothing else; Next is then when the window allows it.
func Refresh(es *esv1.ExternalSecret, now time.Time) Due {
	synced := es.Status.SyncedResourceVersion
	last := es.Status.RefreshTime.Time
	if synced == "" || last.IsZero() {
		return Due{Now: true, Reason: "not synced yet"}
	}
	if es.Spec.RefreshPolicy == esv1.RefreshPolicyCreatedOnce {
		return Due{}
	}
	if current := SyncedVersion(es); current != synced {
		return Due{Now: true, Reason: "the object changed", Forced: forcePart(current) != forcePart(synced)}
	}
	if es.Spec.RefreshPolicy == esv1.RefreshPolicyOnChange {
		return Due{}
	}
	every := interval(&es.Spec)
	if every <= 0 {
		return Due{}
	}
	w, warnings := parseWindows(es.Spec.SyncWindows)
	if last.After(now) {
		return Due{Now: true, Reason: "the last sync lies in the future", Warnings: warnings}
	}
	next := w.permit(last.Add(every))
	if !next.IsZero() && !next.After(now) {
		// The windows may have let it pass earlier; what counts is now.
		next = w.permit(now)
	}
	if next.Equal(now) {
		return Due{Now: true, Reason: "the refresh interval has passed", Warnings: warnings}
	}
	return Due{Next: next, Warnings: warnings}
}

// defaultInterval is the CRD's default of spec.refreshInterval, for objects that
// no API server has filled in.
const defaultInterval = time.Hour

func interval(spec *esv1.ExternalSecretSpec) time.Duration {
	if spec.RefreshInterval == nil {
		return defaultInterval
	}
	return spec.RefreshInterval.Duration
}

// digestLength is how long the digest in a SyncedVersion is.
const digestLength = 32

// SyncedVersion returns what status.syncedResourceVersion holds after a sync of
// es as it is: its generation and a digest of its labels and annotations, none of
// which is secret, with the force-sync annotation told apart.
func SyncedVersion(es metav1.Object) string {
	rest := maps.Clone(es.GetAnnotations())
	delete(rest, esv1.AnnotationForceSync)
	h := sha256.New()
	hashMap(h, es.GetLabels())
	hashMap(h, rest)
	version := fmt.Sprintf("%d-%s", es.GetGeneration(), hex.EncodeToString(h.Sum(nil)[:digestLength/2]))
	if v, ok := es.GetAnnotations()[esv1.AnnotationForceSync]; ok {
		forced := sha256.Sum256([]byte(v))
		version += "-" + hex.EncodeToString(forced[:8])
	}
	return version
}

// forcePart returns what stands for the force-sync annotation in a SyncedVersion.
func forcePart(version string) string {
	if parts := strings.SplitN(version, "-", 3); len(parts) == 3 {
		return parts[2]
	}
	return ""
}

// hashMap writes a map unambiguously: sizes before contents, keys in order.
func hashMap[K cmp.Ordered](h hash.Hash, m map[K]string) {
	hashSize(h, len(m))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		hashString(h, fmt.Sprint(k))
		hashString(h, m[k])
	}
}

func hashString(h hash.Hash, s string) {
	hashSize(h, len(s))
	_, _ = io.WriteString(h, s) // a hash takes everything
}

func hashSize(h hash.Hash, n int) {
	_, _ = h.Write(binary.BigEndian.AppendUint64(nil, uint64(n))) //nolint:gosec // a length is not negative
}

// Drifted reports whether the target as last seen calls for a pass although
// nothing is due: it was deleted, lost its label, or is not what was written.
// target is nil if there is none. A target that the policy does not keep in
// shape, or that is rightly absent, has not drifted.
func Drifted(es *esv1.ExternalSecret, target *metav1.PartialObjectMetadata) bool {
	switch creationPolicy(&es.Spec) {
	case esv1.CreatePolicyNone, esv1.CreatePolicyOrphan:
		return false
	case esv1.CreatePolicyMerge:
		if target == nil {
			return false
		}
	default:
		if target == nil {
			return !rightlyAbsent(es)
		}
	}
	return target.Labels[esv1.LabelManaged] != esv1.LabelManagedValue ||
		target.ResourceVersion != es.Status.TargetResourceVersion
}

// rightlyAbsent reports whether the last sync left no target on purpose.
func rightlyAbsent(es *esv1.ExternalSecret) bool {
	if es.Status.Binding.Name == "" && es.Status.TargetResourceVersion == "" {
		return true
	}
	for _, c := range es.Status.Conditions {
		if c.Type == esv1.ExternalSecretReady {
			return c.Reason == esv1.ConditionReasonSecretDeleted || c.Reason == esv1.ConditionReasonResourceDeleted
		}
	}
	return false
}
