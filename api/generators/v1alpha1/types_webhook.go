package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	esv1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
)

// Webhook asks an HTTP service.
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:storageversion
// +kubebuilder:metadata:labels="external-secrets.io/component=controller"
// +kubebuilder:resource:scope=Namespaced,categories={external-secrets,external-secrets-generators}
// +kubebuilder:validation:XValidation:rule="has(self.spec)",message="spec is needed: name the service in spec.url"
type Webhook struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +optional
	Spec WebhookSpec `json:"spec,omitzero"`
}

// WebhookList is a list of Webhook objects.
// +kubebuilder:object:root=true
type WebhookList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Webhook `json:"items"`
}

// GeneratorSpec returns the *WebhookSpec inside g.
func (g *Webhook) GeneratorSpec() any { return &g.Spec }

// ControllerClass returns an empty string.
func (*Webhook) ControllerClass() string { return "" }

// WebhookSpec is the request to send. In url, body and headers are templates that see
// the named secrets.
type WebhookSpec struct {
	// Method of the request; empty means GET.
	// +optional
	Method string `json:"method,omitempty"`
	// URL of the request.
	URL string `json:"url"`
	// Headers of the request.
	// +optional
	Headers map[string]string `json:"headers,omitempty"`
	// Auth is how to log in, where headers do not do.
	// +optional
	Auth *esv1.AuthorizationProtocol `json:"auth,omitempty"`
	// Body of the request.
	// +optional
	Body string `json:"body,omitempty"`
	// Timeout of the request, as a duration such as 10s.
	// +optional
	// +kubebuilder:validation:XValidation:rule="duration(self) <= duration('876000h')",message="timeout must be a duration such as 1h30m or 45s, and at most 876000h"
	Timeout *metav1.Duration `json:"timeout,omitempty"`
	// Result says where in the response the values are: a JSON object.
	Result esv1.WebhookResult `json:"result"`
	// Secrets that the templates see. Each must carry the label
	// external-secrets.io/type=webhook.
	// +optional
	Secrets []WebhookSecret `json:"secrets,omitempty"`
	// CABundle is a PEM bundle, in Base64, of the authorities to trust.
	// +optional
	CABundle []byte `json:"caBundle,omitempty"`
	// CAProvider points at such a bundle.
	// +optional
	CAProvider *esv1.CAProvider `json:"caProvider,omitempty"`
}

// WebhookSecret is a Secret that templates see as .<name>.<key>.
type WebhookSecret struct {
	// Name that the templates use.
	Name string `json:"name"`
	// SecretRef names the Secret.
	SecretRef SecretKeySelector `json:"secretRef"`
}
