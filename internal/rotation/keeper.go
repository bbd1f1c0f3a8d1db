package rotation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keyferry/keyferry/generator"
	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/secret"
	"github.com/keyferry/keyferry/store"
)

// Config is what a Keeper works with. All of it is required but States.
type Config struct {
	Pool       *store.Pool
	Generators generator.Registry
	// Client writes, Cache reads GeneratorStates; see Index.
	Client client.Client
	Cache  client.Reader
	Clock  provider.Clock
	// Grace is how long values that were replaced live on.
	Grace time.Duration
	// States is false if no GeneratorStates are made: then nothing is ended that a
	// generator leaves behind, and a restart forgets when values expire.
	States bool
}

// Keeper holds what generators made, for the objects that use it. It is safe for
// concurrent use, and expects one pass at a time over an object.
type Keeper struct {
	Config

	mu sync.Mutex
	m  map[types.UID]map[string]*batch
}

// NewKeeper returns a Keeper that holds nothing.
func NewKeeper(cfg Config) *Keeper {
	return &Keeper{Config: cfg, m: map[types.UID]map[string]*batch{}}
}

// batch is what a generator made in one call, for one use of it.
type batch struct {
	// version is that of the generator that made it.
	version string
	values  map[string]secret.Value
	made    time.Time
	lease
	// arrived is true once the values are where they belong, settled once what was left
	// behind before them has got a deadline.
	arrived, settled bool
	// replaced are the GeneratorStates of those that were held before.
	replaced []string
}

// Request asks for values.
type Request struct {
	// Owner uses them, Key tells its uses apart.
	Owner client.Object
	Key   string
	From  Found
	// Rotate asks for others than those that have arrived where they belong, Keep for none
	// but them. Without either they are replaced if the generator is another now, or
	// they end soon.
	Rotate, Keep bool
	// At is when the pass began.
	At time.Time
}

// Values returns the values that the owner is to use: those that it has, or new ones.
// New ones are returned again until they have arrived and are to be replaced. The error
// is that of the generator, or of the API server; nothing is left behind then.
func (k *Keeper) Values(ctx context.Context, r Request) (map[string]secret.Value, error) {
	held := k.held(r.Owner.GetUID(), r.Key)
	if held != nil && (held.serves(r) || k.extend(ctx, r, held)) {
		return maps.Clone(held.values), nil
	}
	made, err := k.generate(ctx, r)
	if err != nil {
		return nil, err
	}
	if held != nil {
		k.replace(ctx, r, held, made)
	}
	k.hold(r, made)
	return maps.Clone(made.values), nil
}

// replace lets a batch know what it replaces.
func (k *Keeper) replace(ctx context.Context, r Request, held, made *batch) {
	made.replaced = held.replaced
	if held.state != "" {
		made.replaced = append(made.replaced, held.state)
	}
	if !held.arrived { // and it never will; what fails here Commit does again
		_ = k.retire(ctx, r.Owner.GetNamespace(), held.state)
	}
}

func (k *Keeper) hold(r Request, b *batch) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.m[r.Owner.GetUID()] == nil {
		k.m[r.Owner.GetUID()] = map[string]*batch{}
	}
	k.m[r.Owner.GetUID()][r.Key] = b
}

// serves reports whether what is held is what is asked for.
func (b *batch) serves(r Request) bool {
	if b.arrived && (r.Keep || r.Rotate) {
		return r.Keep
	}
	return b.version == r.From.Version && !b.ending(r.At)
}

// extend tries to put the end of what is held off. It is no use if it gains little.
func (k *Keeper) extend(ctx context.Context, r Request, b *batch) bool {
	if !b.arrived || !b.renewable || r.Rotate || b.version != r.From.Version {
		return false
	}
	life, err := k.Pool.Renew(ctx, r.From.Generator, b.left)
	if err != nil || life.Expires.Sub(b.expires) < b.lifetime/parts {
		return false // whatever is wrong, others can be made, or that says what it is
	}
	b.expires, b.renewable, b.told = life.Expires, life.Renewable, false
	_ = k.tell(ctx, r.Owner.GetNamespace(), &b.lease) // Commit does what fails
	return true
}

