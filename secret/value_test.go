package secret_test

import (
	"bytes"
	"encoding/gob"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"strings"
	"testing"
	"text/template"

	"github.com/go-logr/logr"
	"github.com/go-logr/zapr"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"sigs.k8s.io/yaml"

	"github.com/keyferry/keyferry/secret"
)

const canary = "hunter2-canary"

type exported struct {
	V secret.Value             `json:"v"        xml:"v"`
	P *secret.Value            `json:"p"        xml:"p"`
	S []secret.Value           `json:"s"        xml:"s"`
	M map[string]*secret.Value `json:"m"        xml:"-"`
}

type unexported struct {
	v      secret.Value
	p      *secret.Value
	s      []secret.Value
	m      map[string]secret.Value
	nested struct{ in exported }
}

// shapes are the ways in which a value may come into something that is printed.
func shapes() map[string]any {
	v := secret.FromString(canary)
	in := exported{V: v, P: &v, S: []secret.Value{v}, M: map[string]*secret.Value{"k": &v}}
	out := unexported{v: v, p: &v, s: in.S, m: map[string]secret.Value{"k": v}}
	out.nested.in = in
	return map[string]any{
		"value": v, "pointer": &v, "slice": in.S, "array": [1]secret.Value{v}, "map": out.m,
		"struct": in, "struct pointer": &in, "hidden in a struct": out, "hidden in a struct pointer": &out,
		"interface": []any{v, in, out}, "secret": secret.Secret{Value: v, Fields: out.m},
		"result": secret.Result{Secret: secret.Secret{Value: v}}, "item": secret.Item{Secret: &secret.Secret{Value: v}},
		"error": fmt.Errorf("about %v", v), "join": errors.Join(fmt.Errorf("%+v", in)),
	}
}

// leaks reports whether text holds the canary, as it is or as bytes in any base.
func leaks(text string) bool {
	list := strings.NewReplacer(" ", "", ",", "", "0x", "", "[", "", "]", "").Replace(text)
	var dec, oct, bin strings.Builder
	for _, b := range []byte(canary) {
		fmt.Fprintf(&dec, "%d", b)
		fmt.Fprintf(&oct, "%o", b)
		fmt.Fprintf(&bin, "%b", b)
	}
	hex := fmt.Sprintf("%x", canary)
	for _, form := range []string{canary, dec.String(), oct.String(), bin.String(), hex, strings.ToUpper(hex), "aHVudGVyMi1jYW5hcnk"} {
		if strings.Contains(text, form) || strings.Contains(list, form) {
			return true
		}
	}
	return false
}

func TestLeaksSeesLeaks(t *testing.T) {
	b := []byte(canary)
	for _, text := range []string{
		fmt.Sprintf("%v", b), fmt.Sprintf("%x", b), fmt.Sprintf("%X", b), fmt.Sprintf("% x", b), fmt.Sprintf("%#v", b), fmt.Sprintf("%o", b),
		fmt.Sprintf("%b", b), fmt.Sprintf("%q", b), fmt.Sprintf("%s", struct{ b []byte }{b}), fmt.Sprintf("%d", &struct{ b []byte }{b}),
	} {
		if !leaks(text) {
			t.Errorf("%s passes", text)
		}
	}
	if data, err := json.Marshal(b); err != nil || !leaks(string(data)) {
		t.Errorf("%s passes", data)
	}
}

func TestNoVerbPrintsAValue(t *testing.T) {
	for name, shape := range shapes() {
		for verb := range strings.SplitSeq("v s q x X d o b c U e f g t T p w", " ") {
			for _, flags := range []string{"", "+", "#", " ", "-20", "020", ".3", "+#"} {
				format := "%" + flags + verb
				if text := fmt.Sprintf(format, shape); leaks(text) {
					t.Errorf("%s of a %s: %s", format, name, text)
				}
			}
		}
		for _, format := range []string{"no verb", "%", "%[3]d", "%*d", "%.*d", "%y", "%d %d"} {
			if text := fmt.Sprintf(format, shape); leaks(text) {
				t.Errorf("%s of a %s: %s", format, name, text)
			}
		}
		for _, text := range []string{fmt.Sprint(shape), fmt.Sprintln("a", shape)} {
			if leaks(text) {
				t.Errorf("%s: %s", name, text)
			}
		}
	}
}

