package password

import "testing"

func TestBelowHasEqualChances(t *testing.T) {
	for _, n := range []int{1, 2, 10, 31, 62} {
		const each = 2000
		seen := make([]int, n)
		for range each * n {
			seen[below(n)]++ // panics if it is not below
		}
		for i, got := range seen {
			if off := got - each; n > 1 && (off > each/5 || off < -each/5) { // nine standard deviations
				t.Errorf("of %d numbers, %d came %d times instead of %d", n, i, got, each)
			}
		}
	}
}
