package template

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keyferry/keyferry/secret"
)

func TestOptions(t *testing.T) {
	for name, opts := range map[string]Options{
		"equal delimiters": {Left: "%%", Right: "%%"}, "negative output": {MaxOutput: -1}, "negative time": {Timeout: -1},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := New(opts); !errors.Is(err, secret.Invalid) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestOtherDelimiters(t *testing.T) {
	e := newEngine(t, Options{Left: "<<", Right: ">>"})
	got, err := e.Render(t.Context(), "x", `{{ .helm }} << .user | upper >>`, map[string]any{"user": "ada"})
	if err != nil || string(got.Reveal()) != "{{ .helm }} ADA" {
		t.Errorf("got %q, %v", got.Reveal(), err)
	}
}

func TestRenderingDoesNotChangeTheData(t *testing.T) {
	sources := func() map[string]any {
		return map[string]any{"a": "1", "m": map[string]any{"x": "y"}, "l": []string{"b", "a"}}
	}
	data := sources()
	for _, text := range []string{
		`{{ $_ := set . "b" "2" }}{{ $_ := unset . "a" }}{{ .b }}`, `{{ $_ := set .m "x" "2" }}{{ .m.x }}`,
		`{{ merge . (dict "b" 1) | toJson }}{{ mergeOverwrite .m (dict "x" 1) | toJson }}`, `{{ sortAlpha .l }}`,
	} {
		if _, err := render(t, text, data); err != nil {
			t.Errorf("%s: %v", text, err)
		}
		if d := cmp.Diff(sources(), data); d != "" {
			t.Errorf("%s changed the data: %s", text, d)
		}
	}
}

func TestDataWithoutTextsStaysInTheTemplate(t *testing.T) {
	if got := Data(nil); len(got) != 0 {
		t.Errorf("got %v", got)
	}
	if _, err := render(t, `{{ index . "x" }}`, nil); err != nil {
		t.Error(err)
	}
}

func TestAnEngineIsSafeForConcurrentUse(t *testing.T) {
	e := newEngine(t, Options{})
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 600 {
				text := fmt.Sprintf(`%d {{ define "t" }}{{ . }}{{ end }}{{ range until 2 }}{{ template "t" $.v }}{{ end }}`, j)
				got, err := e.Render(t.Context(), "x", text, map[string]any{"v": fmt.Sprint(i)})
				want := fmt.Sprintf("%d %d%d", j, i, i)
				if err != nil || string(got.Reveal()) != want {
					t.Errorf("got %q, %v, want %q", got.Reveal(), err, want)
				}
			}
		})
	}
	wg.Wait()
}

func TestTheCacheIsBounded(t *testing.T) {
	e := newEngine(t, Options{})
	for i := range 400 {
		if _, err := e.Render(t.Context(), "x", fmt.Sprint(i, strings.Repeat(" ", 20_000)), nil); err != nil {
			t.Fatal(err)
		}
	}
	if e.cache.bytes > cacheBytes || len(e.cache.items) > 256 || len(e.cache.items) < 10 {
		t.Errorf("%d entries of %d bytes", len(e.cache.items), e.cache.bytes)
	}
	if _, err := e.Render(t.Context(), "x", strings.Repeat(" ", cacheEntry+1), nil); err != nil || e.cache.get(strings.Repeat(" ", cacheEntry+1)) != nil {
		t.Errorf("a large template is kept: %v", err)
	}
	for range 2 {
		e.cache.put(&program{text: "twice"})
	}
	total := 0
	for text := range e.cache.items {
		total += len(text)
	}
	if total != e.cache.bytes {
		t.Errorf("the cache counts %d bytes of %d", e.cache.bytes, total)
	}
}

func TestATemplateThatIsStoppedInAnExpression(t *testing.T) {
	// Each match of this expression looks at the rest of the text again.
	ctx, cancel := context.WithCancel(t.Context())
	r := newRun(ctx, DefaultMaxOutput)
	cancel()
	_, err := checkMatches(r, []any{"a.*z|a", strings.Repeat("a", 90_000)})
	if err == nil {
		t.Error("no error")
	}
}

