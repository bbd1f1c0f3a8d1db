package v1alpha1

import (
	"fmt"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ClusterGenerator is a generator for all namespaces. It works as one of its kind in the
// namespace of the consumer would.
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:storageversion
// +kubebuilder:metadata:labels="external-secrets.io/component=controller"
// +kubebuilder:resource:scope=Cluster,categories={external-secrets,external-secrets-generators}
// +kubebuilder:validation:XValidation:rule="has(self.spec)",message="spec is needed: name a kind in spec.kind"
type ClusterGenerator struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +optional
	Spec ClusterGeneratorSpec `json:"spec,omitzero"`
}

// ClusterGeneratorList is a list of ClusterGenerators.
// +kubebuilder:object:root=true
type ClusterGeneratorList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []ClusterGenerator `json:"items"`
}

// ClusterGeneratorSpec is a kind and the spec of that kind.
// +kubebuilder:validation:XValidation:rule="has(self.generator.acrAccessTokenSpec) == (self.kind == 'ACRAccessToken') && has(self.generator.cloudsmithAccessTokenSpec) == (self.kind == 'CloudsmithAccessToken') && has(self.generator.ecrAuthorizationTokenSpec) == (self.kind == 'ECRAuthorizationToken') && has(self.generator.fakeSpec) == (self.kind == 'Fake') && has(self.generator.gcrAccessTokenSpec) == (self.kind == 'GCRAccessToken') && has(self.generator.githubAccessTokenSpec) == (self.kind == 'GithubAccessToken') && has(self.generator.gitlabDeployTokenSpec) == (self.kind == 'GitlabDeployToken') && has(self.generator.grafanaSpec) == (self.kind == 'Grafana') && has(self.generator.mfaSpec) == (self.kind == 'MFA') && has(self.generator.passwordSpec) == (self.kind == 'Password') && has(self.generator.quayAccessTokenSpec) == (self.kind == 'QuayAccessToken') && has(self.generator.sshKeySpec) == (self.kind == 'SSHKey') && has(self.generator.stsSessionTokenSpec) == (self.kind == 'STSSessionToken') && has(self.generator.uuidSpec) == (self.kind == 'UUID') && has(self.generator.vaultDynamicSecretSpec) == (self.kind == 'VaultDynamicSecret') && has(self.generator.webhookSpec) == (self.kind == 'Webhook')",message="generator must have the member that kind names: for kind Password it is passwordSpec"
type ClusterGeneratorSpec struct {
	// Kind of the generator. BeyondtrustWorkloadCredentialsDynamicSecret is not supported
	// by this build.
	// +kubebuilder:validation:Enum=ACRAccessToken;BeyondtrustWorkloadCredentialsDynamicSecret;CloudsmithAccessToken;ECRAuthorizationToken;Fake;GCRAccessToken;GithubAccessToken;GitlabDeployToken;QuayAccessToken;Password;SSHKey;STSSessionToken;UUID;VaultDynamicSecret;Webhook;Grafana;MFA
	Kind string `json:"kind"`
	// Generator is the spec of that kind: exactly one member.
	Generator GeneratorSpec `json:"generator"`
}

// GeneratorSpec is the spec of one kind of generator.
// +kubebuilder:validation:MinProperties=1
// +kubebuilder:validation:MaxProperties=1
type GeneratorSpec struct {
	// ACRAccessTokenSpec is the spec of kind ACRAccessToken.
	// +optional
	ACRAccessTokenSpec *ACRAccessTokenSpec `json:"acrAccessTokenSpec,omitempty"`
	// CloudsmithAccessTokenSpec is the spec of kind CloudsmithAccessToken.
	// +optional
	CloudsmithAccessTokenSpec *CloudsmithAccessTokenSpec `json:"cloudsmithAccessTokenSpec,omitempty"`
	// ECRAuthorizationTokenSpec is the spec of kind ECRAuthorizationToken.
	// +optional
	ECRAuthorizationTokenSpec *ECRAuthorizationTokenSpec `json:"ecrAuthorizationTokenSpec,omitempty"`
	// FakeSpec is the spec of kind Fake.
	// +optional
	FakeSpec *FakeSpec `json:"fakeSpec,omitempty"`
	// GCRAccessTokenSpec is the spec of kind GCRAccessToken.
	// +optional
	GCRAccessTokenSpec *GCRAccessTokenSpec `json:"gcrAccessTokenSpec,omitempty"`
	// GithubAccessTokenSpec is the spec of kind GithubAccessToken.
	// +optional
	GithubAccessTokenSpec *GithubAccessTokenSpec `json:"githubAccessTokenSpec,omitempty"`
	// GitlabDeployTokenSpec is the spec of kind GitlabDeployToken.
	// +optional
	GitlabDeployTokenSpec *GitlabDeployTokenSpec `json:"gitlabDeployTokenSpec,omitempty"`
	// GrafanaSpec is the spec of kind Grafana.
	// +optional
	GrafanaSpec *GrafanaSpec `json:"grafanaSpec,omitempty"`
	// MFASpec is the spec of kind MFA.
	// +optional
	MFASpec *MFASpec `json:"mfaSpec,omitempty"`
	// PasswordSpec is the spec of kind Password.
	// +optional
	PasswordSpec *PasswordSpec `json:"passwordSpec,omitempty"`
	// QuayAccessTokenSpec is the spec of kind QuayAccessToken.
	// +optional
	QuayAccessTokenSpec *QuayAccessTokenSpec `json:"quayAccessTokenSpec,omitempty"`
	// SSHKeySpec is the spec of kind SSHKey.
	// +optional
	SSHKeySpec *SSHKeySpec `json:"sshKeySpec,omitempty"`
	// STSSessionTokenSpec is the spec of kind STSSessionToken.
	// +optional
	STSSessionTokenSpec *STSSessionTokenSpec `json:"stsSessionTokenSpec,omitempty"`
	// UUIDSpec is the spec of kind UUID.
	// +optional
	UUIDSpec *UUIDSpec `json:"uuidSpec,omitempty"`
	// VaultDynamicSecretSpec is the spec of kind VaultDynamicSecret.
	// +optional
	VaultDynamicSecretSpec *VaultDynamicSecretSpec `json:"vaultDynamicSecretSpec,omitempty"`
	// WebhookSpec is the spec of kind Webhook.
	// +optional
	WebhookSpec *WebhookSpec `json:"webhookSpec,omitempty"`
	// BeyondtrustWorkloadCredentialsDynamicSecretSpec is kept as it is: this build has no
	// such generator.
	// +optional
	BeyondtrustWorkloadCredentialsDynamicSecretSpec *apiextensionsv1.JSON `json:"beyondtrustWorkloadCredentialsDynamicSecretSpec,omitempty"`
}

