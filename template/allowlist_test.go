package template

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/Masterminds/sprig/v3"
	"github.com/google/go-cmp/cmp"

	"github.com/keyferry/keyferry/secret"
)

// The exact functions of a template. A name is added here by whoever has made sure
// that the function reads nothing but its arguments and cannot be made to take long.
const exactly = `abbrev abbrevboth add add1 add1f addf adler32sum ago all and any append atoi b32dec b32enc b64dec b64enc
base bcrypt biggest buildCustomCert call camelcase cat ceil certSANs chunk clean coalesce compact concat contains date
dateInZone dateModify date_in_zone date_modify decryptAES deepCopy deepEqual default derivePassword dict dig dir div divf
duration durationRound empty encryptAES eq ext fail filterCertChain filterPEM first float64 floor fromJson fromYaml
fullPemToPkcs12 fullPemToPkcs12Pass ge genCA genCAWithKey genPrivateKey genSelfSignedCert genSelfSignedCertWithKey
genSignedCert genSignedCertWithKey get gt has hasKey hasPrefix hasSuffix hello hexdec html htmlDate htmlDateInZone htpasswd
indent index initial initials int int64 isAbs join js jwkPrivateKeyPem jwkPublicKeyPem kebabcase keys kindIs kindOf last le
len list lower lt max maxf merge mergeOverwrite min minf mod mul mulf mustAppend mustChunk mustCompact mustDateModify
mustDeepCopy mustFirst mustFromJson mustHas mustInitial mustLast mustMerge mustMergeOverwrite mustPrepend mustPush
mustRegexFind mustRegexFindAll mustRegexMatch mustRegexReplaceAll mustRegexReplaceAllLiteral mustRegexSplit mustRest
mustReverse mustSlice mustToDate mustToJson mustToPrettyJson mustToRawJson mustUniq mustWithout must_date_modify ne nindent
nospace not now omit or osBase osClean osDir osExt osIsAbs pemToPkcs12 pemToPkcs12Pass pemTruststoreToPKCS12
pemTruststoreToPKCS12Pass pick pkcs12cert pkcs12certPass pkcs12key pkcs12keyPass pluck plural prepend print printf println
push quote randAlpha randAlphaNum randAscii randBytes randInt randNumeric regexFind regexFindAll regexMatch regexQuoteMeta
regexReplaceAll regexReplaceAllLiteral regexSplit repeat replace rest reverse round rsaDecrypt semver semverCompare seq set
sha1sum sha256sum sha512sum shuffle slice snakecase sortAlpha split splitList splitn squote sub subf substr swapcase ternary
title toDate toDecimal toJson toPrettyJson toRawJson toString toStrings toYaml trim trimAll trimPrefix trimSuffix trimall
trunc tuple typeIs typeIsLike typeOf uniq unixEpoch unset until untilStep untitle upper urlJoin urlParse urlquery uuidv4
values without wrap wrapWith`

func TestTheFunctionsAreExactlyThese(t *testing.T) {
	got := slices.Sorted(maps.Keys(functions()))
	if d := cmp.Diff(strings.Fields(exactly), got); d != "" {
		t.Error(d)
	}
}

func TestEveryFunctionRunsSomething(t *testing.T) {
	operators := strings.Fields("and call eq ge gt le len lt ne not or")
	for name, f := range functions() {
		if (f.fn != nil || f.make != nil) == slices.Contains(operators, name) {
			t.Errorf("%s: fn is %T", name, f.fn)
		}
	}
}

