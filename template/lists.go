package template

import (
	"cmp"
	"maps"
	"reflect"
	"slices"
	"strconv"

	"github.com/Masterminds/sprig/v3"
)

func listFunctions(library map[string]any) map[string]function {
	return merged(
		checked(library, "list tuple append mustAppend push mustPush prepend mustPrepend rest mustRest initial mustInitial "+
			"reverse mustReverse compact mustCompact concat", function{shallow: true}),
		checked(library, "first mustFirst last mustLast slice mustSlice all any coalesce default empty ternary kindIs kindOf "+
			"typeIs typeIsLike typeOf", function{refers: true}),
		checked(library, "uniq mustUniq", function{check: func(_ *run, a []any) error { return pairs(a[0], length(a[0])) }}),
		checked(library, "without mustWithout", function{check: func(_ *run, a []any) error { return pairs(a[0], len(a)) }}),
		checked(library, "chunk mustChunk", function{shallow: true, check: func(_ *run, a []any) error {
			if arg[int](a, 0) < 1 {
				return reason("the size of a chunk must be at least 1")
			}
			return nil
		}}),
		checked(library, "join", function{check: func(r *run, a []any) error {
			return r.fits(float64(length(a[1])) * float64(len(arg[string](a, 0))+8))
		}}),
		map[string]function{
			"sortAlpha": {fn: func(list any) []string {
				sort, _ := library["sortAlpha"].(func(any) []string)
				if s, ok := list.([]string); ok {
					list = slices.Clone(s) // sprig sorts in place, and the list may be the caller's
				}
				return sort(list)
			}},
			"index": {make: func(r *run) any { return r.index }, refers: true},
		},
	)
}

func length(list any) int {
	switch v := reflect.ValueOf(list); v.Kind() {
	case reflect.Slice, reflect.Array:
		return v.Len()
	}
	return 1
}

// pairs bounds functions that compare every element of a list with n others.
func pairs(list any, n int) error {
	const limit = 4_000_000
	if length(list)*n > limit {
		return reason("more than " + strconv.Itoa(limit) + " comparisons of elements")
	}
	return nil
}

// index is text/template's, except that a key that the data does not have is an
// empty text: the keys of a secret are texts.
func (r *run) index(item any, indexes ...any) (any, error) {
	var err error
	for _, at := range indexes {
		v := reflect.ValueOf(item)
		switch v.Kind() {
		case reflect.Map:
			item, err = r.member(v, reflect.ValueOf(at))
		case reflect.Slice, reflect.Array, reflect.String:
			item, err = element(v, at)
		default:
			err = reason("not a list or a map")
		}
		if err != nil {
			return nil, err
		}
	}
	return item, nil
}

func (r *run) member(m, key reflect.Value) (any, error) {
	if !key.IsValid() || !key.Type().AssignableTo(m.Type().Key()) {
		return nil, reason("a key of the wrong type")
	}
	if e := m.MapIndex(key); e.IsValid() {
		return e.Interface(), nil
	}
	if m.Pointer() == r.root {
		return "", nil
	}
	return reflect.Zero(m.Type().Elem()).Interface(), nil
}

func element(list reflect.Value, at any) (any, error) {
	n, ok := integer(at)
	if !ok || n < 0 || n >= list.Len() {
		return nil, reason("no such element")
	}
	return list.Index(n).Interface(), nil
}

func integer(v any) (int, bool) {
	switch rv := reflect.ValueOf(v); {
	case !rv.IsValid():
		return 0, false
	case rv.CanInt():
		return int(rv.Int()), true
	case rv.CanUint():
		return int(min(rv.Uint(), 1<<62)), true
	}
	return 0, false
}

func mapFunctions(library map[string]any) map[string]function {
	out := merged(
		checked(library, "dict omit pick pluck", function{shallow: true}),
		checked(library, "dig get hasKey", function{refers: true}),
		checked(library, "set unset", function{refers: true, mutates: true}),
		checked(library, "deepCopy mustDeepCopy", function{}),
		map[string]function{
			"keys": {shallow: true, fn: func(dicts ...map[string]any) []string {
				keys := []string{}
				for _, d := range dicts {
					keys = slices.AppendSeq(keys, maps.Keys(d))
				}
				slices.SortFunc(keys, cmp.Compare)
				return keys
			}},
			"values": {shallow: true, fn: func(d map[string]any) []any {
				values := make([]any, 0, len(d))
				for _, k := range slices.Sorted(maps.Keys(d)) {
					values = append(values, d[k])
				}
				return values
			}},
		},
	)
	for name, from := range map[string]string{
		"merge": "mustMerge", "mustMerge": "mustMerge",
		"mergeOverwrite": "mustMergeOverwrite", "mustMergeOverwrite": "mustMergeOverwrite",
	} {
		out[name] = function{fn: mergeCopies(library[from]), why: "the maps do not fit together", mutates: true}
	}
	return out
}

// mergeCopies merges copies of the sources, so that no map comes to hold itself
// while it is walked.
func mergeCopies(library any) any {
	merge, _ := library.(func(map[string]any, ...map[string]any) (any, error))
	return func(dst map[string]any, sources ...map[string]any) (any, error) {
		for _, s := range sources {
			c, err := deepCopy(s)
			if err != nil {
				return nil, err
			}
			copied, _ := c.(map[string]any)
			if _, err := merge(dst, copied); err != nil {
				return nil, err
			}
		}
		return dst, nil
	}
}

func deepCopy(v any) (any, error) {
	copyOf, _ := sprig.GenericFuncMap()["mustDeepCopy"].(func(any) (any, error))
	return copyOf(v)
}
