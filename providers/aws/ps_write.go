package aws

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"github.com/keyferry/keyferry/internal/identity/aws"
	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/secret"
)

// standardSize is what a standard parameter holds, in bytes.
const standardSize = 4096

var (
	errParameterChanged = errors.New("somebody else wrote to the parameter meanwhile")
	errParameterLarge   = errors.New("a standard parameter holds 4096 bytes and an advanced one 8192: set metadata.spec.tier.type to Advanced, or make the value shorter")
	errTypeStays        = errors.New("metadata.spec.secretType: Parameter Store does not change the type of a parameter: delete it first, or remove the field")
)

// parameterState is what Put wants to know of what Inspect saw.
type parameterState struct {
	kind    types.ParameterType
	version int64
}

// Inspect implements provider.Writer with one read.
func (p *parameters) Inspect(ctx context.Context, ref secret.Ref, _ provider.PutOptions) (provider.Holding, error) {
	ref.Version = ""
	got, err := p.get(ctx, "write", ref)
	if secret.KindOf(err) == secret.NotFound {
		return provider.Holding{}, nil
	}
	if err != nil {
		return provider.Holding{}, err
	}
	held, err := p.content("write", ref, got)
	return provider.Holding{Exists: true, Secret: held, State: parameterState{got.Type, got.Version}}, err
}

// Put implements provider.Writer. A new parameter is a SecureString unless the metadata
// names a type; one that is there keeps its own. Tags that the metadata does not name
// stay. Parameter Store has no compare-and-set: see overwrite.
func (p *parameters) Put(ctx context.Context, ref secret.Ref, s secret.Secret, o provider.PutOptions) (provider.Receipt, error) {
	m, err := decodeParameterMetadata(o.Metadata)
	var value secret.Value
	if err == nil {
		value, err = m.text(s)
	}
	if err != nil {
		return provider.Receipt{}, p.fail(secret.Invalid, "write", ref, err)
	}
	held := o.If
	if held == nil {
		now, err := p.Inspect(ctx, ref, o)
		if err != nil {
			return provider.Receipt{}, err
		}
		held = &now
	}
	if !held.Exists {
		in := m.created(o.Owner)
		in.Value = aws.String(string(value.Reveal()))
		n, err := p.put(ctx, ref, in)
		return provider.Receipt{Version: parameterVersion(n), Written: err == nil}, err
	}
	tags, err := p.owned(ctx, "write", ref, o.Owner)
	if secret.KindOf(err) == secret.NotFound {
		return provider.Receipt{}, p.fail(secret.Conflict, "write", ref, errParameterChanged)
	}
	if err != nil {
		return provider.Receipt{}, err
	}
	receipt, err := p.update(ctx, ref, held, value, m)
	if err != nil {
		return receipt, err
	}
	tagged, err := p.tag(ctx, ref, tags, m.Tags)
	receipt.Written = receipt.Written || tagged
	return receipt, err
}

// put makes a version of a parameter and returns its number.
func (p *parameters) put(ctx context.Context, ref secret.Ref, in *ssm.PutParameterInput) (int64, error) {
	in.Name = p.name(ref)
	var out *ssm.PutParameterOutput
	code := ""
	err := p.call("write", "PutParameter", ref, func() (err error) {
		out, err = p.client.PutParameter(ctx, in)
		code = awsidentity.Code(err)
		return err
	})
	switch {
	case code == "ParameterAlreadyExists":
		return 0, p.fail(secret.Conflict, "write", ref, errParameterChanged)
	case code == "HierarchyTypeMismatchException":
		return 0, p.fail(secret.Invalid, "write", ref, errTypeStays)
	case code == "ValidationException" && len(*in.Value) > standardSize:
		return 0, p.fail(secret.Invalid, "write", ref, errParameterLarge)
	case err != nil:
		return 0, err
	}
	return out.Version, nil
}

// owned returns the tags of a parameter if it is ours. It fails with NotFound if there
// is no such parameter.
func (p *parameters) owned(ctx context.Context, op string, ref secret.Ref, owner string) (map[string]secret.Value, error) {
	tags, err := p.tags(ctx, op, ref)
	if err != nil {
		return nil, err
	}
	switch mark, marked := tags[provider.Mark]; {
	case !marked:
		return nil, p.fail(secret.Conflict, op, ref, fmt.Errorf("the parameter has no tag %s, so it is somebody else's: give it the tag %[1]s=%s to hand it over", provider.Mark, owner))
	case string(mark.Reveal()) != owner:
		return nil, p.fail(secret.Conflict, op, ref, fmt.Errorf("the parameter is somebody else's: its tag %s is not %s", provider.Mark, owner))
	}
	return tags, nil
}

// tag sets the tags that are wanted and are not there, and reports whether there were any.
func (p *parameters) tag(ctx context.Context, ref secret.Ref, have map[string]secret.Value, want map[string]string) (bool, error) {
	var missing []types.Tag
	for _, key := range slices.Sorted(maps.Keys(want)) {
		if v, ok := have[key]; !ok || string(v.Reveal()) != want[key] {
			missing = append(missing, types.Tag{Key: aws.String(key), Value: aws.String(want[key])})
		}
	}
	if len(missing) == 0 {
		return false, nil
	}
	err := p.call("write", "AddTagsToResource", ref, func() error {
		_, err := p.client.AddTagsToResource(ctx, &ssm.AddTagsToResourceInput{
			ResourceType: types.ResourceTypeForTaggingParameter, ResourceId: p.name(ref), Tags: missing,
		})
		return err
	})
	return err == nil, err
}

