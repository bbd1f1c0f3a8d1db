package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	esmeta "github.com/keyferry/keyferry/api/meta/v1"
)

// MFA makes one-time passwords (TOTP, RFC 6238).
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:storageversion
// +kubebuilder:metadata:labels="external-secrets.io/component=controller"
// +kubebuilder:resource:scope=Namespaced,categories={external-secrets,external-secrets-generators}
// +kubebuilder:validation:XValidation:rule="has(self.spec)",message="spec is needed: name the seed in spec.secret"
type MFA struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +optional
	Spec MFASpec `json:"spec,omitzero"`
}

// MFAList is a list of MFA objects.
// +kubebuilder:object:root=true
type MFAList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []MFA `json:"items"`
}

// GeneratorSpec returns the *MFASpec inside g.
func (g *MFA) GeneratorSpec() any { return &g.Spec }

// ControllerClass returns an empty string.
func (*MFA) ControllerClass() string { return "" }

// MFASpec says how a one-time password is made.
type MFASpec struct {
	// Secret points at the seed, in Base32.
	Secret esmeta.SecretKeySelector `json:"secret"`
	// Length of the password; empty means 6.
	// +optional
	Length int `json:"length,omitempty"`
	// TimePeriod is how many seconds a password is valid; empty means 30.
	// +optional
	TimePeriod int `json:"timePeriod,omitempty"`
	// Algorithm is the hash function: sha1 (also when empty), sha256 or sha512.
	// +optional
	Algorithm string `json:"algorithm,omitempty"`
	// When is a fixed time to make the password for, for tests; empty means now.
	// +optional
	When *metav1.Time `json:"when,omitempty"`
}
