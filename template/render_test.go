package template

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keyferry/keyferry/secret"
)

func newEngine(t testing.TB, opts Options) *Engine {
	t.Helper()
	e, err := New(opts)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func render(t testing.TB, text string, data map[string]any) (string, error) {
	t.Helper()
	v, err := newEngine(t, Options{}).Render(t.Context(), "x", text, data)
	if err != nil && !errors.Is(err, secret.Invalid) {
		t.Errorf("the error is not Invalid: %v", err)
	}
	return string(v.Reveal()), err
}

type renderCase struct{ text, want string }

func runRenderCases(t *testing.T, tests map[string]renderCase) {
	t.Helper()
	data := map[string]any{
		"empty": "", "user": "ada", "pw": "a:b", "json": `{"foo":"bar","m":5,"list":[1,2]}`, "yaml": "a: 1\nb: [x, z]",
		"m3": map[string]map[string]string{"a": {"b": "c"}}, "u": uint(1), "b64": "aGk=", "hex": "6869", "dash-ed": "d", "lines": "a\nb",
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := render(t, tt.text, data)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestRender(t *testing.T) {
	runRenderCases(t, map[string]renderCase{
		"an empty template is an empty value":       {"", ""},
		"text without actions stays as it is":       {"plain }} text\n", "plain }} text\n"},
		"b64dec decodes":                            {`{{ .b64 | b64dec }}`, "hi"},
		"b64dec twice through a pipeline":           {`{{ .b64 | b64enc | b64dec | b64dec }}`, "hi"},
		"b32 there and back":                        {`{{ .user | b32enc | b32dec }}`, "ada"},
		"hexdec decodes":                            {`{{ .hex | hexdec }}`, "hi"},
		"fromJson gives fields":                     {`{{ (.json | fromJson).foo }}`, "bar"},
		"fromJson and toJson":                       {`{{ .json | fromJson | toJson }}`, `{"foo":"bar","list":[1,2],"m":5}`},
		"fromJson and toYaml":                       {`{{ .json | fromJson | toYaml }}`, "foo: bar\nlist:\n- 1\n- 2\nm: 5"},
		"fromYaml and toJson":                       {`{{ .yaml | fromYaml | toJson }}`, `{"a":1,"b":["x","z"]}`},
		"fromJson of something else is nothing":     {`{{ if fromJson .user }}x{{ else }}no{{ end }}`, "no"},
		"fromYaml says what is wrong under Error":   {`{{ (fromYaml "- a").Error }}`, "the input is not a YAML map"},
		"library functions":                         {`{{ .user | upper | quote | nindent 2 }}`, "\n  \"ADA\""},
		"replace":                                   {`{{ .pw | replace ":" "-" }}`, "a-b"},
		"several lines":                             {"a={{ .user }}\nb={{ .pw }}\n", "a=ada\nb=a:b\n"},
		"index reaches a key with a dash":           {`{{ index . "dash-ed" }}`, "d"},
		"get reaches a key with a dash":             {`{{ get . "dash-ed" }}`, "d"},
		"index of a key that is not there is empty": {`[{{ index . "nope" }}]{{ if eq (index . "nope") "" }}e{{ end }}`, "[]e"},
		"index of a list and a text":                {`{{ index (list "a" "b") 1 }}{{ index "abc" 0 }}{{ index (list (list 5)) 0 0 }}`, "b975"},
		"index of a library map":                    {`{{ index (split "," "a,b") "_1" }}`, "b"},
		"index without an index":                    {`{{ index "a" }}`, "a"},
		"a default for a key that is not there":     {`{{ index . "nope" | default "d" }}`, "d"},
		"keys are in order":                         {`{{ range keys . }}{{ . }},{{ end }}`, "b64,dash-ed,empty,hex,json,lines,m3,pw,u,user,yaml,"},
		"values are in the order of their keys":     {`{{ values (dict "b" 2 "a" 1) }}`, "[1 2]"},
		"range over the data":                       {`{{ range $k, $v := . }}{{ if eq $k "user" }}{{ $v }}{{ end }}{{ end }}`, "ada"},
		"range with else":                           {`{{ range list }}x{{ else }}none{{ end }}`, "none"},
		"range with break and continue":             {`{{ range until 9 }}{{ if eq . 1 }}{{ continue }}{{ end }}{{ if eq . 3 }}{{ break }}{{ end }}{{ . }}{{ end }}`, "02"},
		"with and variables":                        {`{{ $x := "v" }}{{ with .user }}{{ . }}{{ $x }}{{ else }}no{{ end }}`, "adav"},
		"defined templates":                         {`{{ define "q" }}<{{ . }}>{{ end }}{{ template "q" .user }}{{ block "r" .pw }}{{ . }}{{ end }}`, "<ada>a:b"},
		"a loop that calls a template often":        {`{{ define "q" }}.{{ end }}{{ range until 300 }}{{ template "q" }}{{ end }}`, strings.Repeat(".", 300)},
		"methods of values":                         {`{{ (semver "1.2.3").Minor }}`, "2"},
		"print, printf, println":                    {`{{ print 1 2 }}{{ printf "%05d|%-3s|" 42 "a" }}{{ println "x" }}`, "1 200042|a  |x\n"},
		"html, js, urlquery":                        {`{{ html "<" }}{{ js "'" }}{{ urlquery "a b" }}`, `&lt;\'a+b`},
		"and, or, not, len, comparisons":            {`{{ and 1 2 }}{{ or 0 3 }}{{ not true }}{{ len "abc" }}{{ lt 1 2 }}`, "23false3true"},
		"set changes a map":                         {`{{ $d := dict "a" 1 }}{{ $_ := set $d "b" 2 }}{{ $d | toJson }}`, `{"a":1,"b":2}`},
		"a large map may be built in a loop":        {`{{ $d := dict }}{{ range until 20000 }}{{ $_ := set $d (toString .) . }}{{ end }}{{ len $d }}`, "20000"},
		"values of many types":                      {`{{ semver "1.2.3" }}{{ list (semver "1.0.0") .m3 | len }}{{ cat .m3.a (split "," "a") true 1.5 }}{{ kindOf (toDate "2006" "2020") }}`, "1.2.32map[b:c] map[_0:a] true 1.5struct"},
	})
}

func TestRenderWithLibraryFunctions(t *testing.T) {
	runRenderCases(t, map[string]renderCase{
		"a number as an unsigned index":         {`{{ index (list "a" "b") .u }}`, "b"},
		"a missing key of a map of maps":        {`{{ index .m3 "nope" | len }}`, "0"},
		"unset changes a map":                   {`{{ $d := dict "a" 1 "b" 2 }}{{ $_ := unset $d "b" }}{{ $d | toJson }}`, `{"a":1}`},
		"merge keeps what is there":             {`{{ merge (dict "a" 1) (dict "a" 2 "b" (dict "c" 3)) | toJson }}`, `{"a":1,"b":{"c":3}}`},
		"mergeOverwrite does not":               {`{{ mergeOverwrite (dict "a" 1) (dict "a" 2) | toJson }}`, `{"a":2}`},
		"sortAlpha":                             {`{{ sortAlpha (splitList "," "b,a") | join "-" }}`, "a-b"},
		"dig and deepCopy":                      {`{{ dig "a" "b" "none" (deepCopy (dict "a" (dict "b" "x"))) }}`, "x"},
		"htpasswd with sha":                     {`{{ htpasswd "u" "password" "sha" }}`, "u:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g="},
		"htpasswd with bcrypt":                  {`{{ htpasswd "u" "p" "bcrypt" | trunc 9 }}`, "u:$2a$10$"},
		"bcrypt":                                {`{{ bcrypt "p" | trunc 4 }}`, "$2a$"},
		"derivePassword":                        {`{{ derivePassword 1 "long" "password" "user" "example.com" }}`, "ZedaFaxcZaso9*"},
		"encryptAES and decryptAES":             {`{{ encryptAES "k" "text" | decryptAES "k" }}`, "text"},
		"regular expressions":                   {`{{ regexReplaceAll "a(.)" "abac" "<${1}>" }}{{ regexFindAll "[a-z]" "1a2b" -1 }}{{ regexSplit "," "x,y" -1 | len }}`, "<b><c>[a b]2"},
		"a wrong expression matches nothing":    {`{{ regexMatch "(" "x" }}`, "false"},
		"dates in a zone":                       {`{{ dateInZone "15:04" (int64 0) "Europe/Berlin" }}{{ htmlDateInZone (int64 0) "UTC" }}`, "01:001970-01-01"},
		"a zone that is a path is UTC":          {`{{ date_in_zone "15:04" (int64 0) "../../etc/passwd" }}`, "00:00"},
		"until, untilStep, seq":                 {`{{ until 3 }}{{ untilStep 0 6 2 }}{{ seq 3 }}|{{ seq 1 2 }}|{{ seq 0 2 4 }}{{ seq }}`, "[0 1 2][0 2 4]1 2 3|1 2|0 2 4"},
		"chunk, uniq, without":                  {`{{ chunk 2 (list 1 2 3) }}{{ uniq (list 1 1 2) }}{{ without (list 1 2) 1 }}`, "[[1 2] [3]][1 2][2]"},
		"wrapWith and indent":                   {`{{ wrapWith 2 "-" "abcd" }}{{ indent 1 .lines }}`, "ab-cd a\n b"},
		"urlParse and urlJoin":                  {`{{ (urlParse "https://u:p@h/x?q=1").userinfo }}{{ urlJoin (dict "scheme" "https" "host" "h") }}`, "u:phttps://h"},
		"printing a map with []byte-like texts": {`{{ dict "a" (list "x" 1 true) }}`, "map[a:[x 1 true]]"},
		"an action that only trims":             {"a {{- /* note */ -}} b", "ab"},
		"a key may be tested before it is used": {`{{ if hasKey . "nope" }}{{ .nope }}{{ else }}-{{ end }}`, "-"},
		"randomness has the right length":       {`{{ randAlphaNum 12 | len }}{{ randBytes 3 | b64dec | len }}{{ uuidv4 | len }}`, "12336"},
		"numbers with a decimal point":          {`{{ addf 0.1 0.2 }} {{ divf 1 4 }}`, "0.3 0.25"},
		"nothing printed by an assignment":      {`{{ $x := fromJson "bad" }}ok`, "ok"},
		"semverCompare":                         {`{{ semverCompare "^1.2" "1.3.0" }}`, "true"},
		"toRawJson keeps what toJson escapes":   {`{{ toJson "<" }}{{ toRawJson "<" }}`, "\"\\u003c\"\"<\""},
		"a width and a star in printf":          {`{{ printf "%*d|%[1]d" 4 7 }}`, "   7|4"},
		"randInt within its bounds":             {`{{ randInt 5 6 }}`, "5"},
		"split and splitn":                      {`{{ (split "." "a.b")._1 }}{{ (splitn "." 2 "a.b.c")._1 }}`, "bb.c"},
		"a ternary and coalesce":                {`{{ ternary "y" "n" true }}{{ coalesce "" "z" }}`, "yz"},
		"a chain on a call in parentheses":      {`{{ (dict "a" (dict "b" "deep")).a.b }}`, "deep"},
		"unixEpoch of a date":                   {`{{ toDate "2006-01-02" "1970-01-02" | unixEpoch | len | lt 3 }}`, "true"},
		"hello":                                 {`{{ hello }}`, "Hello!"},
		"joining with a separator":              {`{{ join ", " (list "a" "b") }}`, "a, b"},
		"repeat":                                {`{{ repeat 3 "ab" }}`, "ababab"},
		"genPrivateKey":                         {`{{ genPrivateKey "ed25519" | trunc 27 }}`, "-----BEGIN PRIVATE KEY-----"},
	})
}

func runErrorCases(t *testing.T, tests map[string]renderCase) {
	t.Helper()
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := render(t, tt.text, map[string]any{"s": "s3cr3t-value"})
			if err == nil {
				t.Fatal("no error")
			}
			said := err.Error()
			if !strings.Contains(said, tt.want) || strings.Contains(said, "s3cr3t") || strings.HasSuffix(said, " ") || strings.Contains(said, "\n") {
				t.Errorf("got %q, want it to say %q", said, tt.want)
			}
		})
	}
}

