package all

import (
	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/providers/aws"
	"github.com/keyferry/keyferry/providers/fake"
	"github.com/keyferry/keyferry/providers/kubernetes"
	"github.com/keyferry/keyferry/providers/openbao"
	"github.com/keyferry/keyferry/providers/vault"
	"github.com/keyferry/keyferry/providers/webhook"
)

// Registry returns the providers of this build. It fails if two have one name.
func Registry() (provider.Registry, error) {
	return provider.NewRegistry(
		aws.Provider(),
		fake.Provider(),
		kubernetes.Provider(),
		openbao.Provider(),
		vault.Provider(),
		webhook.Provider(),
	)
}
