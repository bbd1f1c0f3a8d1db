package aws

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"

	"github.com/keyferry/keyferry/internal/identity/aws"
	"github.com/keyferry/keyferry/secret"
)

// together is how many secrets are read at a time where they cannot be read in batches.
const together = 8

// Get implements provider.Reader. A version is a stage, or an ID after "uuid/". The
// metadata are the tags.
func (s *secrets) Get(ctx context.Context, ref secret.Ref) (secret.Secret, error) {
	if ref.Metadata {
		return s.tags(ctx, ref)
	}
	return s.get(ctx, "read", ref)
}

func (s *secrets) get(ctx context.Context, op string, ref secret.Ref) (secret.Secret, error) {
	in := &secretsmanager.GetSecretValueInput{SecretId: s.id(ref)}
	if id, ok := strings.CutPrefix(ref.Version, byVersion); ok {
		in.VersionId = &id
	} else if ref.Version != "" {
		in.VersionStage = &ref.Version
	}
	var out *secretsmanager.GetSecretValueOutput
	err := s.call(op, "GetSecretValue", ref, func() (err error) {
		out, err = s.client.GetSecretValue(ctx, in)
		return err
	})
	if err != nil {
		return secret.Secret{}, err
	}
	return content(out.SecretString, out.SecretBinary, out.VersionId), nil
}

func content(text *string, binary []byte, version *string) secret.Secret {
	value := secret.New(binary)
	if text != nil {
		value = secret.FromString(*text)
	}
	return secret.Secret{Value: value, Version: secretVersion(version)}
}

func (s *secrets) tags(ctx context.Context, ref secret.Ref) (secret.Secret, error) {
	was, err := s.describe(ctx, "read", ref)
	if err != nil {
		return secret.Secret{}, err
	}
	if was.DeletedDate != nil {
		return secret.Secret{}, s.fail(secret.NotFound, "read", ref, errSecretDeleted)
	}
	b, err := json.Marshal(tagMap(was.Tags))
	if err != nil {
		return secret.Secret{}, s.fail(secret.Internal, "read", ref, err)
	}
	return secret.Secret{Value: secret.New(b), Version: currentOf(was)}, nil
}

func tagMap(tags []types.Tag) map[string]string {
	out := make(map[string]string, len(tags))
	for _, t := range tags {
		out[aws.ToString(t.Key)] = aws.ToString(t.Value)
	}
	return out
}

// GetBatch implements provider.Batcher. Versions and metadata are read singly, and so is
// everything once BatchGetSecretValue has turned out not to be allowed.
func (s *secrets) GetBatch(ctx context.Context, refs []secret.Ref) ([]secret.Result, error) {
	results := make([]secret.Result, len(refs))
	byKey := map[string][]int{}
	var singles, firsts []int
	for i, ref := range refs {
		if ref.Version != "" || ref.Metadata {
			singles = append(singles, i)
			continue
		}
		if len(byKey[ref.Key]) == 0 {
			firsts = append(firsts, i)
		}
		byKey[ref.Key] = append(byKey[ref.Key], i)
	}
	for chunk := range slices.Chunk(firsts, secretBatch) {
		left, err := s.batch(ctx, refs, chunk, results)
		if err != nil {
			return nil, err
		}
		singles = append(singles, left...)
	}
	s.each(ctx, refs, singles, results)
	for _, same := range byKey {
		for _, i := range same[1:] {
			results[i] = results[same[0]]
		}
	}
	return results, nil
}

// batch reads the refs at the indexes with one call and returns those that still have to
// be read: all if the call is not allowed, else those that the answer does not mention.
func (s *secrets) batch(ctx context.Context, refs []secret.Ref, indexes []int, results []secret.Result) ([]int, error) {
	if s.single.Load() || len(indexes) == 1 {
		return indexes, nil
	}
	in := &secretsmanager.BatchGetSecretValueInput{}
	for _, i := range indexes {
		in.SecretIdList = append(in.SecretIdList, *s.id(refs[i]))
	}
	left := slices.Clone(indexes)
	for {
		var out *secretsmanager.BatchGetSecretValueOutput
		refused := false
		err := s.call("read", "BatchGetSecretValue", secret.Ref{}, func() (err error) {
			out, err = s.client.BatchGetSecretValue(ctx, in)
			refused = awsidentity.Refused(err)
			return err
		})
		if refused {
			s.single.Store(true)
			return left, nil
		}
		if secret.KindOf(err) == secret.Invalid { // a key that cannot be one fails the call for all
			return left, nil
		}
		if err != nil {
			return nil, err
		}
		left = s.settle(refs, left, out, results)
		if aws.ToString(out.NextToken) == "" {
			return left, nil
		}
		in.NextToken = out.NextToken
	}
}

// settle takes the results out of an answer and returns the indexes that are left.
func (s *secrets) settle(refs []secret.Ref, indexes []int, out *secretsmanager.BatchGetSecretValueOutput, results []secret.Result) []int {
	found, failed := map[string]types.SecretValueEntry{}, map[string]types.APIErrorType{}
	for _, v := range out.SecretValues {
		arn := aws.ToString(v.ARN)
		found[aws.ToString(v.Name)], found[arn] = v, v
		if cut := strings.LastIndex(arn, "-"); cut > 0 { // an ARN may be named without its random end
			found[arn[:cut]] = v
		}
	}
	for _, e := range out.Errors {
		failed[aws.ToString(e.SecretId)] = e
	}
	return slices.DeleteFunc(indexes, func(i int) bool {
		id := *s.id(refs[i])
		if v, ok := found[id]; ok {
			results[i].Secret = content(v.SecretString, v.SecretBinary, v.VersionId)
			return true
		}
		e, ok := failed[id]
		if ok {
			results[i].Err = s.session.CodeError("read", refs[i], aws.ToString(e.ErrorCode), aws.ToString(e.Message))
		}
		return ok
	})
}

// each reads the refs at the indexes one by one, several at a time.
func (s *secrets) each(ctx context.Context, refs []secret.Ref, indexes []int, results []secret.Result) {
	var group sync.WaitGroup
	slots := make(chan struct{}, together)
	for _, i := range indexes {
		slots <- struct{}{}
		group.Go(func() {
			defer func() { <-slots }()
			results[i].Secret, results[i].Err = s.Get(ctx, refs[i])
		})
	}
	group.Wait()
}
