// Package v1 is the API group external-secrets.io/v1: ExternalSecret,
// ClusterExternalSecret, SecretStore and ClusterSecretStore, as External Secrets
// Operator's users write them.
//
// It holds types, their names and how they encode, and depends on apimachinery
// alone. What a field means is decided by whoever acts on it; what a manifest may
// say is decided by the schema and CEL rules that hack/gen generates from the
// markers here. A store for a provider that this build does not have is kept
// whole, byte for byte:
//
//	var store v1.SecretStore
//	err := yaml.Unmarshal(manifest, &store)
//	name, spec := store.Spec.Provider.Selected() // "vault", *v1.VaultProvider
//
// +kubebuilder:object:generate=true
// +groupName=external-secrets.io
package v1
