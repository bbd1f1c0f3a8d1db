// Package v1alpha1 is the API group external-secrets.io/v1alpha1: PushSecret and
// ClusterPushSecret, as External Secrets Operator's users write them.
//
// It holds types, their names and how they encode, and depends on apimachinery
// alone. What a field means is decided by whoever acts on it; what a manifest may
// say is decided by the schema and CEL rules that hack/gen generates from the
// markers here.
//
//	var ps v1alpha1.PushSecret
//	err := yaml.Unmarshal(manifest, &ps)
//
// +kubebuilder:object:generate=true
// +groupName=external-secrets.io
package v1alpha1
