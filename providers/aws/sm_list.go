package aws

import (
	"context"
	"iter"
	"regexp"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"

	"github.com/keyferry/keyferry/secret"
)

// secretPage is how many secrets one page of a listing has.
const secretPage = 100

// filterValue is what Secrets Manager takes to filter by; "!" at the beginning negates.
var filterValue = regexp.MustCompile(`^[a-zA-Z0-9 :_@/+=.-][a-zA-Z0-9 :_@/+=.!-]*$`)

// List implements provider.Lister. Paths and keys are whole names, as ESO has them: the
// prefix of the store counts only as the path of a query without one. Items carry their
// values. Secrets Manager compares tags by how they begin, and keys and values apart:
// each secret is looked at again before it is read.
func (s *secrets) List(ctx context.Context, q secret.Query) iter.Seq2[secret.Item, error] {
	whole := &secrets{secretsSession: s.secretsSession}
	if q.Path == "" {
		q.Path = s.prefix
	}
	return func(yield func(secret.Item, error) bool) {
		in := &secretsmanager.ListSecretsInput{MaxResults: aws.Int32(secretPage), Filters: filters(q)}
		for {
			var out *secretsmanager.ListSecretsOutput
			err := s.call("list", "ListSecrets", secret.Ref{Key: q.Path}, func() (err error) {
				out, err = s.client.ListSecrets(ctx, in)
				return err
			})
			if err != nil {
				yield(secret.Item{}, err)
				return
			}
			if !whole.items(ctx, wanted(out.SecretList, q), yield) || aws.ToString(out.NextToken) == "" {
				return
			}
			in.NextToken = out.NextToken
		}
	}
}

// wanted are the secrets of a page that the query may select.
func wanted(page []types.SecretListEntry, q secret.Query) []secret.Ref {
	var out []secret.Ref
	for _, entry := range page {
		key := aws.ToString(entry.Name)
		if strings.HasPrefix(key, q.Path) && (q.Name == nil || q.Name.MatchString(key)) && carries(tagMap(entry.Tags), q.Tags) {
			out = append(out, secret.Ref{Key: key})
		}
	}
	return out
}

// items reads what was listed and yields it; false if that is the end. What is gone by
// then, or has no value, is left out.
func (s *secrets) items(ctx context.Context, refs []secret.Ref, yield func(secret.Item, error) bool) bool {
	for chunk := range slices.Chunk(refs, secretBatch) {
		results, err := s.GetBatch(ctx, chunk)
		if err != nil {
			yield(secret.Item{}, err)
			return false
		}
		for i, r := range results {
			if secret.KindOf(r.Err) == secret.NotFound {
				continue
			}
			if !yield(secret.Item{Ref: chunk[i], Secret: &r.Secret}, r.Err) || r.Err != nil {
				return false
			}
		}
	}
	return true
}

func carries(have, want map[string]string) bool {
	for key, value := range want {
		if got, ok := have[key]; !ok || got != value {
			return false
		}
	}
	return true
}

// filters are those of one tag only: several of a kind mean "one of them" at AWS.
func filters(q secret.Query) []types.Filter {
	var out []types.Filter
	add := func(key types.FilterNameStringType, value string) {
		if filterValue.MatchString(value) {
			out = append(out, types.Filter{Key: key, Values: []string{value}})
		}
	}
	add(types.FilterNameStringTypeName, q.Path)
	for _, key := range secret.Keys(q.Tags) {
		add(types.FilterNameStringTypeTagKey, key)
		add(types.FilterNameStringTypeTagValue, q.Tags[key])
		break
	}
	return out
}
