package aws

import (
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"

	"github.com/keyferry/keyferry/internal/identity/aws"
	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/secret"
)

// pendingStage is the label of a version that is about to become the current one.
const pendingStage = "external-secrets-pending"

var (
	errSecretChanged  = errors.New("somebody else wrote to the secret meanwhile")
	errSecretReplicas = errors.New("the replicas of the secret are still being removed")
)

// Inspect implements provider.Writer with one read.
func (s *secrets) Inspect(ctx context.Context, ref secret.Ref, _ provider.PutOptions) (provider.Holding, error) {
	ref.Version = ""
	held, err := s.get(ctx, "write", ref)
	if secret.KindOf(err) == secret.NotFound {
		return provider.Holding{}, nil
	}
	return provider.Holding{Exists: err == nil, Secret: held}, err
}

// draft is a secret as it is to be.
type draft struct {
	ref   secret.Ref
	value secret.Value
	meta  secretMetadata
	owner string
	// consumer is the namespace in which the metadata's references are.
	consumer string
}

// Put implements provider.Writer. A version is made beside the current one and takes its
// place only if that is still the one that was seen. A secret of ours that is scheduled
// to be deleted is restored first. Tags that the metadata does not name, and everything
// else that it does not mention, stay as they are.
func (s *secrets) Put(ctx context.Context, ref secret.Ref, content secret.Secret, o provider.PutOptions) (provider.Receipt, error) {
	ref.Version = ""
	d := draft{ref: ref, owner: o.Owner, consumer: o.Consumer}
	var err error
	if d.value, err = content.Text(); err == nil {
		d.meta, err = decodeSecretMetadata(o.Metadata)
	}
	if err == nil {
		err = d.meta.check(d.value)
	}
	if err != nil {
		return provider.Receipt{}, s.fail(secret.Invalid, "write", ref, err)
	}
	held := o.If
	if held == nil {
		now, err := s.Inspect(ctx, ref, o)
		if err != nil {
			return provider.Receipt{}, err
		}
		held = &now
	}
	if !held.Exists {
		return s.create(ctx, d)
	}
	return s.update(ctx, d, held.Secret)
}

func (s *secrets) create(ctx context.Context, d draft) (provider.Receipt, error) {
	in := &secretsmanager.CreateSecretInput{Name: s.id(d.ref), Description: aws.String(secretDescription)}
	if d.meta.Description != "" {
		in.Description = &d.meta.Description
	}
	if d.meta.KMSKeyID != "" {
		in.KmsKeyId = &d.meta.KMSKeyID
	}
	in.SecretBinary, in.SecretString = d.meta.form(d.value)
	in.Tags = append(missingTags(nil, d.meta.Tags), types.Tag{Key: aws.String(provider.Mark), Value: &d.owner})
	for _, region := range d.meta.ReplicationLocations {
		in.AddReplicaRegions = append(in.AddReplicaRegions, types.ReplicaRegionType{Region: &region})
	}
	var out *secretsmanager.CreateSecretOutput
	taken := false
	err := s.call("write", "CreateSecret", d.ref, func() (err error) {
		out, err = s.client.CreateSecret(ctx, in)
		taken = awsidentity.Code(err) == "ResourceExistsException" || awsidentity.Deleted(err)
		return err
	})
	if taken {
		return s.revive(ctx, d)
	}
	if err != nil {
		return provider.Receipt{}, err
	}
	receipt := provider.Receipt{Version: secretVersion(out.VersionId), Written: true}
	_, err = s.policy(ctx, d)
	return receipt, err
}