func TestAValuePrintsAsRedacted(t *testing.T) {
	v := secret.FromString(canary)
	for _, text := range []string{v.String(), v.GoString(), fmt.Sprint(v), fmt.Sprint(&v), v.LogValue().String()} {
		if text != secret.Redacted {
			t.Errorf("got %q", text)
		}
	}
	if got, want := fmt.Sprintf("%+v", struct{ V secret.Value }{v}), "{V:[redacted]}"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// loggers are all that may write a value down.
func loggers(w io.Writer) map[string]func(any) {
	core := func(e zapcore.Encoder) *zap.Logger {
		return zap.New(zapcore.NewCore(e, zapcore.AddSync(w), zapcore.DebugLevel))
	}
	handlers := map[string]slog.Handler{"text": slog.NewTextHandler(w, nil), "json": slog.NewJSONHandler(w, nil)}
	out := map[string]func(any){
		"log":   func(v any) { log.New(w, "", 0).Print("it is ", v) },
		"panic": func(v any) { fmt.Fprint(w, caught(v)) },
		"error": func(v any) { fmt.Fprint(w, fmt.Errorf("no use: %v", v)) },
		"secret error": func(v any) {
			fmt.Fprintf(w, "%v %+v", &secret.Error{Kind: secret.Denied, Err: fmt.Errorf("%+v", v)}, secret.Error{Err: fmt.Errorf("%#v", v)})
		},
		"template": func(v any) {
			_ = template.Must(template.New("").Parse(`{{.}} {{printf "%s %#v" . .}} {{html .}} {{print .}}`)).Execute(w, v)
		},
	}
	for name, h := range handlers {
		out["slog "+name] = func(v any) { slog.New(h).With("w", v).WithGroup("g").Info("m", "k", v, "v", slog.AnyValue(v)) }
		out["logr slog "+name] = func(v any) { logr.FromSlogHandler(h).WithValues("w", v).Error(fmt.Errorf("%v", v), "m", "k", v) }
	}
	encoders := map[string]zapcore.Encoder{
		"json":    zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()),
		"console": zapcore.NewConsoleEncoder(zap.NewDevelopmentEncoderConfig()),
	}
	for name, e := range encoders {
		out["zap "+name] = func(v any) { core(e).With(zap.Any("w", v)).Info("m", zap.Any("k", v), zap.Reflect("r", v)) }
		out["zap sugar "+name] = func(v any) { core(e).Sugar().Infow(fmt.Sprint("m", v), "k", v) }
		out["zapr "+name] = func(v any) { zapr.NewLogger(core(e)).WithValues("w", v).Info("m", "k", v) }
	}
	return out
}

func caught(v any) (text string) {
	defer func() { text = fmt.Sprint(recover()) }()
	panic(v)
}

func TestNoLoggerWritesAValue(t *testing.T) {
	var b bytes.Buffer
	for logger, write := range loggers(&b) {
		for name, shape := range shapes() {
			b.Reset()
			write(shape)
			if b.Len() == 0 {
				t.Errorf("%s of a %s wrote nothing", logger, name)
			}
			if leaks(b.String()) {
				t.Errorf("%s of a %s: %s", logger, name, b.String())
			}
		}
	}
}

