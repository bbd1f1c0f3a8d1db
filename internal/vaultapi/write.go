package vaultapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"unicode/utf8"

	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/secret"
)

var (
	errNoObject = errors.New("the value is no JSON object: set remoteRef.property to keep it as a member of one")
	errNoText   = errors.New("the value is not UTF-8, which is all that the engine keeps: encode it, in Base64 for example")
	errNoNumber = errors.New("a number in the value is out of range for KV v2: push it as a string")
	errNothing  = errors.New("KV v1 keeps no secret without members")
	errStale    = errors.New("somebody has written it since it was read")
)

// none is the version of a KV v2 secret that has none.
const none = secret.Version("0")

// state is what a write has to know of a KV v2 secret beside its data.
type state struct {
	version secret.Version
	// mark is the owner's; it is known only if the server told.
	mark  string
	known bool
}

// place is where a key leads to.
type place struct {
	ref         secret.Ref
	mount, name []string
}

func (p place) at(api ...string) []string { return slices.Concat(p.mount, api, p.name) }

func (c *Client) place(key, op string) (place, error) {
	ref := secret.Ref{Key: key}
	mount, name, err := c.locate(key)
	if err != nil {
		return place{}, c.fail(secret.Invalid, op, ref, err)
	}
	return place{ref, mount, name}, nil
}

// Inspect returns what the key holds, with one read. What is deleted does not
// exist. It fails as Get does; nothing in the options matters.
func (c *Client) Inspect(ctx context.Context, ref secret.Ref, _ provider.PutOptions) (provider.Holding, error) {
	p, err := c.place(ref.Key, "read")
	if err != nil {
		return provider.Holding{}, err
	}
	return c.inspect(ctx, p)
}

func (c *Client) inspect(ctx context.Context, p place) (provider.Holding, error) {
	if c.cfg.KV == 2 {
		return c.inspectV2(ctx, p)
	}
	s, err := c.getV1(ctx, p.ref, p.mount, p.name)
	if errors.Is(err, secret.NotFound) {
		return provider.Holding{State: state{}}, nil
	}
	return provider.Holding{Exists: err == nil, Secret: s, State: state{}}, err
}

func (c *Client) inspectV2(ctx context.Context, p place) (provider.Holding, error) {
	a, err := c.read(ctx, p.ref, p.at("data"), nil)
	absent := errors.Is(err, secret.NotFound)
	switch {
	case absent && isNull(a.Data):
		return provider.Holding{State: state{version: none}}, nil
	case a != nil && a.torn():
		return c.inspectTorn(ctx, p, err)
	case err != nil && !absent:
		return provider.Holding{}, err
	}
	return c.holding(p, a, absent)
}

// holding reads the answer about a KV v2 secret; absent says that it is deleted.
func (c *Client) holding(p place, a *answer, absent bool) (provider.Holding, error) {
	var v struct {
		Data     json.RawMessage
		Metadata struct {
			Version json.Number
			Custom  map[string]string `json:"custom_metadata"`
		}
	}
	if err := c.decode(a.Data, &v, "read", p.ref); err != nil {
		return provider.Holding{}, err
	}
	if len(v.Data) == 0 || v.Metadata.Version == "" {
		return provider.Holding{}, c.fail(secret.Invalid, "read", p.ref, fmt.Errorf("%w: check %s.version", errOtherKV, c.cfg.Spec))
	}
	version := secret.Version(v.Metadata.Version)
	h := provider.Holding{State: state{version: version, mark: v.Metadata.Custom[provider.Mark], known: true}}
	if !absent && !isNull(v.Data) {
		h.Exists, h.Secret = true, secret.Secret{Value: secret.New(v.Data), Version: version}
	}
	return h, nil
}

// inspectTorn looks at a key whose current version is lost: a deletion was cut short
// at a server whose storage has no transactions. One of ours holds nothing and can
// be written and deleted; of another the failure to read it stands.
func (c *Client) inspectTorn(ctx context.Context, p place, cause error) (provider.Holding, error) {
	m, err := c.metadata(ctx, p.ref, p.mount, p.name)
	if err != nil || m.custom[provider.Mark] != provider.ManagedBy {
		return provider.Holding{}, cause
	}
	return provider.Holding{State: state{version: m.version(), mark: provider.ManagedBy, known: true}}, nil
}

