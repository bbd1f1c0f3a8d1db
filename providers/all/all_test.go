package all

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	esv1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	"github.com/keyferry/keyferry/provider/providertest/suite"
	"github.com/keyferry/keyferry/secret"
)

// names are the keys under spec.provider; a folder has the same in small letters.
func names() []string { return []string{"aws", "fake", "kubernetes", "openBao", "vault", "webhook"} }

func TestRegistry(t *testing.T) {
	registry, err := Registry()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(names(), registry.Names()); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
}

// The name that a manifest selects by must lead to the provider that takes its type.
func TestManifestsSelectTheirProvider(t *testing.T) {
	registry, err := Registry()
	if err != nil {
		t.Fatal(err)
	}
	for _, manifest := range []*esv1.SecretStoreProvider{
		{AWS: &esv1.AWSProvider{}},
		{Fake: &esv1.FakeProvider{}},
		{Kubernetes: &esv1.KubernetesProvider{Auth: &esv1.KubernetesAuth{Token: &esv1.TokenAuth{}}}},
		{OpenBao: &esv1.OpenBaoProvider{}},
		{Vault: &esv1.VaultProvider{}},
		{Webhook: &esv1.WebhookProvider{}},
	} {
		name, spec := manifest.Selected()
		t.Run(name, func(t *testing.T) {
			p, err := registry.Lookup(name)
			if err != nil {
				t.Fatal(err)
			}
			if err := p.Validate(spec); errors.Is(err, secret.Internal) {
				t.Errorf("the provider takes another type: %v", err)
			}
		})
	}
}

func TestEveryFolderIsListedAndHeldToTheContract(t *testing.T) {
	var folders []string
	for _, name := range names() {
		folders = append(folders, strings.ToLower(name))
	}
	if diff := cmp.Diff(folders, suite.Members(t, "providertest")); diff != "" {
		t.Errorf("folders by name and as they are (-want +got):\n%s", diff)
	}
}
