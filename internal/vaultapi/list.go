package vaultapi

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/keyferry/keyferry/secret"
)

const (
	listWorkers = 8
	listDepth   = 64
	listChunk   = 256
)

var errTooDeep = fmt.Errorf("folders are nested more than %d deep", listDepth)

// List yields the secrets below q.Path, through all folders, whose key q.Name
// matches and whose custom metadata has all of q.Tags. Keys are paths below the
// mount, or whole paths where the mount is taken from the keys. A folder that is
// not there has no secrets. It fails with Unsupported for tags of KV v1.
func (c *Client) List(ctx context.Context, q secret.Query) iter.Seq2[secret.Item, error] {
	return func(yield func(secret.Item, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		if err := c.list(ctx, q, yield); err != nil && !errors.Is(err, errEnough) {
			yield(secret.Item{}, err)
		}
	}
}

var errEnough = errors.New("the caller has enough")

// list goes through the folders level by level.
func (c *Client) list(ctx context.Context, q secret.Query, yield func(secret.Item, error) bool) error {
	if c.cfg.KV == 1 && len(q.Tags) > 0 {
		return c.fail(secret.Unsupported, "list", secret.Ref{}, errors.New("find.tags: KV v1 keeps no metadata"))
	}
	mount, top, err := c.folder(q.Path)
	if err != nil {
		return c.fail(secret.Invalid, "list", secret.Ref{}, err)
	}
	w := walk{c: c, q: q, mount: mount}
	for level := [][]string{top}; len(level) > 0; {
		if len(level[0]) > len(top)+listDepth {
			return c.fail(secret.Invalid, "list", secret.Ref{Key: c.key(mount, level[0])}, errTooDeep)
		}
		names, folders, err := w.level(ctx, level)
		if err != nil {
			return err
		}
		for chunk := range slices.Chunk(names, listChunk) {
			refs, err := w.tagged(ctx, chunk)
			if err != nil {
				return err
			}
			for _, ref := range refs {
				if !yield(secret.Item{Ref: ref}, nil) {
					return errEnough
				}
			}
		}
		level = folders
	}
	return nil
}

// folder is locate for a place to search.
func (c *Client) folder(path string) (mount, top []string, err error) {
	mount = c.mount
	top, err = segments(path)
	switch {
	case err != nil:
		return nil, nil, fmt.Errorf("find.path: %w", err)
	case len(mount) > 0:
		return mount, top, nil
	case len(top) == 0:
		return nil, nil, fmt.Errorf("find.path: name the mount here or in %s.path", c.cfg.Spec)
	}
	return top[:1], c.withoutData(top[1:]), nil
}

type walk struct {
	c     *Client
	q     secret.Query
	mount []string
}

// level lists folders and returns the secrets whose names match, and the folders
// below, both in order.
func (w walk) level(ctx context.Context, folders [][]string) (names, below [][]string, err error) {
	found := make([][]string, len(folders))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(listWorkers)
	for i, folder := range folders {
		g.Go(func() error {
			var err error
			found[i], err = w.c.listFolder(gctx, w.mount, folder)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, nil, err
	}
	for i, folder := range folders {
		for _, entry := range found[i] {
			name, isFolder := strings.CutSuffix(entry, "/")
			if segs, err := segments(name); err != nil || len(segs) != 1 {
				continue // no key leads there
			}
			path := append(slices.Clone(folder), name)
			switch {
			case isFolder:
				below = append(below, path)
			case w.q.Name == nil || w.q.Name.MatchString(w.c.key(w.mount, path)):
				names = append(names, path)
			}
		}
	}
	return names, below, nil
}

func (c *Client) listFolder(ctx context.Context, mount, folder []string) ([]string, error) {
	path := slices.Clone(mount)
	if c.cfg.KV == 2 {
		path = append(path, "metadata")
	}
	path = append(path, folder...)
	// A proxy may not pass the method LIST on; this says the same to every server.
	a, err := c.call(ctx, request{
		call: "ListSecrets", op: "list", ref: secret.Ref{Key: strings.Join(folder, "/")}, method: http.MethodGet,
		path: escape(path) + "/", query: map[string][]string{"list": {"true"}}, namespace: c.cfg.Namespace,
	})
	if errors.Is(err, secret.NotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var v struct{ Keys []string }
	if err := c.decode(a.Data, &v, "list", secret.Ref{}); err != nil {
		return nil, err
	}
	return v.Keys, nil
}

// tagged returns the refs of those that carry the tags.
func (w walk) tagged(ctx context.Context, names [][]string) ([]secret.Ref, error) {
	keep := make([]bool, len(names))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(listWorkers)
	for i, name := range names {
		if len(w.q.Tags) == 0 {
			keep[i] = true
			continue
		}
		g.Go(func() error {
			m, err := w.c.metadata(gctx, secret.Ref{Key: w.c.key(w.mount, name)}, w.mount, name)
			if errors.Is(err, secret.NotFound) {
				return nil // gone since it was listed
			}
			keep[i] = err == nil && m.carries(w.q.Tags)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	var refs []secret.Ref
	for i, name := range names {
		if keep[i] {
			refs = append(refs, secret.Ref{Key: w.c.key(w.mount, name)})
		}
	}
	return refs, nil
}
