// Package v1alpha1 is the API group generators.external-secrets.io/v1alpha1: the
// kinds that make values (passwords, keys, tokens), ClusterGenerator and
// GeneratorState, as External Secrets Operator's users write them.
//
// It holds types, their names and how they encode, and depends on apimachinery
// alone. What a generator makes is decided by the package that is named after it in
// generators/; what a manifest may say is decided by the schema and CEL rules that are
// generated from the markers here by hack/gen.
//
//	object, ok := v1alpha1.New("Password") // a *v1alpha1.Password
//	err := client.Get(ctx, key, object)
//	spec := object.GeneratorSpec() // the *v1alpha1.PasswordSpec inside
//
// +kubebuilder:object:generate=true
// +groupName=generators.external-secrets.io
package v1alpha1
