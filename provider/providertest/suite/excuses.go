package suite

import (
	"fmt"
	"maps"
	"slices"
)

// Problem says which check lacks what it needs and is not excused, or which excuse is no
// good; empty if all is well. It takes the reasons of a harness by the name of the check,
// whether a check has what it needs, and whether it may be excused at all.
func Problem(without map[string]string, has, excusable map[string]bool) string {
	for _, name := range slices.Sorted(maps.Keys(has)) {
		if _, excused := without[name]; !excused && !has[name] {
			return fmt.Sprintf("the harness lacks what %q needs: set it, or say why not in Without", name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(without)) {
		if without[name] == "" || !excusable[name] {
			return fmt.Sprintf("Without[%q]: no such check, or one that everybody can show here, or no reason", name)
		}
	}
	return ""
}