// Put makes the key hold s, a JSON object. Of KV v2 it marks what it creates in the
// custom metadata, before the first version is there, and every version is written
// under check-and-set. KV v1 has neither marks nor versions: whatever is there is
// replaced. It fails with Conflict for a secret without the mark, and if somebody
// else wrote since it was read (KV v2); with Invalid for a value that the engine does
// not keep as it is, and for any metadata; and as Get does.
func (c *Client) Put(ctx context.Context, ref secret.Ref, s secret.Secret, o provider.PutOptions) (provider.Receipt, error) {
	p, err := c.place(ref.Key, "write")
	if err != nil {
		return provider.Receipt{}, err
	}
	if _, err := provider.DecodeMetadata[struct{}](o.Metadata); err != nil {
		return provider.Receipt{}, err // there is nothing that it could ask for
	}
	value, err := c.object(s)
	if err != nil {
		return provider.Receipt{}, c.fail(secret.Invalid, "write", p.ref, err)
	}
	h, st, err := c.held(ctx, p, o.If)
	switch {
	case err != nil:
		return provider.Receipt{}, err
	case c.cfg.KV == 2 && h.Exists && st.mark != o.Owner:
		return provider.Receipt{}, c.foreign("write", p.ref, o.Owner)
	case h.Exists && c.same(h.Secret.Value, value):
		return provider.Receipt{Version: h.Secret.Version}, nil
	case c.cfg.KV == 1:
		_, err := c.write(ctx, p, nil, value)
		return provider.Receipt{Written: err == nil}, err
	}
	return c.putV2(ctx, p, value, st, o.Owner)
}

// held is what a key holds: as its caller has seen it, or as it is.
func (c *Client) held(ctx context.Context, p place, seen *provider.Holding) (provider.Holding, state, error) {
	if seen != nil {
		if st, ok := seen.State.(state); ok {
			return *seen, st, nil
		}
	}
	h, err := c.inspect(ctx, p)
	st, _ := h.State.(state)
	return h, st, err
}

func (c *Client) putV2(ctx context.Context, p place, value secret.Value, st state, owner string) (provider.Receipt, error) {
	if st.mark != owner {
		if err := c.claim(ctx, p, st, owner); err != nil {
			return provider.Receipt{}, err
		}
	}
	body, err := document(map[string]any{
		"data":    json.RawMessage(value.Reveal()),
		"options": map[string]any{"cas": json.Number(st.version)},
	})
	if err != nil {
		return provider.Receipt{}, c.fail(secret.Invalid, "write", p.ref, errNoObject)
	}
	a, err := c.write(ctx, p, []string{"data"}, body)
	if err != nil {
		return provider.Receipt{}, err
	}
	var v struct{ Version json.Number }
	if err := c.decode(a.Data, &v, "write", p.ref); err != nil {
		return provider.Receipt{}, err
	}
	return provider.Receipt{Version: secret.Version(v.Version), Written: true}, nil
}

// claim marks a key that holds nothing. It comes before the first version: were it
// the other way round, a failure between the two would leave a secret that looks
// like somebody else's. What else is in the custom metadata stays.
func (c *Client) claim(ctx context.Context, p place, st state, owner string) error {
	if err := c.checkEngine(ctx, p); err != nil {
		return err
	}
	if st.version == none && !st.known && c.guards.known(ctx, c) { // the server looks itself
		err := c.mark(ctx, p, map[string]string{provider.Mark: owner}, 0)
		if secret.KindOf(err) != secret.Conflict {
			return err
		}
	}
	if err := c.claimSeen(ctx, p, st, owner); err != nil {
		return err
	}
	c.guards.sample.CompareAndSwap(nil, &p)
	return nil
}

// claimSeen marks a key after a look at its metadata.
func (c *Client) claimSeen(ctx context.Context, p place, st state, owner string) error {
	m, err := c.metadata(ctx, p.ref, p.mount, p.name)
	if err != nil && !errors.Is(err, secret.NotFound) {
		return err
	}
	if m.version() != st.version {
		return c.fail(secret.Conflict, "write", p.ref, errStale)
	}
	switch m.custom[provider.Mark] {
	case owner:
		return nil
	case "":
	default:
		return c.foreign("write", p.ref, owner)
	}
	custom := map[string]string{}
	maps.Copy(custom, m.custom)
	custom[provider.Mark] = owner
	var cas any
	switch version, ok := m.all[metadataVersion]; {
	case ok:
		cas = version
	case m.all == nil:
		cas = 0 // a server that does not know it does not mind
	}
	return c.mark(ctx, p, custom, cas)
}

// mark writes the custom metadata of a key, if its version is still that one; a cas of
// nil does not ask.
func (c *Client) mark(ctx context.Context, p place, custom map[string]string, cas any) error {
	fields := map[string]any{"custom_metadata": custom}
	if cas != nil {
		fields["metadata_cas"] = cas
	}
	body, err := document(fields)
	if err != nil {
		return c.strange("write", p.ref)
	}
	_, err = c.write(ctx, p, []string{"metadata"}, body)
	return err
}

// metadataVersion is the member by which a server shows that it counts the versions of
// metadata, and so heeds metadata_cas: OpenBao does, Vault does not.
const metadataVersion = "current_metadata_version"

// guards knows whether the server heeds metadata_cas. It is asked once, about a key that
// was marked before: then new keys need not be looked at first.
type guards struct {
	sample atomic.Pointer[place]
	asking sync.Mutex
	answer atomic.Pointer[bool]
}

