package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/secret"
)

var (
	errNoWriter = errors.New("the provider cannot write")
	errBusy     = errors.New("somebody else writes to it all the time")
)

// Write is one value for one place at a store: a whole secret, or a property of one.
type Write struct {
	// Ref is where: Key, and Property if it is one.
	Ref secret.Ref
	// Content is the whole secret, or the value of the property.
	Content secret.Secret
	// IfNotExists keeps what is there already.
	IfNotExists bool
	// Anew begins with an empty secret: what else is there goes.
	Anew bool
	// Refuse, if not nil, is what the write fails with unless it is there already.
	Refuse error
	// Metadata and Origin are as in provider.PutOptions.
	Metadata json.RawMessage
	Origin   provider.Origin
}

// Written is what a Write came to.
type Written struct {
	// Changed is true if the store was written to.
	Changed bool
	// Kept is true if IfNotExists left alone what was there.
	Kept bool
	Err  error
}

// Deletion is one place at a store to be emptied. Metadata is what it was put with.
type Deletion struct {
	Ref      secret.Ref
	Metadata json.RawMessage
}

// Write brings the store to hold the writes, and returns what each of them came to,
// in their order. What is there already is not written again. Those of one key are
// one read and, at most, one write: the whole secret first, properties into it, with
// everything else in it left as it is; if somebody else writes meanwhile, it reads
// again. It blocks until all are done or ctx ends, and may be repeated. It fails with
// Conflict if a key has another owner, and with Unsupported if the store cannot write.
func (p *Pool) Write(ctx context.Context, place Place, writes []Write) []Written {
	out := make([]Written, len(writes))
	c, err := p.conn(place)
	if err != nil {
		for i := range out {
			out[i].Err = err
		}
		return out
	}
	var wg sync.WaitGroup
	for _, group := range grouped(writes, func(w Write) (secret.Ref, json.RawMessage) { return w.Ref, w.Metadata }) {
		wg.Go(func() {
			defer c.lock(group.key)()
			for _, same := range group.lists {
				c.writeKey(ctx, place, writes, same, out)
			}
		})
	}
	wg.Wait()
	return out
}

// Delete empties places of the store and returns how that went, in their order. Of
// a key with properties only those go, and the secret when it has nothing else left.
// What is not there counts as deleted. It fails with Conflict, and deletes nothing,
// where the key has another owner.
func (p *Pool) Delete(ctx context.Context, place Place, deletions []Deletion) []error {
	out := make([]error, len(deletions))
	c, err := p.conn(place)
	if err != nil {
		for i := range out {
			out[i] = err
		}
		return out
	}
	var wg sync.WaitGroup
	for _, group := range grouped(deletions, func(d Deletion) (secret.Ref, json.RawMessage) { return d.Ref, d.Metadata }) {
		wg.Go(func() {
			defer c.lock(group.key)()
			for _, same := range group.lists {
				err := c.deleteKey(ctx, place, deletions, same)
				for _, i := range same {
					out[i] = err
				}
			}
		})
	}
	wg.Wait()
	return out
}

// keyGroup is the indexes of what concerns one key, those with equal metadata together:
// metadata can tell where a secret is.
type keyGroup struct {
	key   string
	lists [][]int
}

func grouped[T any](list []T, of func(T) (secret.Ref, json.RawMessage)) []keyGroup {
	var out []keyGroup
	byKey, byBoth := map[string]int{}, map[[2]string]int{}
	for i, item := range list {
		ref, metadata := of(item)
		g, ok := byKey[ref.Key]
		if !ok {
			g = len(out)
			byKey[ref.Key] = g
			out = append(out, keyGroup{key: ref.Key})
		}
		both := [2]string{ref.Key, string(metadata)}
		l, ok := byBoth[both]
		if !ok {
			l = len(out[g].lists)
			byBoth[both] = l
			out[g].lists = append(out[g].lists, nil)
		}
		out[g].lists[l] = append(out[g].lists[l], i)
	}
	return out
}

// tries is how often a key is read and written again because somebody else wrote to it.
const tries = 5

// writeKey brings one key to hold the writes at the indexes.
func (c *conn) writeKey(ctx context.Context, place Place, all []Write, indexes []int, out []Written) {
	first := all[indexes[0]]
	o := putOptions(place, first.Metadata)
	o.Origin = first.Origin
	var seen *provider.Holding
	for range tries {
		held, err := c.inspect(ctx, first.Ref, o)
		if seen != nil && err == nil && unchanged(*seen, held) {
			return // the Conflict was not about the version: it stands
		}
		var next content
		if err == nil {
			indexes = c.permitted(held, all, indexes, out)
			next, err = c.merge(held, all, indexes, out)
		}
		if err != nil {
			settle(out, indexes, Written{Err: err})
			return
		}
		if !next.wanted {
			return
		}
		o.If = &held
		receipt, err := c.put(ctx, first.Ref, next.Secret, o)
		for _, i := range indexes {
			if !out[i].Kept {
				out[i].Changed, out[i].Err = receipt.Written, err
			}
		}
		if secret.KindOf(err) != secret.Conflict {
			return
		}
		seen = &held
	}
	settle(out, indexes, Written{Err: c.busy(first.Ref)})
}

// busy says that others write to a key all the time.
func (c *conn) busy(ref secret.Ref) error {
	return &secret.Error{Kind: secret.Unavailable, Op: "write", Provider: c.place.Provider, Ref: whole(ref), Err: errBusy}
}