func TestWhatReadsTheSurroundingsDoesNotExist(t *testing.T) {
	for name := range sprig.GenericFuncMap() {
		if slices.Contains(strings.Fields(exactly), name) {
			continue
		}
		if _, err := render(t, "{{ "+name+" }}", nil); err == nil || !strings.Contains(err.Error(), "there is no function "+name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, name := range []string{"env", "expandenv", "getHostByName", "getSecretKey", "lookup", "_tick", "_print"} {
		if _, ok := functions()[name]; ok {
			t.Errorf("there is a function %s", name)
		}
	}
}

const (
	mark       = "canary-3f1c"
	markNumber = 7316508421
)

// canaries are marked values of each type that a parameter can have.
func canaries() map[string]any {
	return map[string]any{
		"s": mark, "b": "%" + mark + "[(*", "n": markNumber, "neg": -markNumber, "m": map[string]any{mark: mark, "k": mark},
		"l": []any{mark, markNumber}, "ls": []string{mark}, "f": 7316508421.5, "bool": true, "p": "-----BEGIN " + mark + "-----",
		"mm": map[string]map[string]string{mark: {mark: mark}}, "i": int64(markNumber), "j": `{"kty":"` + mark + `","n":"` + mark + `"}`,
		"t": time.Unix(markNumber, 0), "y": "a: [" + mark + "\n&" + mark, "u": "http://" + mark + ":x y@%zz/" + mark,
		"pem": "-----BEGIN CERTIFICATE-----\nY2FuYXJ5LTNmMWM=\n-----END CERTIFICATE-----\n", "colon": mark + ":" + mark,
		"key": "-----BEGIN RSA PRIVATE KEY-----\nY2FuYXJ5LTNmMWM=\n-----END RSA PRIVATE KEY-----\n",
	}
}

func TestNoErrorHoldsData(t *testing.T) {
	e := newEngine(t, Options{Timeout: time.Hour})
	failed := map[string]bool{}
	for name, f := range functions() {
		for _, text := range calls(name, f) {
			_, err := e.Render(t.Context(), "x", text, canaries())
			if err == nil {
				continue
			}
			failed[name] = true
			if !strings.Contains(err.Error(), name) {
				t.Errorf("%s: the error does not name the function: %v", text, err)
			}
			assertUnmarked(t, text, err)
		}
	}
	if len(failed) < 180 {
		t.Errorf("only %d functions failed: this test sees too little", len(failed))
	}
}

// calls returns calls of a function with every marked value in every position,
// and also values of the right type in all the others.
func calls(name string, f function) []string {
	params := []string{".s", ".s"}
	if fn := f.fn; fn != nil {
		params = nil
		for p := range reflect.TypeOf(fn).Ins() {
			params = append(params, fitting(p))
		}
	}
	var out []string
	for i := range params {
		for _, value := range slices.Sorted(maps.Keys(canaries())) {
			args := slices.Clone(params)
			args[i] = "." + value
			out = append(out, fmt.Sprintf("{{ %s %s }}", name, strings.Join(args, " ")),
				fmt.Sprintf("{{ %s | %s %s }}", args[len(args)-1], name, strings.Join(args[:len(args)-1], " ")))
		}
	}
	if f.heavy > 4 || strings.Contains("bcrypt htpasswd", name) { // slow where it succeeds
		out = out[:min(len(out), 12)]
	}
	return out
}

func fitting(p reflect.Type) string {
	switch p.Kind() {
	case reflect.Int, reflect.Int64, reflect.Uint32, reflect.Float64:
		return "2"
	case reflect.Bool:
		return "true"
	case reflect.Map:
		return ".m"
	case reflect.Slice:
		if p.Elem().Kind() == reflect.Map {
			return ".m"
		}
		return ".l"
	case reflect.Struct:
		return ".t"
	}
	return ".s"
}

func TestNoErrorHoldsDataOutsideFunctions(t *testing.T) {
	for _, text := range []string{
		`{{ range .s }}{{ end }}`, `{{ range .f }}{{ end }}`, `{{ .s.x }}`, `{{ .m.x.y }}`, `{{ (index .l 0).x }}`, `{{ .n.x }}`,
		`{{ range $a, $b := .n }}{{ end }}`, `{{ eq .m .l }}`, `{{ lt .s .n }}`, `{{ call .s }}`, `{{ .s .n }}`, `{{ .t.Format }}`,
		`{{ .t.GobEncode .s }}`, `{{ .t.In .s }}`, `{{ template "x" .s }}`, `{{ (semver "1.2.3").SetPrerelease .b }}`, `{{ len .n }}`,
		`{{ .t.AppendFormat .s .s }}`, `{{ slice .l 5 9 }}`, `{{ index .l .n }}`, `{{ index .s .n }}`, `{{ fail .s }}`, `{{ .s | fail }}`,
		`{{ htpasswd .colon .s "sha" }}`, `{{ htpasswd .s (repeat 9 .s) "" }}`, `{{ bcrypt (repeat 9 .s) }}`,
		`{{ fail (printf "%s" .s) }}`, `{{ print "` + mark + `" | fail }}`, `{{ b64dec "` + mark + `" }}`, `{{ "` + mark + `" | nope }}`,
		"{{ `" + mark + "` | upper 1 2 }}", `{{ 7316508421 | b64dec }}`, `{{ "` + mark + `" "x" }}`, `{{ '` + mark + `' }}`, `{{ 1` + mark + ` }}`,
		`{{ "` + mark + ` }}`, `{{define "` + mark + `"}}x{{end}}{{define "` + mark + `"}}y{{end}}`, `{{ "a"."` + mark + `" }}`,
	} {
		_, err := render(t, text, canaries())
		if err == nil {
			t.Errorf("%s: no error", text)
			continue
		}
		assertUnmarked(t, text, err)
	}
	e := newEngine(t, Options{})
	for _, text := range []string{`- {{ .s }}`, `{{ .s }}`, `a: [{{ .s }}`, "a: {b: {{ .s }} }", "a: &x {{ .s }}\nb: [*x, *{{ .s }}]"} {
		_, err := e.KeysAndValues(t.Context(), "x", text, canaries())
		if err == nil {
			t.Errorf("%s: no error", text)
			continue
		}
		assertUnmarked(t, text, err)
	}
}

// assertUnmarked looks through everything that an error can say, also to whoever
// unwraps it.
func assertUnmarked(t *testing.T, text string, err error) {
	t.Helper()
	for queue := []error{err}; len(queue) > 0; queue = queue[1:] {
		said := fmt.Sprintf("%v %+v %#v %q", queue[0], queue[0], queue[0], queue[0])
		if strings.Contains(said, mark) || strings.Contains(said, "7316508421") || strings.Contains(said, "\n") {
			t.Errorf("%s: the error says %s", text, said)
		}
		//nolint:errorlint // it is this that walks the chain
		switch u := queue[0].(type) {
		case interface{ Unwrap() error }:
			queue = append(queue, u.Unwrap())
		case interface{ Unwrap() []error }:
			queue = append(queue, u.Unwrap()...)
		}
	}
	if !errors.Is(err, secret.Invalid) {
		t.Errorf("%s: %v is not Invalid", text, err)
	}
}

var update = flag.Bool("update", false, "write the generated part of the guide")

const guide = "../docs/guide/templates.md"

func TestTheGuideListsTheFunctions(t *testing.T) {
	text, err := os.ReadFile(guide)
	if err != nil {
		t.Fatal(err)
	}
	const from, to = "<!-- functions: go test ./template -update -->\n", "<!-- end of functions -->"
	head, rest, ok := bytes.Cut(text, []byte(from))
	_, tail, ok2 := bytes.Cut(rest, []byte(to))
	if !ok || !ok2 {
		t.Fatal("the guide has no place for the functions")
	}
	var table strings.Builder
	table.WriteString("| | functions |\n|---|---|\n")
	for _, g := range allowed() {
		names := strings.Fields(g.names)
		slices.Sort(names)
		fmt.Fprintf(&table, "| %s | `%s` |\n", g.title, strings.Join(names, "` `"))
	}
	want := slices.Concat(head, []byte(from), []byte(table.String()), []byte(to), tail)
	if *update {
		if err := os.WriteFile(guide, want, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if d := cmp.Diff(string(want), string(text)); d != "" {
		t.Errorf("run: go test ./template -update\n%s", d)
	}
}
