package vaultapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/keyferry/keyferry/secret"
)

var (
	errOtherKV   = errors.New("the engine is not KV of the version that the store names")
	errEmptyKey  = errors.New("the key is empty")
	errDots      = errors.New(`a path has no "." and ".." in it`)
	errV1Version = errors.New("version: KV v1 keeps no versions")
	errV1Meta    = errors.New("metadataPolicy: KV v1 keeps no metadata")
	errVersion   = errors.New("version: must be a number")
)

// Get returns the data of a secret as the JSON object that the server keeps,
// numbers in the form they have there, or with ref.Metadata its custom metadata
// with created_time, current_version and delete_version_after. It fails with
// NotFound if the secret or the version is not there, is deleted or destroyed;
// with Invalid if the mount is not there or holds another engine; and with
// Unsupported for a version or metadata of KV v1.
func (c *Client) Get(ctx context.Context, ref secret.Ref) (secret.Secret, error) {
	mount, name, err := c.locate(ref.Key)
	if err != nil {
		return secret.Secret{}, c.fail(secret.Invalid, "read", ref, err)
	}
	switch {
	case c.cfg.KV == 1 && ref.Metadata:
		return secret.Secret{}, c.fail(secret.Unsupported, "read", ref, errV1Meta)
	case c.cfg.KV == 1 && ref.Version != "":
		return secret.Secret{}, c.fail(secret.Unsupported, "read", ref, errV1Version)
	case c.cfg.KV == 1:
		return c.getV1(ctx, ref, mount, name)
	case ref.Metadata:
		return c.getMetadata(ctx, ref, mount, name)
	}
	return c.getV2(ctx, ref, mount, name)
}

func (c *Client) getV1(ctx context.Context, ref secret.Ref, mount, name []string) (secret.Secret, error) {
	a, err := c.read(ctx, ref, slices.Concat(mount, name), nil)
	if err != nil {
		return secret.Secret{}, err
	}
	switch {
	case len(a.Data) == 0:
		return secret.Secret{}, c.strange("read", ref)
	case isNull(a.Data):
		return secret.Secret{}, c.gone(ref)
	}
	return secret.Secret{Value: secret.New(a.Data)}, nil
}

func (c *Client) getV2(ctx context.Context, ref secret.Ref, mount, name []string) (secret.Secret, error) {
	var query url.Values
	if ref.Version != "" {
		if _, err := strconv.ParseUint(ref.Version, 10, 63); err != nil {
			return secret.Secret{}, c.fail(secret.Invalid, "read", ref, errVersion)
		}
		query = url.Values{"version": {ref.Version}}
	}
	a, err := c.read(ctx, ref, slices.Concat(mount, []string{"data"}, name), query)
	if err != nil {
		return secret.Secret{}, err
	}
	var v struct {
		Data     json.RawMessage
		Metadata struct{ Version json.Number }
	}
	if err := c.decode(a.Data, &v, "read", ref); err != nil {
		return secret.Secret{}, err
	}
	switch {
	case len(v.Data) == 0:
		return secret.Secret{}, c.fail(secret.Invalid, "read", ref, fmt.Errorf("%w: check %s.version", errOtherKV, c.cfg.Spec))
	case isNull(v.Data):
		return secret.Secret{}, c.gone(ref)
	}
	return secret.Secret{Value: secret.New(v.Data), Version: secret.Version(v.Metadata.Version)}, nil
}