// generate makes a batch, and notes what it leaves behind.
func (k *Keeper) generate(ctx context.Context, r Request) (*batch, error) {
	out, err := k.Pool.Generate(ctx, r.From.Generator)
	if err != nil {
		return nil, err
	}
	b := &batch{version: r.From.Version, values: out.Values, made: r.At}
	b.lease = lease{left: out.State, expires: out.Life.Expires, renewable: out.Life.Renewable}
	if !b.expires.IsZero() {
		b.lifetime = max(b.expires.Sub(r.At), 0)
	}
	if err := k.record(ctx, r, b); err != nil {
		ending := context.WithoutCancel(ctx) // the pool ends it in time
		if lost := k.Pool.Cleanup(ending, r.From.Generator, out.State); lost != nil {
			return nil, fmt.Errorf("what %s made could neither be noted nor ended (%w): %w", r.From.Name, lost, err)
		}
		return nil, fmt.Errorf("what %s made could not be noted: %w", r.From.Name, err)
	}
	return b, nil
}

// Adopt takes values that were found where they belong, made at that time at the latest.
// It is false, and nothing is taken, if they may be others than those that are to be
// ended some day.
func (k *Keeper) Adopt(ctx context.Context, r Request, values map[string]secret.Value, made time.Time) (bool, error) {
	states, err := k.open(ctx, r.Owner, r.Key)
	if err != nil || len(states) > 1 {
		return false, err
	}
	b := &batch{version: r.From.Version, values: maps.Clone(values), made: made, arrived: true}
	if len(states) == 1 {
		b.lease = leaseOf(&states[0])
		if by := madeBy(&states[0]); by != "" {
			b.version = by
		}
	}
	if b.made.IsZero() || b.made.After(r.At) {
		b.made = r.At
	}
	k.hold(r, b)
	return true, nil
}

// Holds reports whether values are held for a use.
func (k *Keeper) Holds(owner types.UID, key string) bool { return k.held(owner, key) != nil }

func (k *Keeper) held(owner types.UID, key string) *batch {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.m[owner][key]
}

// Age says when the values of a use were made, and when they have to be extended or
// replaced because they end; zero is that it is not known, or never.
func (k *Keeper) Age(ctx context.Context, owner client.Object, key string) (made, end time.Time, err error) {
	if b := k.held(owner.GetUID(), key); b != nil {
		return b.made, b.end(), nil
	}
	states, err := k.open(ctx, owner, key)
	for i := range states {
		l := leaseOf(&states[i])
		if at := l.end(); !at.IsZero() && (end.IsZero() || at.Before(end)) {
			end = at
		}
		if at := states[i].CreationTimestamp.Time; at.After(made) {
			made = at
		}
	}
	return made, end, err
}

// Commit records that the values of these uses are where they belong, and of no other:
// what else the owner has in memory is forgotten, and what else was left behind for it
// is ended after the grace period. It may be repeated, and its error is that of the API
// server.
func (k *Keeper) Commit(ctx context.Context, owner client.Object, keys ...string) error {
	kept, settled := k.used(owner.GetUID(), keys)
	var failed error
	if !settled {
		failed = k.retireOthers(ctx, owner, kept)
	}
	for _, b := range kept {
		failed = errors.Join(failed, k.tell(ctx, owner.GetNamespace(), &b.lease))
	}
	if failed != nil {
		return failed
	}
	for _, b := range kept {
		b.arrived, b.settled, b.replaced = true, true, nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.m[owner.GetUID()] = kept; len(kept) == 0 {
		delete(k.m, owner.GetUID())
	}
	return nil
}

// used returns what is held for these uses, and whether nothing else can be left of the
// owner.
func (k *Keeper) used(owner types.UID, keys []string) (kept map[string]*batch, settled bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	kept = map[string]*batch{}
	settled = len(keys) > 0 && len(k.m[owner]) == len(keys)
	for _, key := range keys {
		if b := k.m[owner][key]; b != nil {
			kept[key] = b
			settled = settled && b.settled
		}
	}
	return kept, settled
}

// Forget drops what is held for an owner that is gone. What was left behind for it goes
// with its GeneratorStates, which it owns.
func (k *Keeper) Forget(owner types.UID) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.m, owner)
}

// Keys returns the names of the values that a generator makes; nil if they are not known
// before.
func (k *Keeper) Keys(from Found) []string {
	g, err := k.Generators.Lookup(from.Kind)
	if err != nil {
		return nil
	}
	return g.Keys(from.Spec)
}

// parts: values are extended or replaced when one part of their life is left.
const parts = 3

// lease is what was left behind, and for how long it is good.
type lease struct {
	left      json.RawMessage
	expires   time.Time
	lifetime  time.Duration
	renewable bool
	// state names its GeneratorState; empty if it has none. told is true if that has
	// all of this.
	state string
	told  bool
}

// end is when to extend or replace it; zero is never.
func (l *lease) end() time.Time {
	if l.expires.IsZero() {
		return time.Time{}
	}
	return l.expires.Add(-l.lifetime / parts)
}

func (l *lease) ending(now time.Time) bool { return !l.expires.IsZero() && !l.end().After(now) }
