package aws

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"

	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/secret"
)

const policyField = "metadata.spec.resourcePolicy.policySourceRef"

// adjust brings what the metadata asks for beside the value, and reports whether there
// was anything to do.
func (s *secrets) adjust(ctx context.Context, d draft, was *secretsmanager.DescribeSecretOutput) (bool, error) {
	changed := false
	for _, step := range []func(context.Context, draft, *secretsmanager.DescribeSecretOutput) (bool, error){s.redescribe, s.retag, s.rereplicate} {
		did, err := step(ctx, d, was)
		changed = changed || did
		if err != nil {
			return changed, err
		}
	}
	did, err := s.policy(ctx, d)
	return changed || did, err
}

func (s *secrets) redescribe(ctx context.Context, d draft, was *secretsmanager.DescribeSecretOutput) (bool, error) {
	in := &secretsmanager.UpdateSecretInput{SecretId: s.id(d.ref)}
	if want := d.meta.Description; want != "" && want != aws.ToString(was.Description) {
		in.Description = &want
	}
	has := aws.ToString(was.KmsKeyId)
	if has == "" { // it is left out for the key of the account
		has = "alias/aws/secretsmanager"
	}
	if want := d.meta.KMSKeyID; want != "" && otherKey(want, has) {
		in.KmsKeyId = &want
	}
	if in.Description == nil && in.KmsKeyId == nil {
		return false, nil
	}
	return true, s.call("write", "UpdateSecret", d.ref, func() error {
		_, err := s.client.UpdateSecret(ctx, in)
		return err
	})
}

// missingTags are the tags that are wanted and are not there with that value.
func missingTags(have, want map[string]string) []types.Tag {
	var out []types.Tag
	for _, key := range slices.Sorted(maps.Keys(want)) {
		if got, ok := have[key]; !ok || got != want[key] {
			out = append(out, types.Tag{Key: aws.String(key), Value: aws.String(want[key])})
		}
	}
	return out
}

func (s *secrets) retag(ctx context.Context, d draft, was *secretsmanager.DescribeSecretOutput) (bool, error) {
	missing := missingTags(tagMap(was.Tags), d.meta.Tags)
	if len(missing) == 0 {
		return false, nil
	}
	return true, s.call("write", "TagResource", d.ref, func() error {
		_, err := s.client.TagResource(ctx, &secretsmanager.TagResourceInput{SecretId: s.id(d.ref), Tags: missing})
		return err
	})
}

func replicaRegions(was *secretsmanager.DescribeSecretOutput) []string {
	var out []string
	for _, r := range was.ReplicationStatus {
		out = append(out, aws.ToString(r.Region))
	}
	return out
}

// rereplicate makes the replicas those of the metadata, if it names any.
func (s *secrets) rereplicate(ctx context.Context, d draft, was *secretsmanager.DescribeSecretOutput) (bool, error) {
	want, have := d.meta.ReplicationLocations, replicaRegions(was)
	if len(want) == 0 {
		return false, nil
	}
	var more []types.ReplicaRegionType
	for _, region := range want {
		if !slices.Contains(have, region) {
			more = append(more, types.ReplicaRegionType{Region: &region})
		}
	}
	fewer := slices.DeleteFunc(slices.Clone(have), func(region string) bool { return slices.Contains(want, region) })
	if len(more) > 0 {
		err := s.call("write", "ReplicateSecretToRegions", d.ref, func() error {
			_, err := s.client.ReplicateSecretToRegions(ctx, &secretsmanager.ReplicateSecretToRegionsInput{SecretId: s.id(d.ref), AddReplicaRegions: more})
			return err
		})
		if err != nil {
			return false, err
		}
	}
	if len(fewer) > 0 {
		if err := s.unreplicate(ctx, "write", d.ref, fewer); err != nil {
			return len(more) > 0, err
		}
	}
	return len(more)+len(fewer) > 0, nil
}

func (s *secrets) unreplicate(ctx context.Context, op string, ref secret.Ref, regions []string) error {
	return s.call(op, "RemoveRegionsFromReplication", ref, func() error {
		_, err := s.client.RemoveRegionsFromReplication(ctx, &secretsmanager.RemoveRegionsFromReplicationInput{SecretId: s.id(ref), RemoveReplicaRegions: regions})
		return err
	})
}

// policy puts the resource policy that the metadata refers to. Without one in the
// metadata, that of the secret is not even looked at.
func (s *secrets) policy(ctx context.Context, d draft) (bool, error) {
	asked := d.meta.ResourcePolicy
	if asked == nil {
		return false, nil
	}
	ref := asked.PolicySourceRef
	source := provider.CredentialRef{Kind: ref.Kind, Name: ref.Name, Key: ref.Key, Field: policyField}
	if d.consumer != "" {
		source.Namespace = &d.consumer
	}
	want, err := s.env.Credential(ctx, source)
	if err != nil {
		return false, err
	}
	if !json.Valid(want.Reveal()) {
		return false, s.fail(secret.Invalid, "write", d.ref, fmt.Errorf("%s: the policy is not JSON", policyField))
	}
	var has *secretsmanager.GetResourcePolicyOutput
	err = s.call("write", "GetResourcePolicy", d.ref, func() (err error) {
		has, err = s.client.GetResourcePolicy(ctx, &secretsmanager.GetResourcePolicyInput{SecretId: s.id(d.ref)})
		return err
	})
	if err != nil || secret.FromString(aws.ToString(has.ResourcePolicy)).Same(want) {
		return false, err
	}
	block := asked.BlockPublicPolicy == nil || *asked.BlockPublicPolicy
	return true, s.call("write", "PutResourcePolicy", d.ref, func() error {
		_, err := s.client.PutResourcePolicy(ctx, &secretsmanager.PutResourcePolicyInput{
			SecretId: s.id(d.ref), ResourcePolicy: aws.String(string(want.Reveal())), BlockPublicPolicy: &block,
		})
		return err
	})
}
