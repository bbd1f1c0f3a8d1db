package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// The group and its version.
const (
	Group   = "generators.external-secrets.io"
	Version = "v1alpha1"
)

// The kinds.
const (
	ACRAccessTokenKind        = "ACRAccessToken"
	CloudsmithAccessTokenKind = "CloudsmithAccessToken"
	ECRAuthorizationTokenKind = "ECRAuthorizationToken"
	FakeKind                  = "Fake"
	GCRAccessTokenKind        = "GCRAccessToken"
	GithubAccessTokenKind     = "GithubAccessToken"
	GitlabDeployTokenKind     = "GitlabDeployToken"
	GrafanaKind               = "Grafana"
	MFAKind                   = "MFA"
	PasswordKind              = "Password"
	QuayAccessTokenKind       = "QuayAccessToken"
	SSHKeyKind                = "SSHKey"
	STSSessionTokenKind       = "STSSessionToken"
	UUIDKind                  = "UUID"
	VaultDynamicSecretKind    = "VaultDynamicSecret"
	WebhookKind               = "Webhook"

	ClusterGeneratorKind = "ClusterGenerator"
	GeneratorStateKind   = "GeneratorState"
)

const (
	// GeneratorStateLabelOwnerKey is on every GeneratorState: a digest of whom it is for.
	GeneratorStateLabelOwnerKey = "generators.external-secrets.io/owner-key"
	// GeneratorStateFinalizer keeps a GeneratorState until what it names has ended.
	GeneratorStateFinalizer = "generatorstate.externalsecrets.io/finalizer"
)

// Object is a generator with a kind of its own.
// +kubebuilder:object:generate=false
type Object interface {
	runtime.Object
	metav1.Object
	// GeneratorSpec returns the spec inside the object, such as a *PasswordSpec. It is
	// never nil.
	GeneratorSpec() any
	// ControllerClass returns the class of controller that handles the object; empty
	// means all, and kinds without spec.controller have no other.
	ControllerClass() string
}

// List is a list of generators of one kind.
// +kubebuilder:object:generate=false
type List interface {
	runtime.Object
	metav1.ListInterface
}

// kindOf is one kind and how its objects are made.
type kindOf struct {
	name    string
	newOne  func() Object
	newList func() List
}

func kinds() []kindOf {
	return []kindOf{
		{ACRAccessTokenKind, func() Object { return &ACRAccessToken{} }, func() List { return &ACRAccessTokenList{} }},
		{CloudsmithAccessTokenKind, func() Object { return &CloudsmithAccessToken{} }, func() List { return &CloudsmithAccessTokenList{} }},
		{ECRAuthorizationTokenKind, func() Object { return &ECRAuthorizationToken{} }, func() List { return &ECRAuthorizationTokenList{} }},
		{FakeKind, func() Object { return &Fake{} }, func() List { return &FakeList{} }},
		{GCRAccessTokenKind, func() Object { return &GCRAccessToken{} }, func() List { return &GCRAccessTokenList{} }},
		{GithubAccessTokenKind, func() Object { return &GithubAccessToken{} }, func() List { return &GithubAccessTokenList{} }},
		{GitlabDeployTokenKind, func() Object { return &GitlabDeployToken{} }, func() List { return &GitlabDeployTokenList{} }},
		{GrafanaKind, func() Object { return &Grafana{} }, func() List { return &GrafanaList{} }},
		{MFAKind, func() Object { return &MFA{} }, func() List { return &MFAList{} }},
		{PasswordKind, func() Object { return &Password{} }, func() List { return &PasswordList{} }},
		{QuayAccessTokenKind, func() Object { return &QuayAccessToken{} }, func() List { return &QuayAccessTokenList{} }},
		{SSHKeyKind, func() Object { return &SSHKey{} }, func() List { return &SSHKeyList{} }},
		{STSSessionTokenKind, func() Object { return &STSSessionToken{} }, func() List { return &STSSessionTokenList{} }},
		{UUIDKind, func() Object { return &UUID{} }, func() List { return &UUIDList{} }},
		{VaultDynamicSecretKind, func() Object { return &VaultDynamicSecret{} }, func() List { return &VaultDynamicSecretList{} }},
		{WebhookKind, func() Object { return &Webhook{} }, func() List { return &WebhookList{} }},
	}
}

// Kinds returns the kinds that Object has, in order: those of this build with one
// generator each.
func Kinds() []string {
	all := kinds()
	names := make([]string, 0, len(all))
	for _, k := range all {
		names = append(names, k.name)
	}
	return names
}

// New returns an empty object of that kind; false for a kind that is not in Kinds.
func New(kind string) (Object, bool) {
	for _, k := range kinds() {
		if k.name == kind {
			return k.newOne(), true
		}
	}
	return nil, false
}

// NewList returns an empty list of that kind; false for a kind that is not in Kinds.
func NewList(kind string) (List, bool) {
	for _, k := range kinds() {
		if k.name == kind {
			return k.newList(), true
		}
	}
	return nil, false
}

// GroupVersion returns generators.external-secrets.io/v1alpha1.
func GroupVersion() schema.GroupVersion {
	return schema.GroupVersion{Group: Group, Version: Version}
}

// AddToScheme adds the kinds of this package to s. It is idempotent and its error is
// always nil.
func AddToScheme(s *runtime.Scheme) error {
	b := runtime.NewSchemeBuilder(func(s *runtime.Scheme) error {
		for _, k := range kinds() {
			s.AddKnownTypes(GroupVersion(), k.newOne(), k.newList())
		}
		s.AddKnownTypes(GroupVersion(),
			&ClusterGenerator{}, &ClusterGeneratorList{},
			&GeneratorState{}, &GeneratorStateList{})
		metav1.AddToGroupVersion(s, GroupVersion())
		return nil
	})
	return b.AddToScheme(s)
}
