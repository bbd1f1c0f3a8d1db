package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	esmeta "github.com/keyferry/keyferry/api/meta/v1"
)

// GitlabDeployToken makes deploy tokens of a GitLab project or group.
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:storageversion
// +kubebuilder:metadata:labels="external-secrets.io/component=controller"
// +kubebuilder:resource:scope=Namespaced,categories={external-secrets,external-secrets-generators}
// +kubebuilder:validation:XValidation:rule="has(self.spec)",message="spec is needed: name the token in spec.name"
type GitlabDeployToken struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +optional
	Spec GitlabDeployTokenSpec `json:"spec,omitzero"`
}

// GitlabDeployTokenList is a list of GitlabDeployToken objects.
// +kubebuilder:object:root=true
type GitlabDeployTokenList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []GitlabDeployToken `json:"items"`
}

// GeneratorSpec returns the *GitlabDeployTokenSpec inside g.
func (g *GitlabDeployToken) GeneratorSpec() any { return &g.Spec }

// ControllerClass returns an empty string.
func (*GitlabDeployToken) ControllerClass() string { return "" }

// GitlabDeployTokenScope is what a deploy token may do.
// +kubebuilder:validation:Enum=read_repository;read_registry;write_registry;read_package_registry;write_package_registry;read_virtual_registry;write_virtual_registry
type GitlabDeployTokenScope string

// GitlabDeployTokenSpec says for what a token is.
// +kubebuilder:validation:XValidation:rule="has(self.projectID) != has(self.groupID)",message="set exactly one of projectID and groupID"
type GitlabDeployTokenSpec struct {
	// URL of the server; empty means https://gitlab.com.
	// +optional
	URL string `json:"url,omitempty"`
	// Auth is how to log in.
	Auth GitlabAuth `json:"auth"`
	// ProjectID is the ID or the path of a project.
	// +optional
	// +kubebuilder:validation:MinLength:=1
	ProjectID string `json:"projectID,omitempty"`
	// GroupID is the ID or the path of a group.
	// +optional
	// +kubebuilder:validation:MinLength:=1
	GroupID string `json:"groupID,omitempty"`
	// Name of the token.
	// +kubebuilder:validation:MinLength:=1
	Name string `json:"name"`
	// Username of the token; empty lets the server choose.
	// +optional
	Username string `json:"username,omitempty"`
	// Scopes of the token.
	// +kubebuilder:validation:MinItems:=1
	Scopes []GitlabDeployTokenScope `json:"scopes"`
	// ExpiresAt is when the token ends; empty means never.
	// +optional
	ExpiresAt *metav1.Time `json:"expiresAt,omitempty"`
}

// GitlabAuth is how to log in.
type GitlabAuth struct {
	// Token of a user, a project or a group that may make deploy tokens.
	Token GitlabSecretRef `json:"token"`
}

// GitlabSecretRef points at a token.
type GitlabSecretRef struct {
	// SecretRef points at the token.
	SecretRef esmeta.SecretKeySelector `json:"secretRef"`
}