// permitted returns the indexes of the writes that may change the key. Those that must
// not fail, unless what they are for is there already.
func (c *conn) permitted(held provider.Holding, all []Write, indexes []int, out []Written) []int {
	return slices.DeleteFunc(slices.Clone(indexes), func(i int) bool {
		if all[i].Refuse == nil {
			return false
		}
		next, err := c.merge(held, all, []int{i}, out)
		if err != nil || next.wanted && (!held.Exists || !held.Secret.Whole().Same(next.Whole())) {
			out[i] = Written{Err: all[i].Refuse}
		}
		return true
	})
}

func settle(out []Written, indexes []int, w Written) {
	for _, i := range indexes {
		out[i] = w
	}
}

// unchanged reports whether two looks at a key saw the same.
func unchanged(a, b provider.Holding) bool {
	return a.Exists == b.Exists && a.Secret.Version == b.Secret.Version && a.Secret.Whole().Equal(b.Secret.Whole())
}

// lock makes whoever wants to write to a key of the store wait for the others in
// this process, and returns what lets go of it.
func (c *conn) lock(key string) (unlock func()) {
	p := c.pool
	id := keyID{c.id.uid, key}
	p.mu.Lock()
	l, ok := p.locks[id]
	if !ok {
		l = &keyLock{}
		p.locks[id] = l
	}
	l.users++
	p.mu.Unlock()
	l.Lock()
	return func() {
		l.Unlock()
		p.mu.Lock()
		defer p.mu.Unlock()
		if l.users--; l.users == 0 {
			delete(p.locks, id)
		}
	}
}

type keyID struct{ uid, key string }

type keyLock struct {
	sync.Mutex
	users int // guarded by the pool
}

func putOptions(place Place, metadata json.RawMessage) provider.PutOptions {
	o := provider.PutOptions{Owner: provider.ManagedBy, Metadata: metadata, Consumer: place.Namespace}
	if place.Kind == KindClusterSecretStore {
		o.Cluster, o.Consumer = true, place.Tenant
	}
	return o
}

func (c *conn) inspect(ctx context.Context, ref secret.Ref, o provider.PutOptions) (held provider.Holding, err error) {
	err = c.call(ctx, func(ctx context.Context, s provider.Store) error {
		w, err := c.writer(s, ref)
		if err != nil {
			return err
		}
		held, err = w.Inspect(ctx, whole(ref), o)
		return c.about(ref, err)
	})
	return held, err
}

func (c *conn) put(ctx context.Context, ref secret.Ref, content secret.Secret, o provider.PutOptions) (receipt provider.Receipt, err error) {
	err = c.call(ctx, func(ctx context.Context, s provider.Store) error {
		w, err := c.writer(s, ref)
		if err != nil {
			return err
		}
		receipt, err = w.Put(ctx, whole(ref), content, o)
		return c.about(ref, err)
	})
	return receipt, err
}

func (c *conn) writer(s provider.Store, ref secret.Ref) (provider.Writer, error) {
	w, ok := s.(provider.Writer)
	if !ok {
		return nil, &secret.Error{Kind: secret.Unsupported, Op: "write", Provider: c.place.Provider, Ref: ref, Err: errNoWriter}
	}
	return w, nil
}

func whole(ref secret.Ref) secret.Ref {
	ref.Property = ""
	return ref
}

// deleteKey removes the properties at the indexes from one key, or all of it.
func (c *conn) deleteKey(ctx context.Context, place Place, all []Deletion, indexes []int) error {
	ref := whole(all[indexes[0]].Ref)
	o := putOptions(place, all[indexes[0]].Metadata)
	var properties []string
	for _, i := range indexes {
		if all[i].Ref.Property == "" {
			return c.remove(ctx, ref, o)
		}
		properties = append(properties, all[i].Ref.Property)
	}
	var seen *provider.Holding
	var err error
	for range tries {
		held, readErr := c.inspect(ctx, ref, o)
		if readErr != nil {
			return readErr
		}
		if seen != nil && unchanged(*seen, held) {
			return err // the Conflict was not about the version: it stands
		}
		o.If = &held
		if err = c.deleteProperties(ctx, ref, properties, o); secret.KindOf(err) != secret.Conflict {
			return err
		}
		seen = &held
	}
	return c.busy(ref)
}

// deleteProperties removes properties from what the key was just seen to hold.
func (c *conn) deleteProperties(ctx context.Context, ref secret.Ref, names []string, o provider.PutOptions) error {
	if !o.If.Exists {
		return c.sweep(ctx, ref, o)
	}
	rest, err := c.without(*o.If, ref, names)
	if err != nil || !rest.wanted {
		return err
	}
	if rest.empty {
		// A secret that may be written and not deleted was there before us: it stays, empty.
		if err = c.remove(ctx, ref, o); o.If.Secret.Fields == nil || secret.KindOf(err) != secret.Conflict {
			return err
		}
	}
	_, err = c.put(ctx, ref, rest.Secret, o)
	return err
}

// sweep removes what a write that was cut short may have left where there is no
// secret, such as a mark.
func (c *conn) sweep(ctx context.Context, ref secret.Ref, o provider.PutOptions) error {
	err := c.remove(ctx, ref, o)
	if kind := secret.KindOf(err); kind == secret.Conflict || kind == secret.Unsupported {
		return nil // somebody is using it by now, or nothing can be done
	}
	return err
}

func (c *conn) remove(ctx context.Context, ref secret.Ref, o provider.PutOptions) error {
	return c.call(ctx, func(ctx context.Context, s provider.Store) error {
		d, ok := s.(provider.Deleter)
		if !ok {
			return &secret.Error{Kind: secret.Unsupported, Op: "delete", Provider: c.place.Provider, Ref: ref, Err: fmt.Errorf("the provider cannot delete: use deletionPolicy None")}
		}
		return c.about(ref, d.Delete(ctx, ref, provider.DeleteOptions{If: o.If, Owner: o.Owner, Metadata: o.Metadata, Cluster: o.Cluster}))
	})
}
