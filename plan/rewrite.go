package plan

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	esv1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	"github.com/keyferry/keyferry/secret"
	"github.com/keyferry/keyferry/template"
)

var errNotMergeable = errors.New("the value is no JSON object, and merge joins objects")

// rewrite applies the operations of a dataFrom entry in order.
func rewrite(ctx context.Context, engine *template.Engine, ops []esv1.ExternalSecretRewrite, in map[string]secret.Value) (map[string]secret.Value, error) {
	for i, op := range ops {
		field := fmt.Sprintf("rewrite[%d]", i)
		var err error
		switch {
		case op.Regexp != nil:
			in, err = rewriteRegexp(field+".regexp", op.Regexp, in)
		case op.Transform != nil:
			in, err = rename(field+".transform", in, func(key string) (string, error) {
				name := field + ".transform.template"
				v, err := engine.Render(ctx, name, op.Transform.Template, map[string]any{"value": key})
				return string(v.Reveal()), err
			})
		case op.Merge != nil:
			in, err = rewriteMerge(field+".merge", op.Merge, in)
		}
		if err != nil {
			return nil, err
		}
	}
	return in, nil
}

func rewriteRegexp(field string, op *esv1.ExternalSecretRewriteRegexp, in map[string]secret.Value) (map[string]secret.Value, error) {
	re, err := regexp.Compile(op.Source)
	if err != nil {
		return nil, invalid(field+".source", "is not a regular expression: %w", err)
	}
	return rename(field, in, func(key string) (string, error) { return re.ReplaceAllString(key, op.Target), nil })
}

// rewriteMerge joins the JSON objects that the values hold, in the order of their
// keys, those of priority last; later members win. Strategy Extract leaves the
// members alone, JSON adds them as one object under into.
func rewriteMerge(field string, op *esv1.ExternalSecretRewriteMerge, in map[string]secret.Value) (map[string]secret.Value, error) {
	order, err := mergeOrder(field, op, in)
	if err != nil {
		return nil, err
	}
	merged := map[string]any{}
	from := map[string]string{}
	for _, key := range order {
		object, err := decodeObject(in[key])
		if err != nil {
			return nil, within(fmt.Sprintf("%s: key %q", field, key), err)
		}
		for _, member := range slices.Sorted(maps.Keys(object)) {
			if first, taken := from[member]; taken && op.ConflictPolicy != esv1.ExternalSecretRewriteMergeConflictPolicyIgnore {
				return nil, invalid(field, "keys %q and %q both hold %q: make them differ, or set conflictPolicy Ignore", first, key, member)
			}
			from[member], merged[member] = key, object[member]
		}
	}
	if op.Strategy == esv1.ExternalSecretRewriteMergeStrategyJSON {
		return mergedInto(field, op.Into, in, merged)
	}
	out := make(map[string]secret.Value, len(merged))
	for member, v := range merged {
		if out[member], err = plain(v); err != nil {
			return nil, within(field, err)
		}
	}
	return out, nil
}

func mergeOrder(field string, op *esv1.ExternalSecretRewriteMerge, in map[string]secret.Value) ([]string, error) {
	order := slices.DeleteFunc(secret.Keys(in), func(k string) bool { return slices.Contains(op.Priority, k) })
	for i, key := range op.Priority {
		_, ok := in[key]
		switch {
		case ok && !slices.Contains(op.Priority[:i], key):
			order = append(order, key)
		case !ok && op.PriorityPolicy != esv1.ExternalSecretRewriteMergePriorityPolicyIgnoreNotFound:
			return nil, invalid(fmt.Sprintf("%s.priority[%d]", field, i), "there is no key %q: remove it, or set priorityPolicy IgnoreNotFound", key)
		}
	}
	return order, nil
}

// mergedInto returns in with the merged object as one more value.
func mergedInto(field, into string, in map[string]secret.Value, merged map[string]any) (map[string]secret.Value, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(merged); err != nil {
		return nil, invalid(field, "the merged object cannot be encoded")
	}
	out := maps.Clone(in)
	out[into] = secret.FromString(strings.TrimSuffix(b.String(), "\n"))
	return out, nil
}

// decodeObject decodes a JSON object, its numbers as they are written.
func decodeObject(v secret.Value) (map[string]any, error) {
	var object map[string]any
	dec := json.NewDecoder(bytes.NewReader(v.Reveal()))
	dec.UseNumber()
	if err := dec.Decode(&object); err != nil || object == nil || dec.More() {
		return nil, &secret.Error{Kind: secret.Invalid, Op: "merge", Err: errNotMergeable}
	}
	return object, nil
}

// plain returns a decoded JSON value as a secret, as fromJSON would.
func plain(v any) (secret.Value, error) {
	switch v := v.(type) {
	case nil:
		return secret.Value{}, nil
	case string:
		return secret.FromString(v), nil
	}
	raw, err := json.Marshal(v)
	if err != nil {
		return secret.Value{}, &secret.Error{Kind: secret.Invalid, Op: "merge", Err: errNotMergeable}
	}
	return secret.New(raw), nil
}
