package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Password makes random passwords.
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:storageversion
// +kubebuilder:metadata:labels="external-secrets.io/component=controller"
// +kubebuilder:resource:scope=Namespaced,categories={external-secrets,external-secrets-generators}
type Password struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +optional
	Spec PasswordSpec `json:"spec,omitzero"`
}

// PasswordList is a list of Password objects.
// +kubebuilder:object:root=true
type PasswordList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Password `json:"items"`
}

// GeneratorSpec returns the *PasswordSpec inside g.
func (g *Password) GeneratorSpec() any { return &g.Spec }

// ControllerClass returns an empty string.
func (*Password) ControllerClass() string { return "" }

// PasswordEncoding says how a password is written.
// +kubebuilder:validation:Enum=base64;base64url;base32;hex;raw
type PasswordEncoding string

// The encodings. Empty means PasswordEncodingRaw.
const (
	PasswordEncodingBase64    PasswordEncoding = "base64"
	PasswordEncodingBase64URL PasswordEncoding = "base64url"
	PasswordEncodingBase32    PasswordEncoding = "base32"
	PasswordEncodingHex       PasswordEncoding = "hex"
	PasswordEncodingRaw       PasswordEncoding = "raw"
)

// PasswordSpec says what a password looks like.
type PasswordSpec struct {
	// Length of the password, before it is encoded.
	// +kubebuilder:default=24
	Length int `json:"length"`
	// Digits is how many of the characters are digits; empty means a quarter.
	// +optional
	Digits *int `json:"digits,omitempty"`
	// Symbols is how many of the characters are symbols; empty means a quarter.
	// +optional
	Symbols *int `json:"symbols,omitempty"`
	// SymbolCharacters are the symbols to choose from.
	// +optional
	SymbolCharacters *string `json:"symbolCharacters,omitempty"`
	// NoUpper leaves upper-case letters out.
	// +kubebuilder:default=false
	NoUpper bool `json:"noUpper"`
	// AllowRepeat allows a character to occur more than once.
	// +kubebuilder:default=false
	AllowRepeat bool `json:"allowRepeat"`
	// Encoding of the result.
	// +optional
	// +kubebuilder:default=raw
	Encoding PasswordEncoding `json:"encoding,omitempty"`
	// SecretKeys are the keys of the result, each with a password of its own; empty
	// means one: password.
	// +optional
	// +kubebuilder:validation:MinItems:=1
	SecretKeys []string `json:"secretKeys,omitempty"`
}