func (c *Client) getMetadata(ctx context.Context, ref secret.Ref, mount, name []string) (secret.Secret, error) {
	m, err := c.metadata(ctx, ref, mount, name)
	if err != nil {
		return secret.Secret{}, err
	}
	out := map[string]any{}
	for _, k := range []string{"created_time", "current_version", "delete_version_after"} {
		if v, ok := m.all[k]; ok {
			out[k] = v
		}
	}
	for k, v := range m.custom {
		out[k] = v
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(out); err != nil {
		return secret.Secret{}, c.strange("read", ref)
	}
	return secret.Secret{Value: secret.New(bytes.TrimSpace(b.Bytes()))}, nil
}

type metadata struct {
	all    map[string]json.RawMessage
	custom map[string]string
}

func (c *Client) metadata(ctx context.Context, ref secret.Ref, mount, name []string) (metadata, error) {
	a, err := c.read(ctx, ref, slices.Concat(mount, []string{"metadata"}, name), nil)
	if err != nil {
		return metadata{}, err
	}
	var m metadata
	if err := c.decode(a.Data, &m.all, "read", ref); err != nil {
		return metadata{}, err
	}
	if raw, ok := m.all["custom_metadata"]; ok {
		if err := c.decode(raw, &m.custom, "read", ref); err != nil {
			return metadata{}, err
		}
	}
	return m, nil
}

// version is that of the current data; none if there never was any.
func (m metadata) version() secret.Version {
	if v := m.all["current_version"]; v != nil {
		return secret.Version(v)
	}
	return none
}

// carries reports whether the custom metadata has all of the tags.
func (m metadata) carries(tags map[string]string) bool {
	for k, want := range tags {
		if v, ok := m.custom[k]; !ok || v != want {
			return false
		}
	}
	return true
}

func (c *Client) read(ctx context.Context, ref secret.Ref, path []string, query url.Values) (*answer, error) {
	return c.call(ctx, request{
		call: "ReadSecretData", op: "read", ref: ref, method: http.MethodGet,
		path: escape(path), query: query, namespace: c.cfg.Namespace,
	})
}

func (c *Client) gone(ref secret.Ref) error {
	return c.fail(secret.NotFound, "read", ref, errors.New("it is deleted"))
}

// locate splits a key into the mount and the name below it. A key may begin with
// the mount; then, for KV v2, it may also name the API's own "data" after it.
func (c *Client) locate(key string) (mount, name []string, err error) {
	mount = c.mount
	name, err = segments(key)
	switch n := len(mount); {
	case err != nil:
		return nil, nil, err
	case len(name) == 0:
		return nil, nil, errEmptyKey
	case n > 0 && len(name) > n && slices.Equal(name[:n], mount):
		name = name[n:]
	case n > 0:
		return mount, name, nil
	case len(name) == 1:
		return nil, nil, fmt.Errorf("without %s.path a key is MOUNT/NAME: name the mount", c.cfg.Spec)
	default:
		mount, name = name[:1], name[1:]
	}
	if len(name) > 1 {
		name = c.withoutData(name)
	}
	return mount, name, nil
}

func (c *Client) withoutData(name []string) []string {
	if c.cfg.KV == 2 && len(name) > 0 && name[0] == "data" {
		return name[1:]
	}
	return name
}

// key is the inverse of locate: the shortest key that leads to the name.
func (c *Client) key(mount, name []string) string {
	plain := strings.Join(name, "/")
	if len(c.mount) > 0 {
		if m, n, err := c.locate(plain); err == nil && slices.Equal(m, mount) && slices.Equal(n, name) {
			return plain
		}
	}
	full := strings.Join(mount, "/") + "/" + plain
	if _, n, err := c.locate(full); err == nil && slices.Equal(n, name) {
		return full
	}
	return strings.Join(mount, "/") + "/data/" + plain
}

// segments splits a path, which may have slashes too many. It refuses dots: a
// server resolves them, and policies are written for what is left.
func segments(path string) ([]string, error) {
	var out []string
	for s := range strings.SplitSeq(path, "/") {
		switch s {
		case "":
		case ".", "..":
			return nil, errDots
		default:
			out = append(out, s)
		}
	}
	return out, nil
}

func escape(segs []string) string {
	out := make([]string, len(segs))
	for i, s := range segs {
		out[i] = url.PathEscape(s)
	}
	return strings.Join(out, "/")
}

func isNull(raw json.RawMessage) bool { return len(raw) == 0 || string(raw) == "null" }
