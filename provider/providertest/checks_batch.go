package providertest

import (
	"fmt"
	"strings"

	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/secret"
)

func batchChecks() []check {
	batches := []Ability{Reader, Batcher}
	return []check{
		{name: "batch/order", needs: batches, run: batchOrder},
		{name: "batch/partial failure", needs: batches, run: batchPartial},
		{name: "batch/empty", needs: batches, run: batchEmpty},
		{name: "batch/large", needs: batches, excusable: true, run: batchLarge},
	}
}

func (p *probe) batch(refs []secret.Ref) []secret.Result {
	p.Helper()
	b, ok := p.open().(provider.Batcher)
	if !ok {
		p.Fatalf("the store is no provider.Batcher")
	}
	results, err := b.GetBatch(p.Context(), refs)
	if err != nil || len(results) != len(refs) {
		p.Fatalf("batch of %d: %d results, error %v", len(refs), len(results), err)
	}
	return results
}

// batchOrder asks in an order that is not that of the backend, and for one twice.
func batchOrder(p *probe) {
	var refs []secret.Ref
	var want [][]byte
	for _, name := range []string{"c", "a", "d", "b"} {
		key, value := p.seed("order", name)
		refs, want = append(refs, secret.Ref{Key: key}), append(want, value)
	}
	refs, want = append(refs, refs[1]), append(want, want[1])
	for i, result := range p.batch(refs) {
		if result.Err != nil {
			p.Errorf("result %d: %v", i, result.Err)
			continue
		}
		p.same(fmt.Sprintf("result %d", i), result.Secret, want[i])
	}
}

func batchPartial(p *probe) {
	first, value := p.seed("partial", "a")
	last, lastValue := p.seed("partial", "c")
	gone := p.key("partial", "b")
	results := p.batch([]secret.Ref{{Key: first}, {Key: gone}, {Key: last}})
	text := p.Failed("the absent one", results[1].Err, secret.NotFound)
	if results[1].Err != nil && !strings.Contains(text, gone) {
		p.Errorf("the error does not name the key: %s", text)
	}
	for i, want := range map[int][]byte{0: value, 2: lastValue} {
		if results[i].Err != nil {
			p.Errorf("result %d failed with another's error: %v", i, results[i].Err)
			continue
		}
		p.same(fmt.Sprintf("result %d", i), results[i].Secret, want)
	}
}

func batchEmpty(p *probe) { p.batch(nil) }

func batchLarge(p *probe) {
	n := p.h.Batch + 1
	entries, refs := make([]Entry, n), make([]secret.Ref, n)
	for i := range n {
		entries[i] = Entry{Key: p.key("batch", fmt.Sprintf("%05d", i)), Value: plain(fmt.Sprint(i))}
		refs[n-1-i].Key = entries[i].Key
	}
	p.h.Seed(p.T, entries...)
	for i, result := range p.batch(refs) {
		if result.Err != nil {
			p.Fatalf("result %d of %d: %v", i, n, result.Err)
		}
		p.same(fmt.Sprintf("result %d", i), result.Secret, entries[n-1-i].Value)
	}
}
