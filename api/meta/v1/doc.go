// Package v1 holds the selectors that every API group of Keyferry shares: how a
// manifest points at a key of a Secret or at a service account.
//
// It holds types only. Whether a reference may be followed, above all across
// namespaces, is decided where references are resolved, never here.
//
//	ref := metav1.SecretKeySelector{Name: "vault-token", Key: "token"}
//
// +kubebuilder:object:generate=true
package v1
