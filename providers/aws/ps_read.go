package aws

import (
	"context"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"github.com/keyferry/keyferry/internal/identity/aws"
	"github.com/keyferry/keyferry/secret"
)

// Get implements provider.Reader. A version is a number or a label. Metadata is the
// tags.
func (p *parameters) Get(ctx context.Context, ref secret.Ref) (secret.Secret, error) {
	if ref.Metadata {
		tags, err := p.tags(ctx, "read", ref)
		if err != nil {
			return secret.Secret{}, err
		}
		return secret.Secret{Value: secret.Secret{Fields: tags}.Whole()}, nil
	}
	got, err := p.get(ctx, "read", ref)
	if err != nil {
		return secret.Secret{}, err
	}
	return p.content("read", ref, got)
}

func (p *parameters) get(ctx context.Context, op string, ref secret.Ref) (*types.Parameter, error) {
	name := p.name(ref)
	if ref.Version != "" {
		*name += ":" + ref.Version
	}
	var out *ssm.GetParameterOutput
	err := p.call(op, "GetParameter", ref, func() (err error) {
		out, err = p.client.GetParameter(ctx, &ssm.GetParameterInput{Name: name, WithDecryption: aws.Bool(true)})
		return err
	})
	switch {
	case secret.KindOf(err) == secret.NotFound && ref.Version != "":
		return nil, p.fail(secret.NotFound, op, ref, errParameterVersion)
	case secret.KindOf(err) == secret.NotFound:
		return nil, p.fail(secret.NotFound, op, ref, errParameterAbsent)
	case err != nil:
		return nil, err
	case out.Parameter == nil:
		return nil, p.fail(secret.Internal, op, ref, errNoParameter)
	}
	return out.Parameter, nil
}

// tags are those of a parameter. It fails with NotFound if there is none.
func (p *parameters) tags(ctx context.Context, op string, ref secret.Ref) (map[string]secret.Value, error) {
	var out *ssm.ListTagsForResourceOutput
	absent := false
	err := p.call(op, "ListTagsForResource", ref, func() (err error) {
		out, err = p.client.ListTagsForResource(ctx, &ssm.ListTagsForResourceInput{
			ResourceType: types.ResourceTypeForTaggingParameter, ResourceId: p.name(ref),
		})
		absent = awsidentity.Code(err) == "InvalidResourceId"
		return err
	})
	if absent {
		return nil, p.fail(secret.NotFound, op, ref, errParameterAbsent)
	}
	if err != nil {
		return nil, err
	}
	tags := make(map[string]secret.Value, len(out.TagList))
	for _, tag := range out.TagList {
		tags[aws.ToString(tag.Key)] = secret.FromString(aws.ToString(tag.Value))
	}
	return tags, nil
}

// GetBatch implements provider.Batcher. Versions, labels and metadata are read singly.
func (p *parameters) GetBatch(ctx context.Context, refs []secret.Ref) ([]secret.Result, error) {
	results := make([]secret.Result, len(refs))
	places := map[secret.Ref][]int{}
	var plain []secret.Ref
	for i, ref := range refs {
		if ref.Metadata || ref.Version != "" || strings.Contains(ref.Key, ":") {
			results[i].Secret, results[i].Err = p.Get(ctx, ref)
			continue
		}
		ref = secret.Ref{Key: ref.Key}
		if places[ref] == nil {
			plain = append(plain, ref)
		}
		places[ref] = append(places[ref], i)
	}
	for chunk := range slices.Chunk(plain, parameterBatch) {
		got, err := p.getMany(ctx, chunk)
		if err != nil {
			return nil, err
		}
		for j, ref := range chunk {
			for _, i := range places[ref] {
				results[i] = got[j]
			}
		}
	}
	return results, nil
}

// getMany reads at most parameterBatch different parameters with one call. One that may
// not be read, or whose name cannot be, fails that call for all: then each is read by
// itself, and so is everything else from then on if it is the call that is not allowed.
func (p *parameters) getMany(ctx context.Context, refs []secret.Ref) ([]secret.Result, error) {
	if len(refs) == 1 || p.single.Load() {
		return p.getEach(ctx, refs), nil
	}
	names := make([]string, len(refs))
	for i, ref := range refs {
		names[i] = *p.name(ref)
	}
	var out *ssm.GetParametersOutput
	var refused bool
	err := p.call("read", "GetParameters", secret.Ref{}, func() (err error) {
		out, err = p.client.GetParameters(ctx, &ssm.GetParametersInput{Names: names, WithDecryption: aws.Bool(true)})
		refused = awsidentity.Refused(err)
		return err
	})
	switch {
	case err == nil:
		return p.sorted(refs, out.Parameters), nil
	case refused, secret.KindOf(err) == secret.Invalid:
		results := p.getEach(ctx, refs)
		if refused && !slices.ContainsFunc(results, func(r secret.Result) bool { return secret.KindOf(r.Err) == secret.Denied }) {
			p.single.Store(true)
		}
		return results, nil
	}
	return nil, err
}

func (p *parameters) getEach(ctx context.Context, refs []secret.Ref) []secret.Result {
	results := make([]secret.Result, len(refs))
	for i, ref := range refs {
		results[i].Secret, results[i].Err = p.Get(ctx, ref)
	}
	return results
}

// sorted brings what a call for many returned into the order of refs.
func (p *parameters) sorted(refs []secret.Ref, got []types.Parameter) []secret.Result {
	byName := make(map[string]*types.Parameter, len(got))
	for i := range got {
		byName[unrooted(aws.ToString(got[i].Name))] = &got[i]
	}
	results := make([]secret.Result, len(refs))
	for i, ref := range refs {
		found, ok := byName[unrooted(*p.name(ref))]
		if !ok {
			results[i].Err = p.fail(secret.NotFound, "read", ref, errParameterAbsent)
			continue
		}
		results[i].Secret, results[i].Err = p.content("read", ref, found)
	}
	return results
}

// unrooted is a name without the slash that a name without folders may have or not.
func unrooted(name string) string { return strings.TrimPrefix(name, "/") }
