package aws

import (
	"context"
	"iter"
	"maps"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"github.com/keyferry/keyferry/internal/identity/aws"
	"github.com/keyferry/keyferry/secret"
)

// List implements provider.Lister. Paths and keys are whole names, whatever the prefix of
// the store, and items carry their values. Without tags it reads all that is below the
// path; with tags, or where that is not allowed, it asks for names first and reads in
// batches those that q.Name matches.
func (p *parameters) List(ctx context.Context, q secret.Query) iter.Seq2[secret.Item, error] {
	whole := &parameters{parameterCalls: p.parameterCalls}
	return func(yield func(secret.Item, error) bool) {
		if len(q.Tags) == 0 && whole.listValues(ctx, q, yield) {
			return
		}
		whole.listNames(ctx, q, yield)
	}
}

// folder is where to look: a path begins with a slash and ends without.
func folder(q secret.Query) string { return "/" + strings.Trim(q.Path, "/") }

// selects reports whether a query may select a parameter.
func selects(q secret.Query, name *string) bool {
	return q.Name == nil || q.Name.MatchString(aws.ToString(name))
}

// listValues lists with GetParametersByPath. It returns false if that is not allowed and
// nothing was yielded.
func (p *parameters) listValues(ctx context.Context, q secret.Query, yield func(secret.Item, error) bool) bool {
	in := &ssm.GetParametersByPathInput{Path: aws.String(folder(q)), Recursive: aws.Bool(true), WithDecryption: aws.Bool(true)}
	for {
		var out *ssm.GetParametersByPathOutput
		var refused bool
		err := p.call("list", "GetParametersByPath", secret.Ref{}, func() (err error) {
			out, err = p.client.GetParametersByPath(ctx, in)
			refused = awsidentity.Refused(err)
			return err
		})
		if refused && in.NextToken == nil {
			return false
		}
		if err != nil {
			yield(secret.Item{}, err)
			return true
		}
		for i := range out.Parameters {
			if !p.yield(q, &out.Parameters[i], yield) {
				return true
			}
		}
		if in.NextToken = out.NextToken; aws.ToString(in.NextToken) == "" {
			return true
		}
	}
}

// yield passes a parameter on if the query may select it, and reports whether to go on.
func (p *parameterCalls) yield(q secret.Query, got *types.Parameter, yield func(secret.Item, error) bool) bool {
	if !selects(q, got.Name) {
		return true
	}
	ref := secret.Ref{Key: aws.ToString(got.Name)}
	s, err := p.content("list", ref, got)
	if err != nil {
		yield(secret.Item{}, err)
		return false
	}
	return yield(secret.Item{Ref: ref, Secret: &s}, nil)
}

// listNames lists with DescribeParameters, and reads what it finds.
func (p *parameters) listNames(ctx context.Context, q secret.Query, yield func(secret.Item, error) bool) {
	in := &ssm.DescribeParametersInput{MaxResults: aws.Int32(50)}
	if path := folder(q); path != "/" {
		in.ParameterFilters = append(in.ParameterFilters, types.ParameterStringFilter{
			Key: aws.String("Path"), Option: aws.String("Recursive"), Values: []string{path},
		})
	}
	for _, tag := range slices.Sorted(maps.Keys(q.Tags)) {
		in.ParameterFilters = append(in.ParameterFilters, types.ParameterStringFilter{
			Key: aws.String("tag:" + tag), Option: aws.String("Equals"), Values: []string{q.Tags[tag]},
		})
	}
	for {
		out, _, err := p.page(ctx, "list", secret.Ref{}, in)
		if err != nil {
			yield(secret.Item{}, err)
			return
		}
		var refs []secret.Ref
		for _, found := range out.Parameters {
			if selects(q, found.Name) {
				refs = append(refs, secret.Ref{Key: aws.ToString(found.Name)})
			}
		}
		for chunk := range slices.Chunk(refs, parameterBatch) {
			if !p.yieldRead(ctx, chunk, yield) {
				return
			}
		}
		if in.NextToken = out.NextToken; aws.ToString(in.NextToken) == "" {
			return
		}
	}
}

// yieldRead reads what was listed. What is gone by then is left out.
func (p *parameters) yieldRead(ctx context.Context, refs []secret.Ref, yield func(secret.Item, error) bool) bool {
	results, err := p.getMany(ctx, refs)
	if err != nil {
		yield(secret.Item{}, err)
		return false
	}
	for i, r := range results {
		if secret.KindOf(r.Err) == secret.NotFound {
			continue
		}
		if r.Err != nil {
			yield(secret.Item{}, r.Err)
			return false
		}
		if !yield(secret.Item{Ref: refs[i], Secret: &r.Secret}, nil) {
			return false
		}
	}
	return true
}

// page asks for one page of what Parameter Store keeps beside the values. Refused is
// true if no policy allows that.
func (p *parameterCalls) page(ctx context.Context, op string, ref secret.Ref, in *ssm.DescribeParametersInput) (out *ssm.DescribeParametersOutput, refused bool, err error) {
	err = p.call(op, "DescribeParameter", ref, func() (err error) {
		out, err = p.client.DescribeParameters(ctx, in)
		refused = awsidentity.Refused(err)
		return err
	})
	return out, refused, err
}
