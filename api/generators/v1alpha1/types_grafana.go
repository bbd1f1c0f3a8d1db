package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Grafana makes tokens of Grafana service accounts.
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:storageversion
// +kubebuilder:metadata:labels="external-secrets.io/component=controller"
// +kubebuilder:resource:scope=Namespaced,categories={external-secrets,external-secrets-generators}
// +kubebuilder:validation:XValidation:rule="has(self.spec)",message="spec is needed: name the server in spec.url"
type Grafana struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +optional
	Spec GrafanaSpec `json:"spec,omitzero"`
}

// GrafanaList is a list of Grafana objects.
// +kubebuilder:object:root=true
type GrafanaList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Grafana `json:"items"`
}

// GeneratorSpec returns the *GrafanaSpec inside g.
func (g *Grafana) GeneratorSpec() any { return &g.Spec }

// ControllerClass returns an empty string.
func (*Grafana) ControllerClass() string { return "" }

// GrafanaSpec says for what a token is.
type GrafanaSpec struct {
	// URL of the server.
	URL string `json:"url"`
	// Auth is how to log in: one of its members.
	Auth GrafanaAuth `json:"auth"`
	// ServiceAccount that the token is for. It is made if it is not there.
	ServiceAccount GrafanaServiceAccount `json:"serviceAccount"`
}

// GrafanaAuth is how to log in: one of its members.
type GrafanaAuth struct {
	// Token of a service account that may make service accounts.
	// +optional
	Token *SecretKeySelector `json:"token,omitempty"`
	// Basic logs in with a user name and a password.
	// +optional
	Basic *GrafanaBasicAuth `json:"basic,omitempty"`
}

// GrafanaBasicAuth logs in with a user name and a password.
type GrafanaBasicAuth struct {
	// Username of the user.
	Username string `json:"username"`
	// Password points at the password.
	Password SecretKeySelector `json:"password"`
}

// GrafanaServiceAccount is a service account of Grafana.
type GrafanaServiceAccount struct {
	// Name of the service account.
	Name string `json:"name"`
	// Role of the service account: Viewer, Editor, Admin or None.
	Role string `json:"role"`
	// SecondsToLive of the token; empty means that it never ends.
	// +optional
	// +kubebuilder:validation:Minimum:=1
	SecondsToLive *int64 `json:"secondsToLive,omitempty"`
}

// SecretKeySelector points at one key of a Secret, in the namespace of the generator or,
// for a ClusterGenerator, of the consumer.
type SecretKeySelector struct {
	// Name of the Secret.
	// +optional
	// +kubebuilder:validation:MinLength:=1
	// +kubebuilder:validation:MaxLength:=253
	// +kubebuilder:validation:Pattern:=^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$
	Name string `json:"name,omitempty"`
	// Key inside the Secret.
	// +optional
	// +kubebuilder:validation:MinLength:=1
	// +kubebuilder:validation:MaxLength:=253
	// +kubebuilder:validation:Pattern:=^[-._a-zA-Z0-9]+$
	Key string `json:"key,omitempty"`
}
