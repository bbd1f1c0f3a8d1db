package template

import (
	"math"
	"strconv"
)

func numberFunctions(library map[string]any) map[string]function {
	return merged(
		checked(library, "add1f addf subf divf mulf", function{
			why: "the arguments must be numbers, and none to divide by may be 0",
			check: func(_ *run, a []any) error {
				if len(a) > 64 {
					return reason("more than 64 numbers")
				}
				return nil
			},
		}),
		checked(library, "div mod", function{why: "division by zero"}),
		checked(library, "randInt", function{why: "the maximum must be larger than the minimum"}),
		checked(library, "until", function{check: func(_ *run, a []any) error { return count(0, arg[int](a, 0), 1) }}),
		checked(library, "untilStep", function{check: func(_ *run, a []any) error {
			return count(arg[int](a, 0), arg[int](a, 1), arg[int](a, 2))
		}}),
		checked(library, "seq", function{check: checkSeq}),
	)
}

func checkSeq(_ *run, args []any) error {
	switch len(args) {
	case 1:
		return count(1, arg[int](args, 0), 1)
	case 2:
		return count(arg[int](args, 0), arg[int](args, 1), 1)
	case 3:
		return count(arg[int](args, 0), arg[int](args, 2), arg[int](args, 1))
	}
	return nil
}

// count bounds the numbers from start to stop. A step that could overflow at the
// end is refused with them.
func count(start, stop, step int) error {
	const largest = 1 << 53
	for _, n := range []int{start, stop, step} {
		if n > largest || n < -largest {
			return reason("a number is too large")
		}
	}
	if step != 0 && math.Abs(float64(stop-start)/float64(step)) > maxElements {
		return reason("more than " + strconv.Itoa(maxElements) + " numbers")
	}
	return nil
}
