package suite

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"log"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keyferry/keyferry/secret"
)

const mark = "canary-of-the-tests"

func judge(t T) Judge {
	return Judge{T: t, Mark: mark, Secrets: func() []secret.Value {
		return []secret.Value{secret.FromString("long-enough"), secret.FromString("short")}
	}}
}

// encodings are what programs make of a text.
func encodings(s string) []string {
	out := []string{s, hex.EncodeToString([]byte(s))}
	for _, prefix := range []string{"", "x", "xy"} {
		out = append(out, base64.StdEncoding.EncodeToString([]byte(prefix+s)))
	}
	return out
}

func TestFormsAreFoundInEncodings(t *testing.T) {
	var missed []string
	for _, text := range encodings("before" + mark + "after") {
		if judge(t).Leak(text) == "" {
			missed = append(missed, text)
		}
	}
	if diff := cmp.Diff([]string(nil), missed); diff != "" {
		t.Errorf("texts that hold the mark and pass (-want +got):\n%s", diff)
	}
}

// printer is an error that shows only to those who look at it in detail.
type printer struct{ detail string }

func (printer) Error() string      { return "it failed" }
func (p printer) GoString() string { return p.detail }

func TestFailed(t *testing.T) {
	failure := func(err error) error { return &secret.Error{Kind: secret.Denied, Op: "read", Err: err} }
	for name, tc := range map[string]struct {
		err   error
		kinds []secret.Kind
		want  string
	}{
		"as wanted":              {failure(errors.New("no")), []secret.Kind{secret.NotFound, secret.Denied}, ""},
		"of any kind":            {failure(errors.New("no")), nil, ""},
		"none":                   {nil, nil, "no error"},
		"another kind":           {failure(errors.New("no")), []secret.Kind{secret.NotFound}, "the kind is"},
		"a kind that is none":    {&secret.Error{Kind: "Odd", Op: "read", Err: errors.New("no")}, nil, "the kind is"},
		"another type":           {errors.New("no"), nil, "no *secret.Error"},
		"two lines":              {fmt.Errorf("no\n%w", failure(errors.New("no"))), nil, "more than one line"},
		"a mark":                 {failure(errors.New(mark)), nil, "the error holds"},
		"a mark in a detail":     {failure(printer{mark}), nil, "the error holds"},
		"a mark among several":   {failure(errors.Join(errors.New("no"), printer{mark})), nil, "the error holds"},
		"a value":                {failure(errors.New("it is long-enough")), nil, "the error holds"},
		"a value that may be so": {failure(errors.New("it is short")), nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			got := Try(t.Context(), func(t T) { judge(t).Failed("read", tc.err, tc.kinds...) })
			if (len(got) == 0) != (tc.want == "") || !strings.Contains(fmt.Sprint(got), tc.want) {
				t.Errorf("failures %q, want one about %q", got, tc.want)
			}
		})
	}
}

func TestListenHearsEverybodyUntilTheEnd(t *testing.T) {
	before := log.Writer()
	Try(t.Context(), func(trial T) {
		heard := Listen(trial)
		log.Print("of package log")
		heard.Logger().Debug("of the logger")
		got := heard.Take()
		if !strings.Contains(got, "of package log") || !strings.Contains(got, "of the logger") || heard.Take() != "" {
			t.Errorf("heard %q", got)
		}
	})
	if log.Writer() != before {
		t.Error("package log still writes to the Log")
	}
}