func TestErrorsSayWhereAndWhy(t *testing.T) {
	runErrorCases(t, map[string]renderCase{
		"unknown key":          {"a\n  {{ .nope }}", "line 2, column 6: the data has no such key, in .nope"},
		"not base64":           {`{{ "bam!" | b64dec }}`, "line 1, column 13: b64dec: the input is not base64, in … | b64dec"},
		"not hexadecimal":      {`{{ hexdec "zz" }}`, "hexdec: the input is not hexadecimal, in hexdec …"},
		"no value to print":    {`{{ fromJson "bad" }}`, "there is no value to print"},
		"function not there":   {`{{ env "HOME" }}`, "line 1: there is no function env"},
		"variable not there":   {"\n{{ $x }}", "line 2: there is no variable $x"},
		"block not closed":     {`{{ if .a }}`, "line 1: an {{if}}"},
		"action not closed":    {`{{ .a`, "is not closed"},
		"end of nothing":       {`{{ end }}`, "an {{end}} closes nothing"},
		"else of nothing":      {`{{ else }}`, "an {{else}} belongs to nothing"},
		"text not closed":      {`{{ "a }}`, "a quoted text is not closed"},
		"no value":             {`{{ if }}{{ end }}`, "has no value"},
		"syntax":               {`{{ #x }}`, "not valid template syntax"},
		"twice":                {`{{define "a"}}x{{end}}{{define "a"}}y{{end}}`, "defined twice"},
		"field of a text":      {`{{ .s.x }}`, "the value has no such field, in .s.x"},
		"too few arguments":    {`{{ upper }}`, "wrong number of arguments, in upper"},
		"wrong type":           {`{{ upper (list 1) }}`, "an argument has the wrong type, in upper (list …)"},
		"template not there":   {`{{ template "x" . }}`, "it calls a template that is not defined, in template … ."},
		"range over a text":    {`{{ range .s.t }}{{ end }}`, "the value has no such field, in .s.t"},
		"division by zero":     {`{{ div 1 0 }}`, "div: division by zero"},
		"colon in a user name": {`{{ htpasswd "a:b" "c" "sha" }}`, "the user name must not hold a colon"},
		"htpasswd of two":      {`{{ htpasswd "a" "b" }}`, "wrong number of arguments"},
		"password too long":    {`{{ bcrypt (repeat 80 "x") }}`, "more than 72 bytes"},
	})
}