// update brings the value, and what the metadata asks for, to a parameter that is ours.
func (p *parameters) update(ctx context.Context, ref secret.Ref, held *provider.Holding, value secret.Value, m parameterMetadata) (provider.Receipt, error) {
	receipt := provider.Receipt{Version: held.Secret.Version}
	equal := held.Secret.Whole().Same(value)
	if equal && !m.asks() {
		return receipt, nil
	}
	was, err := p.describe(ctx, ref)
	if err != nil || equal && !m.differs(was) {
		return receipt, err
	}
	seen, _ := held.State.(parameterState)
	switch {
	case was == nil:
	case was.Version > seen.version: // an older one is of a replica that lags behind
		return receipt, p.fail(secret.Conflict, "write", ref, errParameterChanged)
	case was.Tier == types.ParameterTierAdvanced && m.Tier.Type == types.ParameterTierStandard:
		return receipt, p.fail(secret.Invalid, "write", ref, errDowngrade)
	}
	in := m.changed(seen.kind, was)
	in.Value = aws.String(string(value.Reveal()))
	n, err := p.overwrite(ctx, ref, in, seen.version)
	return provider.Receipt{Version: parameterVersion(n), Written: err == nil}, err
}

// describe returns what Parameter Store keeps beside the value; nil if it may not be
// asked: writers of ESO have no permission for it.
func (p *parameters) describe(ctx context.Context, ref secret.Ref) (*types.ParameterMetadata, error) {
	in := &ssm.DescribeParametersInput{ParameterFilters: []types.ParameterStringFilter{
		{Key: aws.String("Name"), Option: aws.String("Equals"), Values: []string{*p.name(ref)}},
	}}
	for {
		out, refused, err := p.page(ctx, "write", ref, in)
		switch {
		case refused:
			return nil, nil // nothing is known
		case err != nil:
			return nil, err
		case len(out.Parameters) > 0:
			return &out.Parameters[0], nil
		case aws.ToString(out.NextToken) == "": // a new one is not shown at once
			return nil, nil
		}
		in.NextToken = out.NextToken // a page may be empty and not the last
	}
}

// overwrite makes the version after before. Parameter Store cannot be told to do that
// only if before is the current one: that somebody wrote since we looked shows in the
// number of our version. Their value is put back then, so that whoever merges into it
// sees it, and the failure is a Conflict. Of three writers in that moment one can still
// lose; the history of the parameter has all values.
func (p *parameters) overwrite(ctx context.Context, ref secret.Ref, in *ssm.PutParameterInput, before int64) (int64, error) {
	n, err := p.put(ctx, ref, in)
	if err != nil || n == before+1 {
		return n, err
	}
	if n == 1 { // it was deleted, and is there again by us, without a mark
		err = p.remove(ctx, "write", ref)
	} else {
		err = p.restore(ctx, ref, in, n)
	}
	if err != nil && secret.KindOf(err) != secret.NotFound {
		return n, p.fail(secret.KindOf(err), "write", ref, fmt.Errorf(
			"somebody else wrote version %d at the same time: version %d replaced it, and it could not be put back: %w", n-1, n, err))
	}
	return n, p.fail(secret.Conflict, "write", ref, errParameterChanged)
}

// restore makes what was there before our version the current one.
func (p *parameters) restore(ctx context.Context, ref secret.Ref, in *ssm.PutParameterInput, ours int64) error {
	for range 3 {
		ref.Version = strconv.FormatInt(ours-1, 10)
		theirs, err := p.get(ctx, "write", ref)
		if err != nil {
			return err
		}
		in.Value, in.Type = theirs.Value, theirs.Type
		if in.Type != types.ParameterTypeSecureString {
			in.KeyId = nil
		}
		n, err := p.put(ctx, ref, in)
		if err != nil || n == ours+1 {
			return err
		}
		ours = n
	}
	return p.fail(secret.Unavailable, "write", ref, errParameterChanged)
}

// Delete implements provider.Deleter. Without a mark a parameter is not ours.
func (p *parameters) Delete(ctx context.Context, ref secret.Ref, o provider.DeleteOptions) error {
	ref.Version = ""
	if o.If != nil && !o.If.Exists {
		return nil
	}
	_, err := p.owned(ctx, "delete", ref, o.Owner)
	if err == nil && o.If != nil {
		err = p.still(ctx, ref, o.If.Secret.Version)
	}
	if err == nil {
		err = p.remove(ctx, "delete", ref)
	}
	if secret.KindOf(err) == secret.NotFound {
		return nil
	}
	return err
}

// still fails with Conflict if a parameter has another version.
func (p *parameters) still(ctx context.Context, ref secret.Ref, v secret.Version) error {
	got, err := p.get(ctx, "delete", ref)
	if err == nil && parameterVersion(got.Version) != v {
		return p.fail(secret.Conflict, "delete", ref, errParameterChanged)
	}
	return err
}

func (p *parameters) remove(ctx context.Context, op string, ref secret.Ref) error {
	return p.call(op, "DeleteParameter", ref, func() error {
		_, err := p.client.DeleteParameter(ctx, &ssm.DeleteParameterInput{Name: p.name(ref)})
		return err
	})
}
