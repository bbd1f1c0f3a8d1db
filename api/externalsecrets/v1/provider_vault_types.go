package v1

import esmeta "github.com/keyferry/keyferry/api/meta/v1"

// VaultKVStoreVersion is the version of a KV engine.
// +kubebuilder:validation:Enum=v1;v2
type VaultKVStoreVersion string

// The versions. Empty means VaultKVStoreV2.
const (
	VaultKVStoreV1 VaultKVStoreVersion = "v1"
	VaultKVStoreV2 VaultKVStoreVersion = "v2"
)

// VaultProvider reads KV secrets of HashiCorp Vault and what speaks its API.
// +kubebuilder:validation:XValidation:rule="!has(self.checkAndSet) || !has(self.checkAndSet.required) || !self.checkAndSet.required || !has(self.version) || self.version == 'v2'",message="checkAndSet.required needs version v2"
type VaultProvider struct {
	// Auth is how to log in: the first of its members that is set.
	// +optional
	Auth *VaultAuth `json:"auth,omitempty"`
	// Server is the URL of the server.
	Server string `json:"server"`
	// Path is the mount of the KV engine. Without it, the first part of each key is.
	// +optional
	Path *string `json:"path,omitempty"`
	// Version of the KV engine.
	// +optional
	// +kubebuilder:default=v2
	Version VaultKVStoreVersion `json:"version,omitempty"`
	// Namespace of the secrets.
	// +optional
	Namespace *string `json:"namespace,omitempty"`
	// CABundle is a PEM bundle, in Base64, of the authorities to trust.
	// +optional
	CABundle []byte `json:"caBundle,omitempty"`
	// ClientTLS is a client certificate for the connection.
	// +optional
	ClientTLS VaultClientTLS `json:"tls,omitzero"`
	// CAProvider points at a bundle of the authorities to trust.
	// +optional
	CAProvider *CAProvider `json:"caProvider,omitempty"`
	// ReadYourWrites makes reads see the writes that went before them.
	// +optional
	ReadYourWrites bool `json:"readYourWrites,omitempty"`
	// ForwardInconsistent asks a standby to forward requests that it cannot answer
	// consistently.
	// +optional
	ForwardInconsistent bool `json:"forwardInconsistent,omitempty"`
	// Headers to add to every request.
	// +optional
	Headers map[string]string `json:"headers,omitempty"`
	// CheckAndSet says how writes are guarded; for version v2 only.
	// +optional
	CheckAndSet *VaultCheckAndSet `json:"checkAndSet,omitempty"`
}

// VaultCheckAndSet says how writes are guarded.
type VaultCheckAndSet struct {
	// Required makes every write name the version that it replaces.
	// +optional
	Required bool `json:"required,omitempty"`
}

// VaultClientTLS is a client certificate: both of its members or none.
// +kubebuilder:validation:XValidation:rule="has(self.certSecretRef) == has(self.keySecretRef)",message="set both certSecretRef and keySecretRef, or none"
type VaultClientTLS struct {
	// CertSecretRef points at the PEM certificate.
	// +optional
	CertSecretRef *esmeta.SecretKeySelector `json:"certSecretRef,omitempty"`
	// KeySecretRef points at its PEM key.
	// +optional
	KeySecretRef *esmeta.SecretKeySelector `json:"keySecretRef,omitempty"`
}

// VaultAuth is how to log in: the first member that is set, in the order token,
// appRole, kubernetes, ldap, userPass, jwt, cert, iam, gcp.
type VaultAuth struct {
	// Namespace to log in to, where it is not that of the secrets.
	// +optional
	Namespace *string `json:"namespace,omitempty"`
	// TokenSecretRef points at a token.
	// +optional
	TokenSecretRef *esmeta.SecretKeySelector `json:"tokenSecretRef,omitempty"`
	// AppRole logs in with a role ID and a secret ID.
	// +optional
	AppRole *VaultAppRole `json:"appRole,omitempty"`
	// Kubernetes logs in with a service account token.
	// +optional
	Kubernetes *VaultKubernetesAuth `json:"kubernetes,omitempty"`
	// Ldap logs in with a user name and a password.
	// +optional
	Ldap *VaultLdapAuth `json:"ldap,omitempty"`
	// Jwt logs in with a JSON web token.
	// +optional
	Jwt *VaultJwtAuth `json:"jwt,omitempty"`
	// Cert logs in with a client certificate.
	// +optional
	Cert *VaultCertAuth `json:"cert,omitempty"`
	// Iam logs in with an AWS identity.
	// +optional
	Iam *VaultIamAuth `json:"iam,omitempty"`
	// UserPass logs in with a user name and a password.
	// +optional
	UserPass *VaultUserPassAuth `json:"userPass,omitempty"`
	// GCP logs in with a Google Cloud identity.
	// +optional
	GCP *VaultGCPAuth `json:"gcp,omitempty"`
}