func TestErrorsOfFunctionsSayWhereAndWhy(t *testing.T) {
	runErrorCases(t, map[string]renderCase{
		"kind of password":             {`{{ derivePassword 1 "xx" "a" "b" "c" }}`, "the kind of password is none of maximum, long"},
		"kind of key":                  {`{{ genPrivateKey "xx" }}`, "the kind of key is none of rsa, dsa"},
		"literal fail":                 {`{{ fail "no \"user\" given" }}`, `fail: "no \"user\" given"`},
		"piped literal fail":           {`{{ "give a user" | fail }}`, `fail: "give a user"`},
		"computed fail":                {`{{ fail .s }}`, "the message is not shown"},
		"invalid expression":           {`{{ regexFind "(" "x" }}`, "regexFind: not a valid regular expression"},
		"invalid expression, all":      {`{{ regexFindAll "(" "x" -1 }}`, "regexFindAll: not a valid regular expression"},
		"index of nothing":             {`{{ index nil 1 }}`, "in index nil …"},
		"index beyond":                 {`{{ index (list 1) 5 }}`, "index: no such element"},
		"index negative":               {`{{ index (list 1) -1 }}`, "index: no such element"},
		"index of a number":            {`{{ index 5 1 }}`, "index: not a list or a map"},
		"index by a wrong key":         {`{{ index (dict "a" 1) 5 }}`, "index: a key of the wrong type"},
		"chunk of nothing":             {`{{ chunk 0 (list 1) }}`, "the size of a chunk must be at least 1"},
		"negative repeat":              {`{{ repeat -1 "x" }}`, "the count must not be negative"},
		"maps that do not fit":         {`{{ merge (dict "a" 1) "x" }}`, "wrong type"},
		"a field after call":           {`{{ (dict "a" 1).b }}`, "the data has no such key, in (dict … …).b"},
		"arguments to a field":         {`{{ .s 1 }}`, "arguments are given to a field"},
		"in a condition":               {`{{ if true }}{{ else if b64dec "!" }}{{ end }}{{ if b64dec "!" }}{{ end }}`, "line 1, column 53: b64dec"},
		"in a with":                    {`{{ with b64dec "!" }}{{ end }}`, "in b64dec …"},
		"in a template argument":       {`{{ define "a" }}{{ end }}{{ template "a" (b64dec "!") }}`, "in template … (b64dec …)"},
		"in a definition":              {"{{ define \"a\" }}\n{{ .x }}{{ end }}{{ template \"a\" . }}", "line 2, column 4: the data has no such key, in .x"},
		"a method that fails":          {`{{ (semver "1.2.3").SetPrerelease "%%" }}`, "a function or method failed"},
		"division of decimals by zero": {`{{ toJson (divf 1 0) }}`, "divf: the arguments must be numbers"},
	})
}

