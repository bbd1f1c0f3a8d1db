package all

import (
	"github.com/keyferry/keyferry/generator"
	"github.com/keyferry/keyferry/generators/acr"
	"github.com/keyferry/keyferry/generators/cloudsmith"
	"github.com/keyferry/keyferry/generators/ecr"
	"github.com/keyferry/keyferry/generators/fake"
	"github.com/keyferry/keyferry/generators/gcr"
	"github.com/keyferry/keyferry/generators/github"
	"github.com/keyferry/keyferry/generators/gitlab"
	"github.com/keyferry/keyferry/generators/grafana"
	"github.com/keyferry/keyferry/generators/mfa"
	"github.com/keyferry/keyferry/generators/password"
	"github.com/keyferry/keyferry/generators/quay"
	"github.com/keyferry/keyferry/generators/sshkey"
	"github.com/keyferry/keyferry/generators/sts"
	"github.com/keyferry/keyferry/generators/uuid"
	"github.com/keyferry/keyferry/generators/vaultdynamicsecret"
	"github.com/keyferry/keyferry/generators/webhook"
)

// Registry returns the generators of this build. It fails if two have one kind.
func Registry() (generator.Registry, error) {
	return generator.NewRegistry(
		acr.Generator(),
		cloudsmith.Generator(),
		ecr.Generator(),
		fake.Generator(),
		gcr.Generator(),
		github.Generator(),
		gitlab.Generator(),
		grafana.Generator(),
		mfa.Generator(),
		password.Generator(),
		quay.Generator(),
		sshkey.Generator(),
		sts.Generator(),
		uuid.Generator(),
		vaultdynamicsecret.Generator(),
		webhook.Generator(),
	)
}