// VaultAppRole logs in with a role ID and a secret ID.
// +kubebuilder:validation:XValidation:rule="(has(self.roleId) && self.roleId.size() > 0) || has(self.roleRef)",message="set roleId or roleRef"
type VaultAppRole struct {
	// Path of the mount.
	// +kubebuilder:default=approle
	Path string `json:"path"`
	// RoleID of the role.
	// +optional
	RoleID string `json:"roleId,omitempty"`
	// RoleRef points at the role ID.
	// +optional
	RoleRef *esmeta.SecretKeySelector `json:"roleRef,omitempty"`
	// SecretRef points at the secret ID.
	SecretRef esmeta.SecretKeySelector `json:"secretRef"`
}

// VaultKubernetesAuth logs in with a service account token: one of
// serviceAccountRef and secretRef.
type VaultKubernetesAuth struct {
	// Path of the mount.
	// +kubebuilder:default=kubernetes
	Path string `json:"mountPath"`
	// ServiceAccountRef names the service account.
	// +optional
	ServiceAccountRef *esmeta.ServiceAccountSelector `json:"serviceAccountRef,omitempty"`
	// SecretRef points at a token; its key is token if it has none.
	// +optional
	SecretRef *esmeta.SecretKeySelector `json:"secretRef,omitempty"`
	// Role to log in as.
	Role string `json:"role"`
}

// VaultLdapAuth logs in with a user name and a password.
type VaultLdapAuth struct {
	// Path of the mount.
	// +kubebuilder:default=ldap
	Path string `json:"path"`
	// Username of the user.
	Username string `json:"username"`
	// SecretRef points at the password.
	// +optional
	SecretRef esmeta.SecretKeySelector `json:"secretRef,omitzero"`
}

// VaultUserPassAuth logs in with a user name and a password.
type VaultUserPassAuth struct {
	// Path of the mount.
	// +kubebuilder:default=userpass
	Path string `json:"path"`
	// Username of the user.
	Username string `json:"username"`
	// SecretRef points at the password.
	// +optional
	SecretRef esmeta.SecretKeySelector `json:"secretRef,omitzero"`
}

// VaultJwtAuth logs in with a JSON web token: one of secretRef and
// kubernetesServiceAccountToken.
// +kubebuilder:validation:XValidation:rule="has(self.secretRef) || has(self.kubernetesServiceAccountToken)",message="set secretRef or kubernetesServiceAccountToken"
type VaultJwtAuth struct {
	// Path of the mount.
	// +kubebuilder:default=jwt
	Path string `json:"path"`
	// Role to log in as; empty is the mount's default.
	// +optional
	Role string `json:"role,omitempty"`
	// SecretRef points at the token.
	// +optional
	SecretRef *esmeta.SecretKeySelector `json:"secretRef,omitempty"`
	// KubernetesServiceAccountToken asks for a token of a service account.
	// +optional
	KubernetesServiceAccountToken *VaultKubernetesServiceAccountTokenAuth `json:"kubernetesServiceAccountToken,omitempty"`
}

// VaultKubernetesServiceAccountTokenAuth asks for a token of a service account.
type VaultKubernetesServiceAccountTokenAuth struct {
	// ServiceAccountRef names the service account.
	ServiceAccountRef esmeta.ServiceAccountSelector `json:"serviceAccountRef"`
	// Audiences of the token. Deprecated: use those of serviceAccountRef.
	// +optional
	Audiences *[]string `json:"audiences,omitempty"`
	// ExpirationSeconds of the token; 600 if empty. Deprecated.
	// +optional
	ExpirationSeconds *int64 `json:"expirationSeconds,omitempty"`
}