// guardSurroundings puts marks where a template must not reach, and returns what
// looks for them: a file in the working directory, a variable of the environment,
// the look-up of a host.
func guardSurroundings(f *testing.F) (check func(t *testing.T, output string)) {
	f.Helper()
	dir := f.TempDir()
	if err := os.WriteFile(dir+"/file", []byte("canary-of-a-file"), 0o600); err != nil {
		f.Fatal(err)
	}
	f.Chdir(dir)
	f.Setenv("CANARY", "canary-of-the-environment")
	var dialled atomic.Int64
	resolver := net.DefaultResolver
	f.Cleanup(func() { net.DefaultResolver = resolver })
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		dialled.Add(1)
		return nil, errors.New("no network")
	}}
	return func(t *testing.T, output string) {
		if strings.Contains(output, "canary-of-") {
			t.Errorf("the output holds something that is not in the data: %.300q", output)
		}
		if dialled.Load() > 0 {
			t.Error("the template asked for the address of a host")
		}
		if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
			t.Errorf("the directory has %d files, %v", len(entries), err)
		}
	}
}

// composer makes a template of the functions that the bytes name, with arguments
// of the types that they take: texts, numbers, and maps and lists that may hold
// each other.
type composer struct{ program []byte }

func (c *composer) next() int {
	if len(c.program) == 0 {
		return 0
	}
	b := c.program[0]
	c.program = c.program[1:]
	return int(b)
}

func (c *composer) pick(choices ...string) string { return choices[c.next()%len(choices)] }

func (c *composer) argument(p reflect.Type) string {
	switch p.Kind() {
	case reflect.String:
		return c.pick(".v", `"k"`, "$s", `(toJson $m)`)
	case reflect.Int, reflect.Int64, reflect.Float64, reflect.Uint32:
		return c.pick("0", "1", "-1", "3", "90000", "9000000000")
	case reflect.Map:
		return c.pick("$m", "$n", ".", "(dict)", `(dict "k" $n)`)
	case reflect.Slice:
		return c.pick("$l", "(list $m $n)", "$l")
	case reflect.Bool:
		return c.pick("true", "false")
	}
	return c.pick("$l", "$m", "$n", "$s", ".", "nil", "1.5", "now")
}

func (c *composer) target(p reflect.Type) string {
	switch p.Kind() {
	case reflect.Map:
		return c.pick("$m =", "$n =")
	case reflect.Slice:
		return "$l ="
	case reflect.String:
		return "$s ="
	}
	return "$x :="
}

func (c *composer) compose(all map[string]function) string {
	names := slices.DeleteFunc(slices.Sorted(maps.Keys(all)), func(n string) bool { return all[n].fn == nil || all[n].heavy > 0 })
	var b strings.Builder
	b.WriteString(`{{ $m := dict "k" "v" }}{{ $n := dict "k" $m }}{{ $l := list $m 1 "x" }}{{ $s := .v }}`)
	for len(c.program) > 0 {
		name := names[(c.next()<<8|c.next())%len(names)]
		t := reflect.TypeOf(all[name].fn)
		fmt.Fprintf(&b, "{{ %s %s", c.target(t.Out(0)), name)
		for i, p := range slices.Collect(t.Ins()) {
			if t.IsVariadic() && i == t.NumIn()-1 {
				p = p.Elem()
			}
			b.WriteString(" " + c.argument(p))
		}
		b.WriteString(" }}")
	}
	b.WriteString(`{{ range $l }}{{ . }}{{ end }}{{ $m | toYaml }}{{ $n }}{{ $s }}`)
	return b.String()
}

