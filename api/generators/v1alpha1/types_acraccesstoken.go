package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	esmeta "github.com/keyferry/keyferry/api/meta/v1"
)

// ACRAccessToken makes tokens for Azure Container Registry.
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:storageversion
// +kubebuilder:metadata:labels="external-secrets.io/component=controller"
// +kubebuilder:resource:scope=Namespaced,categories={external-secrets,external-secrets-generators}
// +kubebuilder:validation:XValidation:rule="has(self.spec)",message="spec is needed: name the registry in spec.registry"
type ACRAccessToken struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +optional
	Spec ACRAccessTokenSpec `json:"spec,omitzero"`
}

// ACRAccessTokenList is a list of ACRAccessToken objects.
// +kubebuilder:object:root=true
type ACRAccessTokenList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []ACRAccessToken `json:"items"`
}

// GeneratorSpec returns the *ACRAccessTokenSpec inside g.
func (g *ACRAccessToken) GeneratorSpec() any { return &g.Spec }

// ControllerClass returns an empty string.
func (*ACRAccessToken) ControllerClass() string { return "" }

// AzureEnvironmentType is a cloud of Azure.
// +kubebuilder:validation:Enum=PublicCloud;USGovernmentCloud;ChinaCloud;GermanCloud;AzureStackCloud
type AzureEnvironmentType string

// The clouds. Empty means AzureEnvironmentPublicCloud.
const (
	AzureEnvironmentPublicCloud       AzureEnvironmentType = "PublicCloud"
	AzureEnvironmentUSGovernmentCloud AzureEnvironmentType = "USGovernmentCloud"
	AzureEnvironmentChinaCloud        AzureEnvironmentType = "ChinaCloud"
	AzureEnvironmentGermanCloud       AzureEnvironmentType = "GermanCloud"
	AzureEnvironmentAzureStackCloud   AzureEnvironmentType = "AzureStackCloud"
)

// ACRAccessTokenSpec says for what a token is.
type ACRAccessTokenSpec struct {
	// Auth is how to log in: exactly one of its members.
	Auth ACRAuth `json:"auth"`
	// TenantID of Entra ID (Azure Active Directory).
	// +optional
	TenantID string `json:"tenantId,omitempty"`
	// ACRRegistry is the host name of the registry, such as example.azurecr.io.
	ACRRegistry string `json:"registry"`
	// Scope of an access token, such as repository:app:pull,push. Without one the
	// result is a refresh token, which may do all that the identity may.
	// +optional
	Scope string `json:"scope,omitempty"`
	// EnvironmentType is the cloud, which decides where logins happen.
	// +optional
	// +kubebuilder:default=PublicCloud
	EnvironmentType AzureEnvironmentType `json:"environmentType,omitempty"`
}

// ACRAuth is how to log in: exactly one of its members.
type ACRAuth struct {
	// ServicePrincipal logs in with an ID and a secret.
	// +optional
	ServicePrincipal *AzureACRServicePrincipalAuth `json:"servicePrincipal,omitempty"`
	// ManagedIdentity logs in as the identity of the machine that the controller runs on.
	// +optional
	ManagedIdentity *AzureACRManagedIdentityAuth `json:"managedIdentity,omitempty"`
	// WorkloadIdentity logs in with a token of a service account.
	// +optional
	WorkloadIdentity *AzureACRWorkloadIdentityAuth `json:"workloadIdentity,omitempty"`
}

// AzureACRServicePrincipalAuth logs in with an ID and a secret.
type AzureACRServicePrincipalAuth struct {
	// SecretRef points at both.
	SecretRef AzureACRServicePrincipalAuthSecretRef `json:"secretRef"`
}

// AzureACRServicePrincipalAuthSecretRef points at an ID and a secret.
type AzureACRServicePrincipalAuthSecretRef struct {
	// ClientID points at the ID of the service principal.
	// +optional
	ClientID esmeta.SecretKeySelector `json:"clientId,omitzero"`
	// ClientSecret points at its secret.
	// +optional
	ClientSecret esmeta.SecretKeySelector `json:"clientSecret,omitzero"`
}

// AzureACRManagedIdentityAuth logs in as the identity of the machine.
type AzureACRManagedIdentityAuth struct {
	// IdentityID is the client ID of the identity, where the machine has several.
	// +optional
	IdentityID string `json:"identityId,omitempty"`
}

// AzureACRWorkloadIdentityAuth logs in with a token of a service account.
type AzureACRWorkloadIdentityAuth struct {
	// ServiceAccountRef names the service account; its annotations name the identity.
	// Empty is the controller's own.
	// +optional
	ServiceAccountRef *esmeta.ServiceAccountSelector `json:"serviceAccountRef,omitempty"`
}