// VaultCertAuth logs in with a client certificate.
type VaultCertAuth struct {
	// Path of the mount.
	// +optional
	// +kubebuilder:default=cert
	Path string `json:"path,omitempty"`
	// ClientCert points at the PEM certificate.
	// +optional
	ClientCert esmeta.SecretKeySelector `json:"clientCert,omitzero"`
	// SecretRef points at its PEM key.
	// +optional
	SecretRef esmeta.SecretKeySelector `json:"secretRef,omitzero"`
	// VaultRole to log in as; empty lets the server choose.
	// +optional
	VaultRole string `json:"vaultRole,omitempty"`
}

// VaultIamAuth logs in with an AWS identity.
type VaultIamAuth struct {
	// Path of the mount.
	// +optional
	Path string `json:"path,omitempty"`
	// Region of AWS.
	// +optional
	Region string `json:"region,omitempty"`
	// AWSIAMRole is the ARN of a role to assume before.
	// +optional
	AWSIAMRole string `json:"role,omitempty"`
	// Role of Vault to log in as.
	Role string `json:"vaultRole"`
	// ExternalID to assume the role with.
	// +optional
	ExternalID string `json:"externalID,omitempty"`
	// VaultAWSIAMServerID is the value of the header X-Vault-AWS-IAM-Server-ID.
	// +optional
	VaultAWSIAMServerID string `json:"vaultAwsIamServerID,omitempty"`
	// SecretRef points at an access key.
	// +optional
	SecretRef *VaultAwsAuthSecretRef `json:"secretRef,omitempty"`
	// JWTAuth uses the AWS role of a service account.
	// +optional
	JWTAuth *VaultAwsJWTAuth `json:"jwt,omitempty"`
}

// VaultAwsAuthSecretRef points at an access key.
type VaultAwsAuthSecretRef struct {
	// AccessKeyID points at the ID of the key.
	// +optional
	AccessKeyID esmeta.SecretKeySelector `json:"accessKeyIDSecretRef,omitzero"`
	// SecretAccessKey points at the key.
	// +optional
	SecretAccessKey esmeta.SecretKeySelector `json:"secretAccessKeySecretRef,omitzero"`
	// SessionToken points at the session token, for temporary keys.
	// +optional
	SessionToken *esmeta.SecretKeySelector `json:"sessionTokenSecretRef,omitempty"`
}

// VaultAwsJWTAuth uses the AWS role of a service account.
type VaultAwsJWTAuth struct {
	// ServiceAccountRef names the service account.
	// +optional
	ServiceAccountRef *esmeta.ServiceAccountSelector `json:"serviceAccountRef,omitempty"`
}

// VaultGCPAuth logs in with a Google Cloud identity.
type VaultGCPAuth struct {
	// Path of the mount.
	// +optional
	// +kubebuilder:default=gcp
	Path string `json:"path,omitempty"`
	// Role to log in as.
	Role string `json:"role"`
	// ProjectID of Google Cloud.
	// +optional
	ProjectID string `json:"projectID,omitempty"`
	// Location of Google Cloud.
	// +optional
	Location string `json:"location,omitempty"`
	// WorkloadIdentity uses the identity of a service account.
	// +optional
	WorkloadIdentity *GCPWorkloadIdentity `json:"workloadIdentity,omitempty"`
	// SecretRef points at a key.
	// +optional
	SecretRef *GCPSMAuthSecretRef `json:"secretRef,omitempty"`
	// ServiceAccountRef names a service account.
	// +optional
	ServiceAccountRef *esmeta.ServiceAccountSelector `json:"serviceAccountRef,omitempty"`
}

// GCPSMAuthSecretRef points at the key of a Google Cloud service account.
type GCPSMAuthSecretRef struct {
	// SecretAccessKey points at the key, in JSON.
	// +optional
	SecretAccessKey esmeta.SecretKeySelector `json:"secretAccessKeySecretRef,omitzero"`
}

// GCPWorkloadIdentity uses the identity of a service account.
type GCPWorkloadIdentity struct {
	// ServiceAccountRef names the service account.
	ServiceAccountRef esmeta.ServiceAccountSelector `json:"serviceAccountRef"`
	// ClusterLocation is where the cluster runs.
	// +optional
	ClusterLocation string `json:"clusterLocation,omitempty"`
	// ClusterName of the cluster.
	// +optional
	ClusterName string `json:"clusterName,omitempty"`
	// ClusterProjectID of the cluster.
	// +optional
	ClusterProjectID string `json:"clusterProjectID,omitempty"`
}
