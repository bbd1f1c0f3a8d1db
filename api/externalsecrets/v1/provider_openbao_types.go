package v1

import esmeta "github.com/keyferry/keyferry/api/meta/v1"

// OpenBaoKVStoreVersion is the version of a KV engine.
// +kubebuilder:validation:Enum=v1;v2
type OpenBaoKVStoreVersion string

// The versions. Empty means OpenBaoKVStoreV2.
const (
	OpenBaoKVStoreV1 OpenBaoKVStoreVersion = "v1"
	OpenBaoKVStoreV2 OpenBaoKVStoreVersion = "v2"
)

// OpenBaoProvider reads KV secrets of OpenBao.
// +kubebuilder:validation:XValidation:rule="!(has(self.caBundle) && has(self.caProvider))",message="set caBundle or caProvider, not both"
type OpenBaoProvider struct {
	// Auth is how to log in: exactly one of its members.
	// +optional
	Auth *OpenBaoAuth `json:"auth,omitempty"`
	// Server is the URL of the server.
	Server string `json:"server"`
	// Path is the mount of the KV engine.
	// +optional
	Path *string `json:"path,omitempty"`
	// Version of the KV engine.
	// +optional
	// +kubebuilder:default=v2
	Version OpenBaoKVStoreVersion `json:"version,omitempty"`
	// Namespace of the secrets.
	// +optional
	Namespace *string `json:"namespace,omitempty"`
	// CABundle is a PEM bundle, in Base64, of the authorities to trust.
	// +optional
	CABundle []byte `json:"caBundle,omitempty"`
	// CAProvider points at such a bundle.
	// +optional
	CAProvider *CAProvider `json:"caProvider,omitempty"`
}

// OpenBaoAuth is how to log in: exactly one of tokenSecretRef, appRole and userPass.
// +kubebuilder:validation:XValidation:rule="[has(self.tokenSecretRef), has(self.appRole), has(self.userPass)].exists_one(x, x)",message="set exactly one of tokenSecretRef, appRole and userPass"
type OpenBaoAuth struct {
	// Namespace to log in to, where it is not that of the secrets.
	// +optional
	Namespace *string `json:"namespace,omitempty"`
	// TokenSecretRef points at a token.
	// +optional
	TokenSecretRef *esmeta.SecretKeySelector `json:"tokenSecretRef,omitempty"`
	// AppRole logs in with a role ID and a secret ID.
	// +optional
	AppRole *OpenBaoAppRole `json:"appRole,omitempty"`
	// UserPass logs in with a user name and a password.
	// +optional
	UserPass *OpenBaoUserPassAuth `json:"userPass,omitempty"`
}

// OpenBaoAppRole logs in with a role ID and a secret ID.
// +kubebuilder:validation:XValidation:rule="has(self.roleId) != has(self.roleRef)",message="set exactly one of roleId and roleRef"
type OpenBaoAppRole struct {
	// Path of the mount.
	// +kubebuilder:default=approle
	Path string `json:"path"`
	// RoleID of the role.
	// +optional
	// +kubebuilder:validation:MinLength:=1
	RoleID string `json:"roleId,omitempty"`
	// RoleRef points at the role ID.
	// +optional
	RoleRef *esmeta.SecretKeySelector `json:"roleRef,omitempty"`
	// SecretRef points at the secret ID.
	SecretRef esmeta.SecretKeySelector `json:"secretRef"`
}

// OpenBaoUserPassAuth logs in with a user name and a password.
type OpenBaoUserPassAuth struct {
	// Path of the mount.
	// +kubebuilder:default=userpass
	Path string `json:"path"`
	// Username of the user.
	Username string `json:"username"`
	// SecretRef points at the password.
	// +optional
	SecretRef esmeta.SecretKeySelector `json:"secretRef,omitzero"`
}
