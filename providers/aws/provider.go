package aws

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"

	esv1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	"github.com/keyferry/keyferry/internal/identity/aws"
	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/secret"
)

const (
	name = "aws"
	spec = "spec.provider.aws"
)

// Provider returns the provider. Its stores are a Reader, Batcher, Lister, Checker, Writer
// and Deleter. They assume roles with their first call, and keep them until they end.
func Provider() provider.Provider {
	return provider.Define(provider.Definition[esv1.AWSProvider]{
		Name: name, Label: "AWS", Service: func(spec *esv1.AWSProvider) string { return string(spec.Service) }, Access: provider.ReadWrite, Validate: validate, Open: open,
		Batch: func(s *esv1.AWSProvider) int {
			if s.Service == esv1.AWSServiceParameterStore {
				return parameterBatch
			}
			return secretBatch
		},
	})
}

func validate(s *esv1.AWSProvider) error {
	switch s.Service {
	case esv1.AWSServiceSecretsManager, esv1.AWSServiceParameterStore:
	default:
		return invalid("%s.service: %q is not supported: this build has SecretsManager and ParameterStore", spec, s.Service)
	}
	if err := cmp.Or(validateDeletion(s.SecretsManager), validateTags(s)); err != nil {
		return err
	}
	return identity(s).Check(awsidentity.EndpointsFromEnv())
}

func validateTags(s *esv1.AWSProvider) error {
	tags := map[string]bool{}
	for i, tag := range s.SessionTags {
		if tags[tag.Key] || s.PerConsumer() && builtin(tag.Key) {
			return invalid("%s.sessionTags[%d].key: the tag %q is there twice: keep one", spec, i, tag.Key)
		}
		tags[tag.Key] = true
	}
	for _, key := range slices.Sorted(maps.Keys(s.CustomSessionTags)) {
		if s.SessionTagsPolicy == esv1.AWSSessionTagsPolicyCustom && (tags[key] || builtin(key)) {
			return invalid("%s.customSessionTags: the tag %q is there twice: keep one", spec, key)
		}
	}
	return nil
}

func builtin(key string) bool {
	return key == esv1.AWSSessionTagNamespace || key == esv1.AWSSessionTagStoreName || key == esv1.AWSSessionTagStoreKind
}

func validateDeletion(s *esv1.SecretsManager) error {
	switch {
	case s == nil:
		return nil
	case s.ForceDeleteWithoutRecovery && s.RecoveryWindowInDays != 0:
		return invalid("%s.secretsManager: forceDeleteWithoutRecovery leaves nothing to recover: set it or recoveryWindowInDays, not both", spec)
	case s.RecoveryWindowInDays != 0 && (s.RecoveryWindowInDays < 7 || s.RecoveryWindowInDays > 30):
		return invalid("%s.secretsManager.recoveryWindowInDays: must be 7 to 30", spec)
	}
	return nil
}

func open(ctx context.Context, s *esv1.AWSProvider, env provider.Env) (provider.Store, error) {
	if s.Service == esv1.AWSServiceParameterStore {
		return openParameterStore(ctx, s, env)
	}
	return openSecretsManager(ctx, s, env)
}

// identity is who a store is, less the tags of the session, which need a consumer.
func identity(s *esv1.AWSProvider) awsidentity.Spec {
	return awsidentity.Spec{
		Provider: name, Field: spec, AuthField: spec + ".auth", Region: s.Region, Auth: s.Auth,
		AdditionalRoles: s.AdditionalRoles, Role: s.Role, ExternalID: s.ExternalID, TransitiveTags: s.TransitiveTagKeys,
	}
}

// login opens the session of a store.
func login(ctx context.Context, s *esv1.AWSProvider, env provider.Env) (*awsidentity.Session, error) {
	who := identity(s)
	var err error
	if who.Tags, err = sessionTags(s, provider.ConsumerOf(env)); err != nil {
		return nil, err
	}
	return awsidentity.Open(ctx, who, awsidentity.EndpointsFromEnv(), env)
}

// sessionTags fails with Unsupported and provider.ErrReferent if the tags tell a
// consumer and there is none.
func sessionTags(s *esv1.AWSProvider, c provider.Consumer) (map[string]string, error) {
	tags := map[string]string{}
	for _, tag := range s.SessionTags {
		tags[tag.Key] = tag.Value
	}
	if !s.PerConsumer() {
		return tags, nil
	}
	if c.Namespace == "" {
		return nil, &secret.Error{Kind: secret.Unsupported, Op: "open", Provider: name, Err: fmt.Errorf("%s.sessionTagsPolicy: %w", spec, provider.ErrReferent)}
	}
	if s.SessionTagsPolicy == esv1.AWSSessionTagsPolicyCustom {
		for key, value := range s.CustomSessionTags {
			if key != "" && value != "" { // as ESO has it: such a tag is none
				tags[key] = value
			}
		}
	}
	tags[esv1.AWSSessionTagNamespace] = c.Namespace
	tags[esv1.AWSSessionTagStoreName] = c.StoreName
	tags[esv1.AWSSessionTagStoreKind] = c.StoreKind
	return tags, nil
}

func invalid(format string, args ...any) error {
	return &secret.Error{Kind: secret.Invalid, Op: "open", Provider: name, Err: fmt.Errorf(format, args...)}
}
