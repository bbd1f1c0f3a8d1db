package store

import (
	"errors"
	"slices"

	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/secret"
)

var errOpaque = errors.New("the store never shows what it holds, so a property of it cannot be changed alone: push the whole secret")

// content is what a key should hold.
type content struct {
	secret.Secret
	// wanted is false if there is nothing to write, empty is true if nothing is left.
	wanted, empty bool
}

// merge returns what the key of the writes at the indexes should hold: a whole secret
// in place of what is there, and properties in that. It marks the writes that keep
// what is there.
func (c *conn) merge(held provider.Holding, all []Write, indexes []int, out []Written) (content, error) {
	next := content{Secret: begun(held.Secret, all, indexes)}
	properties := map[string]secret.Value{}
	for _, i := range indexes {
		w := all[i]
		kept, err := c.keeps(w, held)
		if err != nil {
			return content{}, err
		}
		out[i] = Written{Kept: kept}
		switch {
		case kept:
		case w.Ref.Property == "":
			next.Secret, next.wanted = w.Content, true
		default:
			if properties[w.Ref.Property], err = w.Content.Text(); err != nil {
				return content{}, c.about(w.Ref, err)
			}
		}
	}
	if len(properties) == 0 {
		return next, nil
	}
	if held.Opaque && held.Exists && !next.wanted {
		return content{}, c.opaque(all[indexes[0]].Ref)
	}
	var err error
	next.Secret, err = c.properties().Set(next.Secret, properties)
	next.wanted = true
	return next, c.about(all[indexes[0]].Ref, err)
}

// begun is what properties are written into: what is there, or, if one of the writes
// begins anew, nothing in the same form.
func begun(there secret.Secret, all []Write, indexes []int) secret.Secret {
	switch {
	case !slices.ContainsFunc(indexes, func(i int) bool { return all[i].Anew }):
		return there
	case there.Fields != nil:
		return secret.Secret{Fields: map[string]secret.Value{}}
	}
	return secret.Secret{}
}

// keeps reports whether what a write is for is there already and is to be left alone.
func (c *conn) keeps(w Write, held provider.Holding) (bool, error) {
	switch {
	case !w.IfNotExists || !held.Exists:
		return false, nil
	case w.Ref.Property == "":
		return true, nil
	case held.Opaque:
		return false, c.opaque(w.Ref)
	}
	has, err := c.properties().Has(held.Secret, w.Ref.Property)
	return has, c.about(w.Ref, err)
}

// without returns what the key holds less some properties.
func (c *conn) without(held provider.Holding, ref secret.Ref, names []string) (rest content, err error) {
	if held.Opaque {
		return content{}, c.opaque(ref)
	}
	rest.Secret, rest.wanted, rest.empty, err = c.properties().Unset(held.Secret, names)
	return rest, c.about(ref, err)
}

func (c *conn) properties() secret.Properties { return secret.Properties{Flat: c.flat} }

func (c *conn) opaque(ref secret.Ref) error {
	return &secret.Error{Kind: secret.Unsupported, Op: "write", Provider: c.place.Provider, Ref: ref, Err: errOpaque}
}

// about says which key an error is about, unless it says so itself or is the store's.
func (c *conn) about(ref secret.Ref, err error) error {
	switch secret.KindOf(err) {
	case secret.NotFound, secret.Denied, secret.Invalid, secret.Unsupported, secret.Conflict:
	default:
		return err
	}
	if e, ok := errors.AsType[*secret.Error](err); ok && e.Ref.Key != "" {
		return err
	}
	return &secret.Error{Kind: secret.KindOf(err), Op: "write", Provider: c.place.Provider, Ref: whole(ref), Err: err}
}
