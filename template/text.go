package template

import (
	"fmt"
	"strconv"
	"strings"
	"text/template"
)

func textFunctions(library map[string]any) map[string]function {
	return merged(
		checked(library, "split splitList", function{check: func(_ *run, a []any) error {
			return parts(arg[string](a, 1), arg[string](a, 0))
		}}),
		checked(library, "splitn", function{check: func(_ *run, a []any) error {
			return parts(arg[string](a, 2), arg[string](a, 0))
		}}),
		checked(library, "indent nindent", function{why: "the number of spaces must not be negative", check: func(r *run, a []any) error {
			s := arg[string](a, 1)
			return r.fits(float64(arg[int](a, 0))*float64(strings.Count(s, "\n")+1) + float64(len(s)))
		}}),
		checked(library, "wrapWith", function{check: func(r *run, a []any) error {
			lines := float64(len(arg[string](a, 2)))/float64(max(arg[int](a, 0), 1)) + 1
			return r.fits(2 * lines * float64(len(arg[string](a, 1))+1))
		}}),
		map[string]function{
			"repeat": {fn: library["repeat"], why: "the count must not be negative", check: func(r *run, a []any) error {
				return r.fits(float64(arg[int](a, 0)) * float64(len(arg[string](a, 1))))
			}},
			"replace": {fn: library["replace"], check: func(r *run, a []any) error {
				src := arg[string](a, 2)
				return r.fits(float64(len(src)) + float64(strings.Count(src, arg[string](a, 0)))*float64(len(arg[string](a, 1))))
			}},
			"substr":   {fn: library["substr"], why: "the start and end are not within the text"},
			"html":     {fn: template.HTMLEscaper},
			"js":       {fn: template.JSEscaper},
			"urlquery": {fn: template.URLQueryEscaper},
			"print":    {fn: func(a ...any) string { return fmt.Sprint(a...) }},
			"println":  {fn: func(a ...any) string { return fmt.Sprintln(a...) }},
			"printf":   {fn: func(format string, a ...any) string { return fmt.Sprintf(format, a...) }, check: checkPrintf},
			"fail":     {fn: func(message string) (string, error) { return "", failMessage(message) }},
			"semver":   {fn: library["semver"], why: "the input is not a semantic version", maxArgs: 4096},
			"semverCompare": {
				fn: library["semverCompare"], why: "the constraint or the version is not a semantic version", maxArgs: 4096,
			},
		},
	)
}

const maxElements = 100_000

func parts(s, sep string) error {
	n := strings.Count(s, sep)
	if n >= maxElements {
		return reason("more than " + strconv.Itoa(maxElements) + " parts")
	}
	return nil
}

// checkPrintf bounds what a format can make of its arguments: a width pads every
// element, an index prints an argument again and again.
func checkPrintf(r *run, args []any) error {
	format := arg[string](args, 0)
	verbs := float64(strings.Count(format, "%"))
	width, again := formatWidth(format)
	if strings.Contains(format, "*") {
		for _, a := range args[1:] {
			width = max(width, arg[int]([]any{a}, 0))
		}
	}
	size, err := r.measure(args[1:])
	if err != nil {
		return err
	}
	times := 1.0
	if again {
		times = verbs
	}
	return r.fits(float64(len(format)) + times*float64(size)*(1+float64(width)/8) + verbs*float64(width))
}

// formatWidth returns the largest number in a format, and whether the format
// numbers its arguments.
func formatWidth(format string) (width int, again bool) {
	n := 0
	for _, c := range []byte(format) {
		if c < '0' || c > '9' {
			n = 0
			again = again || c == '['
			continue
		}
		n = min(n*10+int(c-'0'), 1<<30)
		width = max(width, n)
	}
	return width, again
}
