package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	esv1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	esmeta "github.com/keyferry/keyferry/api/meta/v1"
)

// GCRAccessToken makes tokens for the container registries of Google Cloud.
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:storageversion
// +kubebuilder:metadata:labels="external-secrets.io/component=controller"
// +kubebuilder:resource:scope=Namespaced,categories={external-secrets,external-secrets-generators}
// +kubebuilder:validation:XValidation:rule="has(self.spec)",message="spec is needed: name the project in spec.projectID"
type GCRAccessToken struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +optional
	Spec GCRAccessTokenSpec `json:"spec,omitzero"`
}

// GCRAccessTokenList is a list of GCRAccessToken objects.
// +kubebuilder:object:root=true
type GCRAccessTokenList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []GCRAccessToken `json:"items"`
}

// GeneratorSpec returns the *GCRAccessTokenSpec inside g.
func (g *GCRAccessToken) GeneratorSpec() any { return &g.Spec }

// ControllerClass returns an empty string.
func (*GCRAccessToken) ControllerClass() string { return "" }

// GCRAccessTokenSpec says for what a token is.
type GCRAccessTokenSpec struct {
	// Auth is how to log in.
	Auth GCPSMAuth `json:"auth"`
	// ProjectID of Google Cloud.
	ProjectID string `json:"projectID"`
}

// GCPSMAuth is how to log in to Google Cloud: secretRef, workloadIdentity or
// workloadIdentityFederation, else what the controller itself has.
type GCPSMAuth struct {
	// SecretRef points at the key of a service account of Google Cloud.
	// +optional
	SecretRef *esv1.GCPSMAuthSecretRef `json:"secretRef,omitempty"`
	// WorkloadIdentity uses the identity of a service account of this cluster.
	// +optional
	WorkloadIdentity *GCPWorkloadIdentity `json:"workloadIdentity,omitempty"`
	// WorkloadIdentityFederation uses an identity that Google Cloud trusts from outside.
	// +optional
	WorkloadIdentityFederation *GCPWorkloadIdentityFederation `json:"workloadIdentityFederation,omitempty"`
}

// GCPWorkloadIdentity uses the identity of a service account of this cluster.
type GCPWorkloadIdentity struct {
	// ServiceAccountRef names the service account.
	ServiceAccountRef esmeta.ServiceAccountSelector `json:"serviceAccountRef"`
	// ClusterLocation is where the cluster runs.
	ClusterLocation string `json:"clusterLocation"`
	// ClusterName of the cluster.
	ClusterName string `json:"clusterName"`
	// ClusterProjectID of the cluster; empty means projectID.
	// +optional
	ClusterProjectID string `json:"clusterProjectID,omitempty"`
}

// GCPWorkloadIdentityFederation uses an identity that Google Cloud trusts from outside:
// one of credConfig, serviceAccountRef and awsSecurityCredentials.
type GCPWorkloadIdentityFederation struct {
	// CredConfig points at a credential configuration, in JSON, in a ConfigMap.
	// +optional
	CredConfig *ConfigMapReference `json:"credConfig,omitempty"`
	// ServiceAccountRef names a service account whose token the identity pool trusts.
	// +optional
	ServiceAccountRef *esmeta.ServiceAccountSelector `json:"serviceAccountRef,omitempty"`
	// AwsSecurityCredentials logs in with an AWS identity.
	// +optional
	AwsSecurityCredentials *AwsCredentialsConfig `json:"awsSecurityCredentials,omitempty"`
	// Audience is the full name of the provider of the identity pool.
	// +optional
	Audience string `json:"audience,omitempty"`
	// ExternalTokenEndpoint is where credConfig gets its token, if it gets it by HTTP;
	// the two must agree.
	// +optional
	ExternalTokenEndpoint string `json:"externalTokenEndpoint,omitempty"`
	// GCPServiceAccountEmail is a service account of Google Cloud to act as.
	// +optional
	// +kubebuilder:validation:MinLength:=1
	// +kubebuilder:validation:Pattern:=^.*@.*\.iam\.gserviceaccount\.com$
	GCPServiceAccountEmail string `json:"gcpServiceAccountEmail,omitempty"`
}

// ConfigMapReference points at one key of a ConfigMap.
type ConfigMapReference struct {
	// Name of the ConfigMap.
	// +kubebuilder:validation:MinLength:=1
	// +kubebuilder:validation:MaxLength:=253
	// +kubebuilder:validation:Pattern:=^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$
	Name string `json:"name"`
	// Namespace of the ConfigMap.
	// +optional
	// +kubebuilder:validation:MinLength:=1
	// +kubebuilder:validation:MaxLength:=63
	// +kubebuilder:validation:Pattern:=^[a-z0-9]([-a-z0-9]*[a-z0-9])?$
	Namespace *string `json:"namespace,omitempty"`
	// Key inside the ConfigMap.
	// +kubebuilder:validation:MinLength:=1
	// +kubebuilder:validation:MaxLength:=253
	// +kubebuilder:validation:Pattern:=^[-._a-zA-Z0-9]+$
	Key string `json:"key"`
}

// AwsCredentialsConfig logs in with an AWS identity.
type AwsCredentialsConfig struct {
	// Region of AWS.
	// +kubebuilder:validation:MinLength:=1
	// +kubebuilder:validation:MaxLength:=50
	// +kubebuilder:validation:Pattern:=^[a-z0-9-]+$
	Region string `json:"region"`
	// AwsCredentialsSecretRef names a Secret with aws_access_key_id,
	// aws_secret_access_key and, for temporary keys, aws_session_token.
	AwsCredentialsSecretRef SecretReference `json:"awsCredentialsSecretRef"`
}

// SecretReference names a Secret.
type SecretReference struct {
	// Name of the Secret.
	// +kubebuilder:validation:MinLength:=1
	// +kubebuilder:validation:MaxLength:=253
	// +kubebuilder:validation:Pattern:=^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$
	Name string `json:"name"`
	// Namespace of the Secret.
	// +optional
	// +kubebuilder:validation:MinLength:=1
	// +kubebuilder:validation:MaxLength:=63
	// +kubebuilder:validation:Pattern:=^[a-z0-9]([-a-z0-9]*[a-z0-9])?$
	Namespace *string `json:"namespace,omitempty"`
}
