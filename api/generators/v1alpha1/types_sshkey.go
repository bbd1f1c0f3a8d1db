package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// SSHKey makes SSH key pairs.
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:storageversion
// +kubebuilder:metadata:labels="external-secrets.io/component=controller"
// +kubebuilder:resource:scope=Namespaced,categories={external-secrets,external-secrets-generators}
type SSHKey struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +optional
	Spec SSHKeySpec `json:"spec,omitzero"`
}

// SSHKeyList is a list of SSHKey objects.
// +kubebuilder:object:root=true
type SSHKeyList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []SSHKey `json:"items"`
}

// GeneratorSpec returns the *SSHKeySpec inside g.
func (g *SSHKey) GeneratorSpec() any { return &g.Spec }

// ControllerClass returns an empty string.
func (*SSHKey) ControllerClass() string { return "" }

// SSHKeyType is an algorithm.
// +kubebuilder:validation:Enum=rsa;ecdsa;ed25519
type SSHKeyType string

// The algorithms. Empty means SSHKeyTypeRSA.
const (
	SSHKeyTypeRSA     SSHKeyType = "rsa"
	SSHKeyTypeECDSA   SSHKeyType = "ecdsa"
	SSHKeyTypeEd25519 SSHKeyType = "ed25519"
)

// SSHKeySpec says what a key pair looks like.
type SSHKeySpec struct {
	// KeyType is the algorithm.
	// +optional
	// +kubebuilder:default=rsa
	KeyType SSHKeyType `json:"keyType,omitempty"`
	// KeySize in bits; empty means 2048 for rsa and 256 for ecdsa, which also knows 384
	// and 521. It is ignored for ed25519.
	// +optional
	// +kubebuilder:validation:Minimum:=256
	// +kubebuilder:validation:Maximum:=8192
	KeySize *int `json:"keySize,omitempty"`
	// Comment of the public key.
	// +optional
	Comment string `json:"comment,omitempty"`
}
