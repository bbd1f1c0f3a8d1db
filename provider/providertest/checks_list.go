package providertest

import (
	"context"
	"fmt"
	"slices"

	"github.com/google/go-cmp/cmp"

	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/secret"
)

func listChecks() []check {
	lists := []Ability{Lister}
	return []check{
		{name: "list/group", needs: lists, run: listGroup},
		{name: "list/values", needs: []Ability{Lister, Reader}, run: listValues},
		{name: "list/path", needs: lists, run: listPath},
		{name: "list/tags", needs: lists, run: listTags},
		{name: "list/nothing", needs: lists, run: listNothing},
		{name: "list/pages", needs: lists, excusable: true, run: listPages},
		{name: "list/caller stops", needs: lists, run: listStops},
		{name: "list/context ends between items", needs: lists, run: listContext},
	}
}

func (p *probe) lister() provider.Lister {
	p.Helper()
	s := p.open()
	l, ok := s.(provider.Lister)
	if !ok {
		p.Fatalf("%T is no provider.Lister", s)
	}
	return l
}

// list returns the items that q selects, by key; the name is filtered here, as
// callers do.
func (p *probe) list(l provider.Lister, q secret.Query) map[string]secret.Item {
	p.Helper()
	out := map[string]secret.Item{}
	for item, err := range l.List(p.Context(), q) {
		if err != nil {
			p.Fatalf("list: %v", err)
		}
		if q.Name != nil && !q.Name.MatchString(item.Ref.Key) {
			continue
		}
		if _, twice := out[item.Ref.Key]; twice {
			p.Errorf("list: %s is yielded twice", item.Ref.Key)
		}
		out[item.Ref.Key] = item
	}
	return out
}

func (p *probe) wantKeys(what string, got map[string]secret.Item, want ...string) {
	p.Helper()
	slices.Sort(want)
	if diff := cmp.Diff(want, secret.Keys(got)); diff != "" {
		p.Errorf("%s: keys (-want +got):\n%s", what, diff)
	}
}

func listGroup(p *probe) {
	a, _ := p.seed("group", "a")
	b, _ := p.seed("group", "b")
	p.seed("grouped", "c")
	l := p.lister()
	p.wantKeys("the group", p.list(l, p.query("group")), a, b)
	p.wantKeys("the group again", p.list(l, p.query("group")), a, b)
	all := p.list(l, secret.Query{})
	for _, key := range []string{a, b, p.key("grouped", "c")} {
		if _, ok := all[key]; !ok {
			p.Errorf("a query for everything lacks %s", key)
		}
	}
}

// listValues reads by each ref that the listing yields, and compares with the
// values that it carries, if it does.
func listValues(p *probe) {
	want := map[string][]byte{}
	for _, name := range []string{"a", "b"} {
		key, value := p.seed("values", name)
		want[key] = value
	}
	s := p.open()
	for key, item := range p.list(s.(provider.Lister), p.query("values")) {
		got, err := s.(provider.Reader).Get(p.Context(), item.Ref)
		if err != nil {
			p.Errorf("get what was listed: %v", err)
			continue
		}
		p.same("get "+key, got, want[key])
		if item.Secret != nil {
			p.same("the listed value of "+key, *item.Secret, want[key])
		}
	}
}

func listPath(p *probe) {
	if !p.h.can(Paths) {
		p.refused("list with a path", p.firstOf(p.lister(), secret.Query{Path: "folder"}), "path")
		return
	}
	a, _ := p.seed("path", "a")
	b, _ := p.seed("path/deep/er", "b")
	p.seed("elsewhere", "path")
	l := p.lister()
	p.wantKeys("path", p.list(l, secret.Query{Path: "path"}), a, b)
	p.wantKeys("path with a slash", p.list(l, secret.Query{Path: "path/"}), a, b)
	p.wantKeys("a deeper path", p.list(l, secret.Query{Path: "path/deep"}), b)
}

func listTags(p *probe) {
	if !p.h.can(Tags) {
		p.refused("list with tags", p.firstOf(p.lister(), secret.Query{Tags: map[string]string{"team": "harbour"}}), "tags")
		return
	}
	key := func(name string) string { return p.key("tags", name) }
	p.h.Seed(p.T,
		Entry{Key: key("both"), Value: plain("a"), Tags: map[string]string{"pier": "one", "crane": "tall"}},
		Entry{Key: key("one"), Value: plain("b"), Tags: map[string]string{"pier": "one"}},
		Entry{Key: key("other"), Value: plain("c"), Tags: map[string]string{"pier": "two", "crane": "tall"}},
		Entry{Key: key("none"), Value: plain("d")},
	)
	l, q := p.lister(), p.query("tags")
	q.Tags = map[string]string{"pier": "one"}
	p.wantKeys("one tag", p.list(l, q), key("both"), key("one"))
	q.Tags = map[string]string{"pier": "one", "crane": "tall"}
	p.wantKeys("two tags", p.list(l, q), key("both"))
	q.Tags = map[string]string{"pier": "three"}
	p.wantKeys("a tag that nothing has", p.list(l, q))
}

func listNothing(p *probe) {
	p.seed("something", "a")
	p.wantKeys("nothing", p.list(p.lister(), p.query("nothing")))
}

func listPages(p *probe) {
	var entries []Entry
	var keys []string
	for i := range p.h.Page + 1 {
		keys = append(keys, p.key("pages", fmt.Sprintf("%05d", i)))
		entries = append(entries, Entry{Key: keys[i], Value: plain(fmt.Sprint(i))})
	}
	p.h.Seed(p.T, entries...)
	p.wantKeys("more than a page", p.list(p.lister(), p.query("pages")), keys...)
}

// listStops leaves the loop at the first item: an iterator that goes on panics.
func listStops(p *probe) {
	p.seed("stops", "a")
	p.seed("stops", "b")
	n := 0
	for _, err := range p.lister().List(p.Context(), p.query("stops")) {
		if err != nil {
			p.Fatalf("list: %v", err)
		}
		n++
		break
	}
	if n != 1 {
		p.Errorf("%d items, want one", n)
	}
}

// listContext ends the context at the first item. The listing may go on to the end
// of the page it has, and a second one must fail.
func listContext(p *probe) {
	p.seed("ends", "a")
	p.seed("ends", "b")
	l := p.lister()
	ctx, cancel := context.WithCancel(p.Context())
	for _, err := range l.List(ctx, p.query("ends")) {
		cancel()
		if err != nil {
			p.Failed("list", err, secret.Unavailable)
		}
	}
	cancel()
	again := error(nil)
	for _, err := range l.List(ctx, p.query("ends")) {
		again = err
		break
	}
	p.Failed("list after the end of the context", again, secret.Unavailable)
}

// firstOf returns the first error of a listing; nil if there is none.
func (p *probe) firstOf(l provider.Lister, q secret.Query) error {
	for _, err := range l.List(p.Context(), q) {
		if err != nil {
			return err
		}
	}
	return nil
}