func (g *guards) known(ctx context.Context, c *Client) bool {
	if yes := g.answer.Load(); yes != nil {
		return *yes
	}
	p := g.sample.Load()
	if p == nil || !g.asking.TryLock() {
		return false
	}
	defer g.asking.Unlock()
	m, err := c.metadata(ctx, p.ref, p.mount, p.name)
	if err != nil {
		g.sample.CompareAndSwap(p, nil) // it is gone, or not to be read
		return false
	}
	_, yes := m.all[metadataVersion]
	g.answer.Store(&yes)
	return yes
}

// Delete removes the secret, of KV v2 with all of its versions and its metadata. A
// secret that is not there is no error; what is left of one that was deleted goes
// if it carries the mark. It fails with Conflict for a secret without the mark
// (KV v2), and if it is not what o.If says any more; and as Get does. Between its
// look at the secret and the deletion somebody may write: the API has no
// check-and-set for it.
func (c *Client) Delete(ctx context.Context, ref secret.Ref, o provider.DeleteOptions) error {
	p, err := c.place(ref.Key, "delete")
	if err != nil {
		return err
	}
	h, err := c.inspect(ctx, p)
	if err != nil {
		return err
	}
	st, _ := h.State.(state)
	switch {
	case !h.Exists:
		return c.sweep(ctx, p, st, o.Owner)
	case c.cfg.KV == 2 && st.mark != o.Owner:
		return c.foreign("delete", p.ref, o.Owner)
	case o.If != nil && (!o.If.Exists || o.If.Secret.Version != h.Secret.Version || !c.same(o.If.Secret.Value, h.Secret.Value)):
		return c.fail(secret.Conflict, "delete", p.ref, errStale)
	}
	return c.remove(ctx, p)
}

// sweep removes what is left where nothing can be read: deleted versions, or a mark
// without any version.
func (c *Client) sweep(ctx context.Context, p place, st state, owner string) error {
	if c.cfg.KV == 1 {
		return nil
	}
	if !st.known {
		m, err := c.metadata(ctx, p.ref, p.mount, p.name)
		if errors.Is(err, secret.NotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		st.mark = m.custom[provider.Mark]
	}
	if st.mark != owner {
		return nil
	}
	return c.remove(ctx, p)
}

func (c *Client) remove(ctx context.Context, p place) error {
	path := p.at()
	if c.cfg.KV == 2 {
		path = p.at("metadata")
	}
	_, err := c.call(ctx, request{
		call: "DeleteSecret", op: "delete", ref: p.ref, method: http.MethodDelete,
		path: escape(path), namespace: c.cfg.Namespace,
	})
	if errors.Is(err, secret.NotFound) {
		return nil
	}
	return err
}

func (c *Client) write(ctx context.Context, p place, api []string, body secret.Value) (*answer, error) {
	return c.call(ctx, request{
		call: "WriteSecretData", op: "write", ref: p.ref, method: http.MethodPost,
		path: escape(p.at(api...)), namespace: c.cfg.Namespace, body: body,
	})
}

// checkEngine fails with Invalid if the mount is known to hold something else than
// KV v2: such an engine would take the calls of KV v2 for names of secrets. It asks
// once for each mount.
func (c *Client) checkEngine(ctx context.Context, p place) error {
	mount := strings.Join(p.mount, "/")
	if _, known := c.engines.Load(mount); known {
		return nil
	}
	m, err := c.readMount(ctx, p.mount)
	if err != nil {
		return nil //nolint:nilerr // not every proxy passes this call on; the write itself will tell
	}
	if err := c.mismatch(m, mount); err != nil {
		return c.fail(secret.Invalid, "write", p.ref, err)
	}
	c.engines.Store(mount, true)
	return nil
}

func (c *Client) foreign(op string, ref secret.Ref, owner string) error {
	return c.fail(secret.Conflict, op, ref, fmt.Errorf("somebody else owns it: to hand it over, set %s=%s in its custom metadata", provider.Mark, owner))
}

// object is s as the JSON object that the engine keeps.
func (c *Client) object(s secret.Secret) (secret.Value, error) {
	v, err := s.Text()
	if err != nil {
		return secret.Value{}, err
	}
	members, err := v.Object()
	var read any
	switch {
	case err != nil:
		return secret.Value{}, errNoObject
	case !utf8.Valid(v.Reveal()):
		return secret.Value{}, errNoText
	case c.cfg.KV == 1 && len(members) == 0:
		return secret.Value{}, errNothing
	case c.cfg.KV == 2 && json.Unmarshal(v.Reveal(), &read) != nil:
		return secret.Value{}, errNoNumber // the server could write it and never read it again
	}
	return v, nil
}

// same compares two JSON objects as the engine gives them back: KV v2 gives all
// numbers back as 64-bit floating point.
func (c *Client) same(a, b secret.Value) bool {
	if a.Same(b) {
		return true
	}
	var x, y any
	return c.cfg.KV == 2 && json.Unmarshal(a.Reveal(), &x) == nil && json.Unmarshal(b.Reveal(), &y) == nil && reflect.DeepEqual(x, y)
}