func FuzzRender(f *testing.F) {
	for _, seed := range []string{
		``, `{{ .v | b64dec }}`, `{{ (.v | fromJson).foo | toYaml }}`, `{{ .v | fromYaml | toJson }}`, `{{ .v | upper | nindent 4 }}`,
		"a\n{{ .v }}\nb", `{{ .v | b64enc | b64enc }}`, `{{ .v | b64dec | pkcs12key }}`, `{{ .v | pkcs12certPass "pw" }}`, `{{ hexdec .v }}`,
		`{{ .nope }}`, `{{ if }}`, `{{ .v | jwkPublicKeyPem }}`, `{{ .v | filterPEM "CERTIFICATE" }}`, `{{ rsaDecrypt "RSA-OAEP" "SHA1" .v .v }}`,
		`{{ certSANs .v | join "," }}`, `{{ htpasswd "u" .v "sha" }}`, `{{ filterCertChain "leaf" .v }}`, `{{ env "CANARY" }}`, `{{ expandenv "$CANARY" }}`,
		`{{ getHostByName "example.com" }}`, `{{ range until 100000 }}{{ repeat 1000 $.v }}{{ end }}`, `{{ define "a" }}{{ template "a" . }}{{ end }}{{ template "a" . }}`,
		`{{ $d := dict }}{{ $_ := set $d "d" $d }}{{ $d }}{{ merge $d $d | toJson }}`, `{{ osBase "file" }}{{ osDir .v }}{{ clean "./file" }}`,
		`{{ regexReplaceAll .v .v .v }}`, `{{ dateInZone "15:04" 0 .v }}`, `{{ printf "%*[1]d%v" 9 .v }}`, `{{ untilStep 0 9 -1 }}{{ seq 0 -3 }}`,
		`{{ chunk 3 (splitList "" .v) }}{{ dig "a" "b" .v (dict "a" .v) }}`, `{{ with $x := .v }}{{ slice (list 1 2 $x) 1 2 }}{{ else }}{{ end }}`,
		`{{ (urlParse .v).host }}{{ semverCompare .v .v }}`, `{{ wrapWith 1 .v .v }}{{ abbrevboth 5 9 .v }}{{ substr 0 2 .v }}{{ trunc -2 .v }}`,
		`{{ range $i, $e := list 1 2 }}{{ if $i }}{{ break }}{{ end }}{{ continue }}{{ end }}`, `{{ deepEqual (deepCopy .) . }}{{ uniq (list . .) }}`,
	} {
		f.Add(seed, "aGk=", []byte(seed))
	}
	f.Add(`{{ range $k, $v := fromYaml .v }}{{ $k }}={{ $v }}{{ end }}`, "a: &a [x]\nb: [*a, *a]", []byte{200, 1, 0, 3, 140, 2})
	e := newEngine(f, Options{MaxOutput: 64 << 10, Timeout: 200 * time.Millisecond})
	check := guardSurroundings(f)
	f.Fuzz(func(t *testing.T, text, value string, program []byte) {
		c := composer{program}
		for _, text := range []string{text, c.compose(e.functions)} {
			got, err := e.Render(t.Context(), "x", text, map[string]any{"v": value})
			if err != nil && !errors.Is(err, secret.Invalid) {
				t.Errorf("got %v", err)
			}
			if got.Len() > 64<<10 {
				t.Errorf("the output has %d bytes", got.Len())
			}
			check(t, string(got.Reveal()))
		}
		_, _ = e.KeysAndValues(t.Context(), "x", text, map[string]any{"v": value})
		_ = ParseLeaf(secret.FromString(value))
		if SetPath(map[string]any{}, text, value) == nil && text == "" {
			t.Error("an empty path is not refused")
		}
	})
}

func BenchmarkRender(b *testing.B) {
	e := newEngine(b, Options{})
	data := map[string]any{"user": "ada", "password": "hunter2"}
	for name, text := range map[string]string{
		"plain": `{{ .password }}`, "usual": `postgres://{{ .user | urlquery }}:{{ .password | urlquery }}@host/db?sslmode={{ index . "ssl" | default "require" }}`,
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := e.Render(b.Context(), "x", text, data); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
