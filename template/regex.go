package template

import (
	"context"
	"regexp"
	"regexp/syntax"
	"runtime"
	"strconv"
	"strings"
)

const badRegexp = "not a valid regular expression"

func regexFunctions(library map[string]any) map[string]function {
	return merged(
		checked(library, "regexMatch mustRegexMatch regexFind mustRegexFind", function{why: badRegexp, check: checkMatch}),
		checked(library, "regexFindAll mustRegexFindAll regexSplit mustRegexSplit", function{why: badRegexp, check: func(r *run, a []any) error {
			_, err := checkMatches(r, a)
			return err
		}}),
		checked(library, "regexReplaceAll mustRegexReplaceAll regexReplaceAllLiteral mustRegexReplaceAllLiteral",
			function{why: badRegexp, check: func(r *run, a []any) error {
				found, err := checkMatches(r, a)
				if err != nil {
					return err
				}
				replacement := arg[string](a, 2)
				groups := float64(strings.Count(replacement, "$"))
				return r.fits(float64(len(arg[string](a, 1))) + float64(found.count)*float64(len(replacement)) + groups*float64(found.bytes))
			}}),
	)
}

// checkMatch bounds one pass over the text: the time it takes grows with the size
// of the expression times the length of the text. An expression that does not
// parse is left to the function.
func checkMatch(_ *run, args []any) error {
	const maxSize, maxWork = 20_000, 1 << 25
	expr := arg[string](args, 0)
	if len(expr) > 4096 {
		return reason("the regular expression is longer than 4096 bytes")
	}
	parsed, err := syntax.Parse(expr, syntax.Perl)
	if err != nil {
		return nil //nolint:nilerr // the function says so itself
	}
	size := regexSize(parsed)
	if size > maxSize || size*(len(arg[string](args, 1))+1) > maxWork {
		return reason("the regular expression is too large for this much text")
	}
	return nil
}

// regexSize is about how many instructions a regular expression compiles to.
func regexSize(re *syntax.Regexp) int {
	const enough = 1 << 20
	size := 1 + len(re.Rune)
	for _, sub := range re.Sub {
		size = min(size+regexSize(sub), enough)
	}
	if re.Op == syntax.OpRepeat {
		size *= max(re.Min, re.Max, 1)
	}
	return min(size, enough)
}

type matches struct {
	count, bytes int
	stopped      bool
}

// checkMatches finds all matches once, to see how many there are and that it does
// not take too long: many matches can take the square of one.
func checkMatches(r *run, args []any) (matches, error) {
	if err := checkMatch(r, args); err != nil {
		return matches{}, err
	}
	re, err := regexp.Compile(arg[string](args, 0))
	if err != nil {
		return matches{}, failedCall("regexp")
	}
	found := probe(r.ctx, re, arg[string](args, 1))
	if found.stopped {
		return matches{}, reason("more than " + strconv.Itoa(maxElements) + " matches, or it takes too long to find them")
	}
	return found, nil
}

// probe counts the matches, and gives up when there are too many or ctx ends. The
// library offers no way out of its loop over matches but the end of the
// goroutine, which this one waits for.
func probe(ctx context.Context, re *regexp.Regexp, text string) matches {
	var found matches
	done := make(chan struct{})
	go func() {
		defer close(done)
		re.ReplaceAllStringFunc(text, func(match string) string {
			found.count++
			found.bytes += len(match)
			if found.count > maxElements || ctx.Err() != nil {
				found.stopped = true
				runtime.Goexit()
			}
			return ""
		})
	}()
	<-done
	return found
}
