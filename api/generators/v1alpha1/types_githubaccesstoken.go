package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	esmeta "github.com/keyferry/keyferry/api/meta/v1"
)

// GithubAccessToken makes installation tokens of a GitHub app.
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:storageversion
// +kubebuilder:metadata:labels="external-secrets.io/component=controller"
// +kubebuilder:resource:scope=Namespaced,categories={external-secrets,external-secrets-generators}
// +kubebuilder:validation:XValidation:rule="has(self.spec)",message="spec is needed: name the app in spec.appID"
type GithubAccessToken struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +optional
	Spec GithubAccessTokenSpec `json:"spec,omitzero"`
}

// GithubAccessTokenList is a list of GithubAccessToken objects.
// +kubebuilder:object:root=true
type GithubAccessTokenList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []GithubAccessToken `json:"items"`
}

// GeneratorSpec returns the *GithubAccessTokenSpec inside g.
func (g *GithubAccessToken) GeneratorSpec() any { return &g.Spec }

// ControllerClass returns an empty string.
func (*GithubAccessToken) ControllerClass() string { return "" }

// GithubAccessTokenSpec says for what a token is.
type GithubAccessTokenSpec struct {
	// URL of the API; empty means https://api.github.com.
	// +optional
	URL string `json:"url,omitempty"`
	// AppID of the app.
	AppID string `json:"appID"`
	// InstallID of the installation of the app.
	InstallID string `json:"installID"`
	// Repositories that the token is for, by name; empty means all that the installation
	// has.
	// +optional
	Repositories []string `json:"repositories,omitempty"`
	// Permissions of the token, such as contents: read; empty means all that the
	// installation has.
	// +optional
	Permissions map[string]string `json:"permissions,omitempty"`
	// Auth is how to log in.
	Auth GithubAuth `json:"auth"`
}

// GithubAuth is how to log in.
type GithubAuth struct {
	// PrivateKey of the app.
	PrivateKey GithubSecretRef `json:"privateKey"`
}

// GithubSecretRef points at a key.
type GithubSecretRef struct {
	// SecretRef points at the PEM private key.
	SecretRef esmeta.SecretKeySelector `json:"secretRef"`
}
