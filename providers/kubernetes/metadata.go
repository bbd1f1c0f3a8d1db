package kubernetes

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/validation"

	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/secret"
)

// bookkeeping begins the labels and annotations that say what made the source: of the
// target they would not be true.
const bookkeeping = "reconcile.external-secrets.io/"

// mergePolicy says what becomes of labels and annotations that are there already.
type mergePolicy string

const (
	mergeBoth   mergePolicy = "Merge"
	replaceAll  mergePolicy = "Replace"
	leaveAsItIs mergePolicy = "Ignore"
)

// pushMetadata is what the metadata of a PushSecret can say about its target.
type pushMetadata struct {
	// TargetMergePolicy is for those of the target: Merge if empty.
	TargetMergePolicy mergePolicy `json:"targetMergePolicy"`
	// SourceMergePolicy is for those of the origin, with those here: Merge if empty.
	SourceMergePolicy mergePolicy       `json:"sourceMergePolicy"`
	Labels            map[string]string `json:"labels"`
	Annotations       map[string]string `json:"annotations"`
	// RemoteNamespace is where the target is; that of the store if empty.
	RemoteNamespace string `json:"remoteNamespace"`
}

// decode returns the metadata with the namespace that counts. A store that belongs to
// a namespace names the one that it writes to in its manifest alone.
func (s *store) decode(ref secret.Ref, raw json.RawMessage, cluster bool) (pushMetadata, error) {
	m, err := provider.DecodeMetadata[pushMetadata](raw)
	if err != nil {
		if e, ok := errors.AsType[*secret.Error](err); ok {
			e.Provider, e.Ref = name, ref
		}
		return m, err
	}
	if err := m.check(cluster); err != nil {
		return m, fail(secret.Invalid, "write", ref, err)
	}
	if m.RemoteNamespace == "" {
		m.RemoteNamespace = s.namespace
	}
	return m, nil
}

func (m pushMetadata) check(cluster bool) error {
	switch _, marked := m.Labels[provider.Mark]; {
	case marked:
		return fmt.Errorf("metadata.spec.labels has %q, which says who owns the Secret: leave it out", provider.Mark)
	case !slices.Contains([]mergePolicy{"", mergeBoth, replaceAll, leaveAsItIs}, m.TargetMergePolicy):
		return fmt.Errorf("metadata.spec.targetMergePolicy is %q: it is Merge, Replace or Ignore", m.TargetMergePolicy)
	case !slices.Contains([]mergePolicy{"", mergeBoth, replaceAll}, m.SourceMergePolicy):
		return fmt.Errorf("metadata.spec.sourceMergePolicy is %q: it is Merge or Replace", m.SourceMergePolicy)
	case m.RemoteNamespace != "" && !cluster:
		return errors.New("metadata.spec.remoteNamespace needs a ClusterSecretStore: a SecretStore writes to its own spec.provider.kubernetes.remoteNamespace")
	case m.RemoteNamespace != "" && len(validation.ValidateNamespaceName(m.RemoteNamespace, false)) > 0:
		return fmt.Errorf("metadata.spec.remoteNamespace is %q, which is no name of a namespace", m.RemoteNamespace)
	}
	return nil
}

// wanted returns the labels and annotations that the target gets.
func (m pushMetadata) wanted(have objectMeta, origin provider.Origin) (labels, annotations map[string]string) {
	return m.merge(have.Labels, origin.Labels, m.Labels), m.merge(have.Annotations, origin.Annotations, m.Annotations)
}

func (m pushMetadata) merge(have, origin, own map[string]string) map[string]string {
	out := map[string]string{}
	if m.TargetMergePolicy != replaceAll {
		maps.Copy(out, have)
	}
	if m.TargetMergePolicy == leaveAsItIs {
		return out
	}
	if m.SourceMergePolicy != replaceAll {
		for k, v := range origin {
			if !private(k) {
				out[k] = v
			}
		}
	}
	maps.Copy(out, own)
	return out
}

// private reports whether a label or annotation of the origin stays with it. The
// annotation of kubectl holds a copy of the data.
func private(key string) bool {
	return key == provider.Mark || key == corev1.LastAppliedConfigAnnotation || strings.HasPrefix(key, bookkeeping)
}
