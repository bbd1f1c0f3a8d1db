package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/secret"
)

// Find returns the secrets that a query selects, by name. Like Read it shares what
// others began to list or read at or after since. A secret that is gone by the time
// it is read is left out. It fails with Unsupported if the store cannot list.
func (p *Pool) Find(ctx context.Context, place Place, q secret.Query, since time.Time) (map[string]secret.Secret, error) {
	items, err := p.list(ctx, place, q, since)
	if err != nil {
		return nil, err
	}
	found := make(map[string]secret.Secret, len(items))
	var refs []secret.Ref
	for _, item := range items {
		switch {
		case q.Name != nil && !q.Name.MatchString(item.Ref.Key):
		case item.Secret != nil:
			found[item.Ref.Key] = *item.Secret
		default:
			refs = append(refs, item.Ref)
		}
	}
	for i, a := range p.Read(ctx, place, refs, since) {
		if secret.KindOf(a.Err) == secret.NotFound {
			continue
		}
		if a.Err != nil {
			return nil, a.Err
		}
		found[refs[i].Key] = a.Secret
	}
	return found, nil
}

func (p *Pool) list(ctx context.Context, place Place, q secret.Query, since time.Time) ([]secret.Item, error) {
	c, err := p.conn(place)
	if err != nil {
		return nil, err
	}
	a := address{query: describe(q)}
	r, owned := c.reads.join(a, since, p.cfg.Clock.Now())
	p.cfg.Metrics.Read(c.env.label, !owned)
	if owned {
		go c.fetchList(context.WithoutCancel(ctx), pending{a, r}, q)
	}
	if _, err := r.wait(ctx); err != nil {
		return nil, err
	}
	return r.items, nil
}

func (c *conn) fetchList(ctx context.Context, p pending, q secret.Query) {
	var items []secret.Item
	err := c.call(ctx, func(ctx context.Context, s provider.Store) error {
		lister, ok := s.(provider.Lister)
		if !ok {
			return &secret.Error{Kind: secret.Unsupported, Op: "find", Provider: c.place.Provider, Err: errors.New("the provider cannot find secrets: name them with data or dataFrom.extract")}
		}
		items = nil
		for item, err := range lister.List(ctx, q) {
			if err != nil {
				return err
			}
			items = append(items, item)
		}
		return nil
	})
	p.items = items
	c.finish(p, secret.Secret{}, err)
}

// describe makes equal texts of equal queries.
func describe(q secret.Query) string {
	var b strings.Builder
	fmt.Fprintf(&b, "list %q", q.Path)
	if q.Name != nil {
		fmt.Fprintf(&b, " %q", q.Name.String())
	}
	for _, k := range secret.Keys(q.Tags) {
		fmt.Fprintf(&b, " %q=%q", k, q.Tags[k])
	}
	return b.String()
}
