package v1alpha1

import (
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	esv1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
)

// VaultDynamicSecret asks HashiCorp Vault, or what speaks its API, for a secret that it makes.
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:storageversion
// +kubebuilder:metadata:labels="external-secrets.io/component=controller"
// +kubebuilder:resource:scope=Namespaced,categories={external-secrets,external-secrets-generators}
// +kubebuilder:validation:XValidation:rule="has(self.spec)",message="spec is needed: name the secret in spec.path"
type VaultDynamicSecret struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +optional
	Spec VaultDynamicSecretSpec `json:"spec,omitzero"`
}

// VaultDynamicSecretList is a list of VaultDynamicSecret objects.
// +kubebuilder:object:root=true
type VaultDynamicSecretList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []VaultDynamicSecret `json:"items"`
}

// GeneratorSpec returns the *VaultDynamicSecretSpec inside g.
func (g *VaultDynamicSecret) GeneratorSpec() any { return &g.Spec }

// ControllerClass returns spec.controller.
func (g *VaultDynamicSecret) ControllerClass() string { return g.Spec.Controller }

// VaultDynamicSecretResultType says which part of a response is taken.
// +kubebuilder:validation:Enum=Data;Auth;Raw
type VaultDynamicSecretResultType string

// The parts. Empty means VaultDynamicSecretResultTypeData.
const (
	// VaultDynamicSecretResultTypeData is the member data.
	VaultDynamicSecretResultTypeData VaultDynamicSecretResultType = "Data"
	// VaultDynamicSecretResultTypeAuth is the member auth: a token and what it may do.
	VaultDynamicSecretResultTypeAuth VaultDynamicSecretResultType = "Auth"
	// VaultDynamicSecretResultTypeRaw is the whole response.
	VaultDynamicSecretResultTypeRaw VaultDynamicSecretResultType = "Raw"
)

// VaultDynamicSecretSpec says which secret to ask for.
type VaultDynamicSecretSpec struct {
	// Controller is the class of controller that handles this generator; empty means all.
	// +optional
	Controller string `json:"controller,omitempty"`
	// Method is GET (also when empty), LIST, DELETE, or another for a write.
	// +optional
	Method string `json:"method,omitempty"`
	// Parameters are the body of a write: an object.
	// +optional
	Parameters *apiextensionsv1.JSON `json:"parameters,omitempty"`
	// GetParameters are the query of a GET.
	// +optional
	GetParameters map[string][]string `json:"getParameters,omitempty"`
	// ResultType says which part of the response is taken: its data, its auth (a token),
	// or all of it.
	// +optional
	// +kubebuilder:default=Data
	ResultType VaultDynamicSecretResultType `json:"resultType,omitempty"`
	// RetrySettings of the requests.
	// +optional
	RetrySettings *esv1.SecretStoreRetrySettings `json:"retrySettings,omitempty"`
	// Provider says where the server is and how to log in, as in a store; its path and
	// version do not matter.
	Provider *esv1.VaultProvider `json:"provider"`
	// Path of the secret, such as database/creds/app.
	Path string `json:"path"`
	// AllowEmptyResponse takes a response without content as an empty result; otherwise
	// it is an error.
	// +optional
	// +kubebuilder:default=false
	AllowEmptyResponse bool `json:"allowEmptyResponse,omitempty"`
}
