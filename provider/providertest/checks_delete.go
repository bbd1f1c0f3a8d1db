package providertest

import (
	"slices"

	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/secret"
)

func deleteChecks() []check {
	deletes := []Ability{Reader, Writer, Deleter}
	return []check{
		{name: "delete/present", needs: deletes, run: deletePresent},
		{name: "delete/absent", needs: deletes, run: deleteAbsent},
		{name: "delete/then put", needs: deletes, run: deleteThenPut},
		{name: "delete/foreign owner", needs: append(slices.Clone(deletes), Marks), run: deleteForeign},
		{name: "delete/unmarked", needs: append(slices.Clone(deletes), Marks), run: deleteUnmarked},
		{name: "delete/outdated", needs: append(slices.Clone(deletes), CompareAndSet), run: deleteOutdated},
	}
}

// remove deletes a secret on a condition, for us.
func (p *probe) remove(s provider.Store, key string, held *provider.Holding) error {
	return s.(provider.Deleter).Delete(p.Context(), secret.Ref{Key: key}, provider.DeleteOptions{If: held, Owner: provider.ManagedBy})
}

// mustRemove deletes a secret, and goes no further if that fails.
func (p *probe) mustRemove(s provider.Store, key string, held *provider.Holding) {
	p.Helper()
	if err := p.remove(s, key, held); err != nil {
		p.Fatalf("delete %s: %v", key, err)
	}
}

func deletePresent(p *probe) {
	key, neighbour := p.key("remove", "a"), p.key("remove", "a2")
	s := p.open()
	p.mustPut(s, neighbour, plain("neighbour"))
	for _, conditional := range []bool{false, true} {
		p.mustPut(s, key, plain("a"))
		var held *provider.Holding
		if conditional {
			now := p.inspect(s, key)
			held = &now
		}
		p.mustRemove(s, key, held)
		p.wantHeld("delete", key, nil)
		if p.inspect(s, key).Exists {
			p.Errorf("inspect after the deletion: something exists")
		}
		_, err := p.another(s).(provider.Reader).Get(p.Context(), secret.Ref{Key: key})
		p.Failed("get after the deletion", err, secret.NotFound)
	}
	p.wantHeld("the neighbour", neighbour, plain("neighbour"))
}

func deleteAbsent(p *probe) {
	key := p.key("remove", "never")
	s := p.open()
	absent := p.inspect(s, key)
	p.mustRemove(s, key, nil)
	p.mustRemove(s, key, &absent)
	p.mustPut(s, key, plain("a"))
	p.mustRemove(s, key, nil)
	p.mustRemove(s, key, nil)
}

func deleteThenPut(p *probe) {
	key := p.key("remove", "again")
	s := p.open()
	p.mustPut(s, key, plain("a"))
	p.mustRemove(s, key, nil)
	held := p.inspect(s, key)
	for _, condition := range []*provider.Holding{&held, nil} {
		receipt, err := p.put(s, key, p.content(plain("a")), condition)
		if err != nil || !receipt.Written {
			p.Fatalf("put after the deletion: written %v, error %v", receipt.Written, err)
		}
		p.wantHeld("put after the deletion", key, plain("a"))
		p.same("get", p.get(p.another(s), key), plain("a"))
		p.mustRemove(s, key, nil)
	}
}

func deleteForeign(p *probe) {
	key, value := p.key("foreign", "b"), plain("foreign")
	p.h.Foreign(p.T, key, value)
	s := p.open()
	held := p.inspect(s, key)
	for _, condition := range []*provider.Holding{nil, &held} {
		p.conflict("delete of another owner's", key, p.remove(s, key, condition))
	}
	p.wantHeld("delete of another owner's", key, value)
}

func deleteUnmarked(p *probe) {
	key, value := p.seed("unmarked", "b")
	s := p.open()
	p.conflict("delete of what has no mark", key, p.remove(s, key, nil))
	p.wantHeld("delete of what has no mark", key, value)
	if p.h.can(MarksRequired) {
		return
	}
	p.mustPut(s, key, plain("ours"))
	p.conflict("delete of what had no mark before we wrote", key, p.remove(s, key, nil))
	p.wantHeld("delete of what had no mark before we wrote", key, plain("ours"))
}

func deleteOutdated(p *probe) {
	key := p.key("outdated", "b")
	s := p.open()
	other := p.another(s)
	p.mustPut(s, key, plain("a"))
	held := p.inspect(s, key)
	p.mustPut(other, key, plain("newer"))
	p.conflict("delete of what changed meanwhile", key, p.remove(s, key, &held))
	p.wantHeld("delete of what changed meanwhile", key, plain("newer"))
	held = p.inspect(s, key)
	p.mustRemove(other, key, nil)
	_, err := p.put(s, key, p.content(plain("a")), &held)
	p.conflict("put over what was deleted meanwhile", key, err)
	p.wantHeld("put over what was deleted meanwhile", key, nil)
	if err := p.remove(s, key, &held); err != nil {
		p.Failed("delete of what was deleted meanwhile", err, secret.Conflict)
	}
}
