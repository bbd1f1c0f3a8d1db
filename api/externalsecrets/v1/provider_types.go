package v1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	esmeta "github.com/keyferry/keyferry/api/meta/v1"
)

// CAProviderType is the kind of object that holds a certificate bundle.
// +kubebuilder:validation:Enum=Secret;ConfigMap
type CAProviderType string

// The kinds of objects.
const (
	CAProviderTypeSecret    CAProviderType = "Secret"
	CAProviderTypeConfigMap CAProviderType = "ConfigMap"
)

// CAProvider points at a PEM bundle of the certificate authorities to trust.
type CAProvider struct {
	// Type is Secret or ConfigMap.
	Type CAProviderType `json:"type"`
	// Name of the object.
	// +kubebuilder:validation:MinLength:=1
	// +kubebuilder:validation:MaxLength:=253
	// +kubebuilder:validation:Pattern:=^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$
	Name string `json:"name"`
	// Key inside the object.
	// +optional
	// +kubebuilder:validation:MinLength:=1
	// +kubebuilder:validation:MaxLength:=253
	// +kubebuilder:validation:Pattern:=^[-._a-zA-Z0-9]+$
	Key string `json:"key,omitempty"`
	// Namespace of the object: needed in a ClusterSecretStore, refused in a SecretStore.
	// +optional
	// +kubebuilder:validation:MinLength:=1
	// +kubebuilder:validation:MaxLength:=63
	// +kubebuilder:validation:Pattern:=^[a-z0-9]([-a-z0-9]*[a-z0-9])?$
	Namespace *string `json:"namespace,omitempty"`
}

// FakeProvider keeps its secrets in the manifest itself.
type FakeProvider struct {
	// Data are the secrets.
	Data []FakeProviderData `json:"data"`
	// ValidationResult is what validating the store yields: 0 ready, 1 unknown, 2 error.
	// +optional
	ValidationResult *ValidationResult `json:"validationResult,omitempty"`
}

// FakeProviderData is one secret.
// +kubebuilder:validation:XValidation:rule="self.key.size() > 0",message="key must not be empty: it is the name that the secret is read by"
type FakeProviderData struct {
	// Key that the secret is read by.
	Key string `json:"key"`
	// Value of the secret. It is no place for a real one: whoever may read the store
	// may read it.
	Value string `json:"value"`
	// Version that the secret is read by; empty answers a read of the current version.
	// +optional
	Version string `json:"version,omitempty"`
}

// ValidationResult is what validating a fake store yields.
// +kubebuilder:validation:Minimum=0
// +kubebuilder:validation:Maximum=255
type ValidationResult uint8

// The validation results.
const (
	ValidationResultReady ValidationResult = iota
	ValidationResultUnknown
	ValidationResultError
)

// KubernetesProvider reads Secrets of a namespace, here or in another cluster.
type KubernetesProvider struct {
	// Server is where the API server is.
	// +optional
	Server KubernetesServer `json:"server,omitzero"`
	// Auth is how to log in: exactly one of its members.
	// +optional
	Auth *KubernetesAuth `json:"auth,omitempty"`
	// AuthRef points at a kubeconfig to use instead of server and auth.
	// +optional
	AuthRef *esmeta.SecretKeySelector `json:"authRef,omitempty"`
	// RemoteNamespace is where the Secrets are.
	// +optional
	// +kubebuilder:default=default
	// +kubebuilder:validation:MinLength:=1
	// +kubebuilder:validation:MaxLength:=63
	// +kubebuilder:validation:Pattern:=^[a-z0-9]([-a-z0-9]*[a-z0-9])?$
	RemoteNamespace string `json:"remoteNamespace,omitempty"`
}

// KubernetesServer is where an API server is.
type KubernetesServer struct {
	// URL of the API server.
	// +optional
	// +kubebuilder:default=kubernetes.default
	URL string `json:"url,omitempty"`
	// CABundle is a PEM bundle, in Base64, of the authorities to trust.
	// +optional
	CABundle []byte `json:"caBundle,omitempty"`
	// CAProvider points at such a bundle.
	// +optional
	CAProvider *CAProvider `json:"caProvider,omitempty"`
}

// KubernetesAuth is how to log in to an API server.
// +kubebuilder:validation:MinProperties=1
// +kubebuilder:validation:MaxProperties=1
type KubernetesAuth struct {
	// Cert logs in with a client certificate.
	// +optional
	Cert *CertAuth `json:"cert,omitempty"`
	// Token logs in with a token that is kept in a Secret.
	// +optional
	Token *TokenAuth `json:"token,omitempty"`
	// ServiceAccount logs in with a token of a service account of this cluster.
	// +optional
	ServiceAccount *esmeta.ServiceAccountSelector `json:"serviceAccount,omitempty"`
}

// CertAuth is a client certificate.
type CertAuth struct {
	// ClientCert points at the PEM certificate.
	ClientCert esmeta.SecretKeySelector `json:"clientCert"`
	// ClientKey points at its PEM key.
	ClientKey esmeta.SecretKeySelector `json:"clientKey"`
}

// TokenAuth is a bearer token.
type TokenAuth struct {
	// BearerToken points at the token.
	BearerToken esmeta.SecretKeySelector `json:"bearerToken"`
}

// WebhookProvider asks an HTTP service. In url, body and headers are templates that
// see .remoteRef and the named secrets.
type WebhookProvider struct {
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
	Auth *AuthorizationProtocol `json:"auth,omitempty"`
	// Body of the request.
	// +optional
	Body string `json:"body,omitempty"`
	// Timeout of the request, as a duration such as 10s.
	// +optional
	// +kubebuilder:validation:XValidation:rule="duration(self) <= duration('876000h')",message="timeout must be a duration such as 1h30m or 45s, and at most 876000h"
	Timeout *metav1.Duration `json:"timeout,omitempty"`
	// Result says where in the response the value is.
	// +optional
	Result WebhookResult `json:"result,omitzero"`
	// Secrets that the templates see. Each must carry the label
	// external-secrets.io/type=webhook.
	// +optional
	Secrets []WebhookSecret `json:"secrets,omitempty"`
	// CABundle is a PEM bundle, in Base64, of the authorities to trust.
	// +optional
	CABundle []byte `json:"caBundle,omitempty"`
	// CAProvider points at such a bundle.
	// +optional
	CAProvider *CAProvider `json:"caProvider,omitempty"`
}

// AuthorizationProtocol is a way to log in to a web service.
// +kubebuilder:validation:MinProperties=1
// +kubebuilder:validation:MaxProperties=1
type AuthorizationProtocol struct {
	// NTLM logs in with a user name and a password.
	// +optional
	NTLM *NTLMProtocol `json:"ntlm,omitempty"`
}

// NTLMProtocol is a user name and a password.
type NTLMProtocol struct {
	// UserName points at the user name.
	UserName esmeta.SecretKeySelector `json:"usernameSecret"`
	// Password points at the password.
	Password esmeta.SecretKeySelector `json:"passwordSecret"`
}

// WebhookResult says where in a response the value is.
type WebhookResult struct {
	// JSONPath of the value; a template. Empty takes the whole response.
	// +optional
	JSONPath string `json:"jsonPath,omitempty"`
}

// WebhookSecret is a Secret that templates see as .<name>.<key>.
type WebhookSecret struct {
	// Name that the templates use.
	Name string `json:"name"`
	// SecretRef names the Secret.
	SecretRef esmeta.SecretKeySelector `json:"secretRef"`
}