func TestNoEncoderWritesAValue(t *testing.T) {
	encoders := map[string]func(any) ([]byte, error){
		"json": json.Marshal,
		"yaml": yaml.Marshal,
		"xml":  xml.Marshal,
		"gob": func(v any) ([]byte, error) {
			var b bytes.Buffer
			err := gob.NewEncoder(&b).Encode(v)
			return b.Bytes(), err
		},
		"map key": func(v any) ([]byte, error) { return json.Marshal(map[string]any{fmt.Sprint(v): v}) },
	}
	for encoder, encode := range encoders {
		for name, shape := range shapes() {
			if out, err := encode(shape); leaks(string(out)) || err != nil && leaks(err.Error()) {
				t.Errorf("%s of a %s: %s %v", encoder, name, out, err)
			}
		}
		out, err := encode(exported{V: secret.FromString(canary)})
		if err != nil || !strings.Contains(string(out), secret.Redacted) {
			t.Errorf("%s: %q, %v", encoder, out, err)
		}
	}
}

func TestValue(t *testing.T) {
	from := []byte("abc")
	v := secret.New(from)
	from[0] = 'x'
	if string(v.Reveal()) != "abc" || v.Len() != 3 {
		t.Errorf("a change of what it was made from shows: %q", v.Reveal())
	}
	var zero secret.Value
	if zero.Reveal() != nil || zero.Len() != 0 || fmt.Sprint(zero) != secret.Redacted {
		t.Errorf("the zero value is not empty")
	}
	for _, c := range []struct {
		a, b secret.Value
		want bool
	}{
		{v, secret.FromString("abc"), true},
		{v, secret.FromString("abd"), false},
		{v, secret.FromString("ab"), false},
		{zero, secret.FromString(""), true},
		{zero, secret.New(nil), true},
		{zero, v, false},
	} {
		if c.a.Equal(c.b) != c.want || c.b.Equal(c.a) != c.want {
			t.Errorf("%q and %q: want %v", c.a.Reveal(), c.b.Reveal(), c.want)
		}
	}
}

func reveal(m map[string]secret.Value) map[string]string {
	if m == nil {
		return nil
	}
	out := map[string]string{}
	for k, v := range m {
		out[k] = string(v.Reveal())
	}
	return out
}

func TestObject(t *testing.T) {
	cases := map[string]struct {
		in   string
		want map[string]string
	}{
		"strings lose their quotes": {`{"a":"b\"c"}`, map[string]string{"a": `b"c`}},
		"others keep their form":    {`{"n":1.50,"o":{"x": [1,null]},"t":true,"z":null}`, map[string]string{"n": "1.50", "o": `{"x": [1,null]}`, "t": "true", "z": "null"}},
		"empty":                     {`{}`, map[string]string{}},
		"no object":                 {`["` + canary + `"]`, nil},
		"no JSON":                   {canary, nil},
		"null":                      {`null`, nil},
		"nothing":                   {``, nil},
		"more than one":             {`{"a":"b"} {}`, nil},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := secret.FromString(c.in).Object()
			if diff := cmp.Diff(c.want, reveal(got)); diff != "" {
				t.Error(diff)
			}
			if wrong := c.want == nil; wrong != errors.Is(err, secret.Invalid) || wrong && leaks(err.Error()) {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestWhole(t *testing.T) {
	v := secret.FromString
	cases := map[string]struct {
		in   secret.Secret
		want string
	}{
		"one piece":         {secret.Secret{Value: v("abc")}, "abc"},
		"nothing":           {secret.Secret{}, ""},
		"fields, in order":  {secret.Secret{Fields: map[string]secret.Value{"b": v("2"), "a": v("1")}}, `{"a":"1","b":"2"}`},
		"no fields":         {secret.Secret{Fields: map[string]secret.Value{}}, `{}`},
		"nothing is HTML":   {secret.Secret{Fields: map[string]secret.Value{"a": v("<&>\n")}}, `{"a":"<&>\n"}`},
		"fields come first": {secret.Secret{Value: v("abc"), Fields: map[string]secret.Value{"a": v("1")}}, `{"a":"1"}`},
	}
	for name, c := range cases {
		if got := string(c.in.Whole().Reveal()); got != c.want {
			t.Errorf("%s: got %s, want %s", name, got, c.want)
		}
	}
	if got := secret.Keys(map[string]int{"b": 1, "a": 2}); !cmp.Equal(got, []string{"a", "b"}) {
		t.Errorf("keys: %v", got)
	}
}