// revive is for a name that is taken although there was nothing to read: the secret is
// scheduled to be deleted, or never had a value, or somebody has just made it.
func (s *secrets) revive(ctx context.Context, d draft) (provider.Receipt, error) {
	was, err := s.owned(ctx, "write", d.ref, d.owner)
	if err != nil {
		return provider.Receipt{}, err
	}
	if was.DeletedDate != nil {
		err := s.call("write", "RestoreSecret", d.ref, func() error {
			_, err := s.client.RestoreSecret(ctx, &secretsmanager.RestoreSecretInput{SecretId: s.id(d.ref)})
			return err
		})
		if err != nil {
			return provider.Receipt{}, err
		}
	} else if currentOf(was) != "" {
		return provider.Receipt{}, s.fail(secret.Conflict, "write", d.ref, errSecretChanged)
	}
	receipt := provider.Receipt{Written: true}
	if receipt.Version, err = s.replace(ctx, d); err != nil {
		return provider.Receipt{}, err
	}
	_, err = s.adjust(ctx, d, was)
	return receipt, err
}

// update brings the value, and what the metadata asks for, to a secret that exists.
func (s *secrets) update(ctx context.Context, d draft, held secret.Secret) (provider.Receipt, error) {
	receipt := provider.Receipt{Version: held.Version}
	same := held.Value.Same(d.value)
	if same && !d.meta.asks() {
		return receipt, nil
	}
	was, err := s.owned(ctx, "write", d.ref, d.owner)
	if err != nil {
		return receipt, err
	}
	if was.DeletedDate != nil || currentOf(was) != held.Version {
		return receipt, s.fail(secret.Conflict, "write", d.ref, errSecretChanged)
	}
	if !same {
		if receipt.Version, err = s.supersede(ctx, d, held.Version); err != nil {
			return receipt, err
		}
		receipt.Written = true
	}
	adjusted, err := s.adjust(ctx, d, was)
	receipt.Written = receipt.Written || adjusted
	return receipt, err
}

// owned describes a secret that is ours. It fails with Conflict if it is not, or is gone.
func (s *secrets) owned(ctx context.Context, op string, ref secret.Ref, owner string) (*secretsmanager.DescribeSecretOutput, error) {
	was, err := s.describe(ctx, op, ref)
	if secret.KindOf(err) == secret.NotFound && op == "write" {
		return nil, s.fail(secret.Conflict, op, ref, errSecretChanged)
	}
	if err != nil {
		return nil, err
	}
	switch mark, marked := tagMap(was.Tags)[provider.Mark]; {
	case !marked:
		return nil, s.fail(secret.Conflict, op, ref, fmt.Errorf("the secret has no tag %s, so it is somebody else's: give it the tag %[1]s=%s to hand it over", provider.Mark, owner))
	case mark != owner:
		return nil, s.fail(secret.Conflict, op, ref, fmt.Errorf("the secret is somebody else's: its tag %s is not %s", provider.Mark, owner))
	}
	return was, nil
}

// replace makes a version and makes it the current one, whatever that was.
func (s *secrets) replace(ctx context.Context, d draft, stages ...string) (secret.Version, error) {
	in := &secretsmanager.PutSecretValueInput{SecretId: s.id(d.ref), VersionStages: stages}
	in.SecretBinary, in.SecretString = d.meta.form(d.value)
	var out *secretsmanager.PutSecretValueOutput
	gone := false
	err := s.call("write", "PutSecretValue", d.ref, func() (err error) {
		out, err = s.client.PutSecretValue(ctx, in)
		gone = awsidentity.Deleted(err) || awsidentity.Code(err) == "ResourceNotFoundException"
		return err
	})
	if gone {
		return "", s.fail(secret.Conflict, "write", d.ref, errSecretChanged)
	}
	if err != nil {
		return "", err
	}
	return secretVersion(out.VersionId), nil
}