func TestBounds(t *testing.T) {
	tests := map[string]struct{ text, want string }{
		"repeat":                            {`{{ repeat 1000000 "xxxxxxxxxx" }}`, "repeat: the result is larger"},
		"appending in a loop":               {`{{ $l := list }}{{ range until 9000 }}{{ $l = append $l . }}{{ end }}`, "append: its functions handle more data"},
		"doubling":                          {`{{ $x := "0123456789" }}{{ range until 64 }}{{ $x = print $x $x }}{{ end }}`, "larger than"},
		"many large values":                 {`{{ $s := repeat 4000000 "x" }}{{ range until 100 }}{{ $_ := upper $s }}{{ end }}`, "handle more data than"},
		"output":                            {`{{ range until 100000 }}0123456789abcdef{{ end }}`, "the output is larger than 1048576 bytes"},
		"output by printing":                {`{{ repeat 2000000 "x" }}`, "the output is larger than"},
		"until":                             {`{{ until 2000000 }}`, "until: more than 100000 numbers"},
		"untilStep that would overflow":     {`{{ untilStep 9223372036854775806 9223372036854775807 10 }}`, "a number is too large"},
		"seq":                               {`{{ seq 1 1 2000000 }}{{ seq 2000000 }}`, "seq: more than 100000 numbers"},
		"seq of two":                        {`{{ seq 1 2000000 }}`, "seq: more than 100000 numbers"},
		"nested loops":                      {`{{ range 100000 }}{{ range 100000 }}{{ end }}{{ end }}`, "more than 250000 loop iterations"},
		"a loop over a number":              {`{{ range 9000000000 }}{{ end }}`, "more than 250000 loop iterations"},
		"recursion":                         {`{{ define "a" }}{{ template "a" }}{{ end }}{{ template "a" }}`, "templates call each other more than 200 deep"},
		"recursion that fans out":           {`{{ define "a" }}{{ if lt . 150 }}{{ template "a" (add1 .) }}{{ template "a" (add1 .) }}{{ end }}{{ end }}{{ template "a" 0 }}`, "more than 250000 loop iterations"},
		"a map that holds itself":           {`{{ $d := dict }}{{ $_ := set $d "d" $d }}{{ $d }}`, "holds itself"},
		"the same to a function":            {`{{ $d := dict }}{{ $_ := set $d "d" (list $d) }}{{ toJson $d }}`, "holds itself"},
		"a merge into itself":               {`{{ $d := dict "a" (dict) }}{{ $e := merge $d (dict "a" $d) }}{{ $e = merge $d (dict "a" (dict "b" $d)) }}{{ range until 9 }}{{ $e = merge $d $e }}{{ end }}{{ repeat 9000000 "x" }}`, "larger than"},
		"many references":                   {`{{ $d := dict }}{{ range until 60 }}{{ $d = dict "a" $d "b" $d }}{{ end }}{{ $d }}`, "a value is larger"},
		"many references to a list":         {`{{ $d := list }}{{ range until 60 }}{{ $d = list $d $d }}{{ end }}{{ toYaml $d }}`, "a value is larger"},
		"the width of printf":               {`{{ printf "%9000000d" 1 }}`, "printf: the result is larger"},
		"a star in printf":                  {`{{ printf "%*d" 9000000 1 }}`, "printf: the result is larger"},
		"the same argument in printf":       {`{{ $s := repeat 100000 "x" }}{{ printf (repeat 1000 "%[1]s") $s }}`, "printf: the result is larger"},
		"indent":                            {`{{ indent 100000 (repeat 1000 "\n") }}`, "indent: the result is larger"},
		"replace":                           {`{{ replace "a" (repeat 10000 "b") (repeat 10000 "a") }}`, "replace: the result is larger"},
		"wrapWith":                          {`{{ wrapWith 1 (repeat 10000 "b") (repeat 10000 "a") }}`, "wrapWith: the result is larger"},
		"join":                              {`{{ join (repeat 10000 "b") (splitList "" (repeat 10000 "a")) }}`, "join: the result is larger"},
		"splitList":                         {`{{ splitList "" (repeat 200000 "a") | len }}{{ splitList "a" (repeat 200000 "a") }}`, "splitList: more than 100000 parts"},
		"splitn":                            {`{{ splitn "a" -1 (repeat 200000 "a") }}`, "splitn: more than 100000 parts"},
		"uniq":                              {`{{ uniq (until 50000) }}`, "comparisons of elements"},
		"random text":                       {`{{ randAlpha 1000000 }}`, "the random text is larger"},
		"a long regular expression":         {`{{ regexMatch (repeat 5000 "a") "x" }}`, "longer than 4096 bytes"},
		"a large regular expression":        {`{{ regexMatch "((a{30}){30}b{900})" (repeat 1000000 "a") }}`, "too large for this much text"},
		"the matches of an expression":      {`{{ regexFindAll "" (repeat 200000 "a") -1 }}`, "more than 100000 matches"},
		"the replacements of an expression": {`{{ regexReplaceAll "a" (repeat 90000 "a") (repeat 1000 "b") }}`, "regexReplaceAll: the result is larger"},
		"password hashes":                   {`{{ range until 200 }}{{ $_ := rsaDecrypt "None" "" "x" "" }}{{ end }}`, "too many password hashes"},
		"decimal numbers":                   {`{{ mulf ` + strings.Repeat("9 ", 100) + `}}`, "more than 64 numbers"},
		"semver":                            {`{{ semver (repeat 5000 "1") }}`, "semver: the input is larger than 4096"},
		"actions":                           {strings.Repeat("{{if 1}}", 10001), "more than 10000 actions"},
		"text":                              {strings.Repeat("x", 2<<20), "the text of the template is larger"},
		"parentheses":                       {"{{ " + strings.Repeat("(", 20000) + "1", "nested too deep"},
		"a number that is too large":        {`{{ printf "%d" 99999999999999999999 }}`, "too large"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := newEngine(t, Options{Timeout: time.Hour}).Render(t.Context(), "x", tt.text, nil)
			if !errors.Is(err, secret.Invalid) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %.300v, want it to say %q", err, tt.want)
			}
		})
	}
}

func TestContextEndsRendering(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	e := newEngine(t, Options{})
	for name, text := range map[string]string{
		"in a loop":      `{{ range 10 }}{{ end }}`,
		"at a function":  `{{ upper "x" }}`,
		"at a recursion": `{{ define "a" }}{{ template "a" }}{{ end }}{{ template "a" }}`,
	} {
		t.Run(name, func(t *testing.T) {
			_, err := e.Render(ctx, "x", text, nil)
			if !errors.Is(err, context.Canceled) || !errors.Is(err, secret.Unavailable) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestTimeoutEndsRendering(t *testing.T) {
	e := newEngine(t, Options{Timeout: time.Nanosecond})
	_, err := e.Render(t.Context(), "x", `{{ range 999999 }}{{ range 2 }}{{ end }}{{ end }}`, nil)
	if !errors.Is(err, secret.Invalid) || !strings.Contains(err.Error(), "not done after 1ns") {
		t.Errorf("got %v", err)
	}
}