// generatorMember is one field of GeneratorSpec.
type generatorMember struct {
	name, kind string
	set        bool
	spec       any
}

func (g *GeneratorSpec) members() []generatorMember {
	return []generatorMember{
		{"acrAccessTokenSpec", ACRAccessTokenKind, g.ACRAccessTokenSpec != nil, g.ACRAccessTokenSpec},
		{"cloudsmithAccessTokenSpec", CloudsmithAccessTokenKind, g.CloudsmithAccessTokenSpec != nil, g.CloudsmithAccessTokenSpec},
		{"ecrAuthorizationTokenSpec", ECRAuthorizationTokenKind, g.ECRAuthorizationTokenSpec != nil, g.ECRAuthorizationTokenSpec},
		{"fakeSpec", FakeKind, g.FakeSpec != nil, g.FakeSpec},
		{"gcrAccessTokenSpec", GCRAccessTokenKind, g.GCRAccessTokenSpec != nil, g.GCRAccessTokenSpec},
		{"githubAccessTokenSpec", GithubAccessTokenKind, g.GithubAccessTokenSpec != nil, g.GithubAccessTokenSpec},
		{"gitlabDeployTokenSpec", GitlabDeployTokenKind, g.GitlabDeployTokenSpec != nil, g.GitlabDeployTokenSpec},
		{"grafanaSpec", GrafanaKind, g.GrafanaSpec != nil, g.GrafanaSpec},
		{"mfaSpec", MFAKind, g.MFASpec != nil, g.MFASpec},
		{"passwordSpec", PasswordKind, g.PasswordSpec != nil, g.PasswordSpec},
		{"quayAccessTokenSpec", QuayAccessTokenKind, g.QuayAccessTokenSpec != nil, g.QuayAccessTokenSpec},
		{"sshKeySpec", SSHKeyKind, g.SSHKeySpec != nil, g.SSHKeySpec},
		{"stsSessionTokenSpec", STSSessionTokenKind, g.STSSessionTokenSpec != nil, g.STSSessionTokenSpec},
		{"uuidSpec", UUIDKind, g.UUIDSpec != nil, g.UUIDSpec},
		{"vaultDynamicSecretSpec", VaultDynamicSecretKind, g.VaultDynamicSecretSpec != nil, g.VaultDynamicSecretSpec},
		{"webhookSpec", WebhookKind, g.WebhookSpec != nil, g.WebhookSpec},
	}
}

// Selected returns spec.kind and the member of spec.generator that it names, such as a
// *PasswordSpec. It fails, and names the field, if this build has no such kind, if the
// member is missing, or if another is set.
func (g *ClusterGenerator) Selected() (kind string, spec any, err error) {
	var want generatorMember
	for _, m := range g.Spec.Generator.members() {
		switch {
		case m.kind == g.Spec.Kind:
			want = m
		case m.set:
			return "", nil, fmt.Errorf("spec.generator.%s is set, and spec.kind is %q: set spec.kind to %s, or remove the member", m.name, g.Spec.Kind, m.kind)
		}
	}
	switch {
	case want.kind == "":
		return "", nil, fmt.Errorf("spec.kind %q is not a generator of this build", g.Spec.Kind)
	case !want.set:
		return "", nil, fmt.Errorf("spec.generator.%s is missing: spec.kind is %s", want.name, want.kind)
	}
	return want.kind, want.spec, nil
}