// supersede is replace on the condition that the current version is still the old one:
// the new version waits under a label of its own until the label AWSCURRENT is moved to
// it from there. Who may not move labels replaces without that condition.
func (s *secrets) supersede(ctx context.Context, d draft, old secret.Version) (secret.Version, error) {
	if s.unstaged.Load() {
		return s.replace(ctx, d)
	}
	next, err := s.replace(ctx, d, pendingStage)
	if err != nil {
		return "", err
	}
	refused, err := s.promote(ctx, d.ref, old, next)
	switch {
	case refused:
		s.unstaged.Store(true)
		return s.replace(ctx, d)
	case err == nil && !s.follows(ctx, d.ref, next):
		s.unstaged.Store(true)
		if _, err := s.promote(ctx, d.ref, next, old); err != nil {
			return "", err
		}
		return s.replace(ctx, d)
	}
	return next, err
}

// promote moves the label AWSCURRENT from one version to another. It fails with Conflict
// if the label is not there any more; refused is true if it may not be moved.
func (s *secrets) promote(ctx context.Context, ref secret.Ref, from, to secret.Version) (refused bool, err error) {
	changed := false
	err = s.call("write", "UpdateSecretVersionStage", ref, func() error {
		_, err := s.client.UpdateSecretVersionStage(ctx, &secretsmanager.UpdateSecretVersionStageInput{
			SecretId: s.id(ref), VersionStage: aws.String(currentStage),
			MoveToVersionId: aws.String(versionID(to)), RemoveFromVersionId: aws.String(versionID(from)),
		})
		code := awsidentity.Code(err)
		refused = awsidentity.Refused(err)
		changed = code == "InvalidParameterException" || code == "ResourceNotFoundException" || awsidentity.Deleted(err)
		return err
	})
	if changed {
		err = s.fail(secret.Conflict, "write", ref, errSecretChanged)
	}
	return refused, err
}

// follows reports whether who reads without a label gets the version that the label
// AWSCURRENT was moved to. At AWS it is so; there are emulators where it is not, and
// where the new value would never be seen. It looks once for a store.
func (s *secrets) follows(ctx context.Context, ref secret.Ref, next secret.Version) bool {
	if s.followed.Load() {
		return true
	}
	read, err := s.get(ctx, "write", ref)
	if err != nil || read.Version == next {
		s.followed.Store(err == nil)
		return true
	}
	ref.Version = currentStage
	labelled, err := s.get(ctx, "write", ref)
	return err != nil || labelled.Version != next
}

// Delete implements provider.Deleter. It reads no value. Replicas go with the secret.
// One that is scheduled to be deleted already counts as deleted.
func (s *secrets) Delete(ctx context.Context, ref secret.Ref, o provider.DeleteOptions) error {
	ref.Version = ""
	was, err := s.owned(ctx, "delete", ref, o.Owner)
	if secret.KindOf(err) == secret.NotFound {
		return nil
	}
	if err != nil {
		return err
	}
	if was.DeletedDate != nil {
		return nil
	}
	if o.If != nil && (!o.If.Exists || o.If.Secret.Version != currentOf(was)) {
		return s.fail(secret.Conflict, "delete", ref, errSecretChanged)
	}
	regions := replicaRegions(was)
	if len(regions) > 0 {
		if err := s.unreplicate(ctx, "delete", ref, regions); err != nil {
			return err
		}
	}
	return s.remove(ctx, ref, len(regions) > 0)
}

func (s *secrets) remove(ctx context.Context, ref secret.Ref, replicated bool) error {
	in := &secretsmanager.DeleteSecretInput{SecretId: s.id(ref)}
	if s.deletes.ForceDeleteWithoutRecovery {
		in.ForceDeleteWithoutRecovery = aws.Bool(true)
	} else if days := s.deletes.RecoveryWindowInDays; days != 0 {
		in.RecoveryWindowInDays = &days
	}
	err := s.call("delete", "DeleteSecret", ref, func() error {
		_, err := s.client.DeleteSecret(ctx, in)
		return err
	})
	switch kind := secret.KindOf(err); {
	case kind == secret.NotFound:
		return nil
	case kind == secret.Invalid && replicated:
		return s.fail(secret.Unavailable, "delete", ref, errSecretReplicas)
	}
	return err
}
