package restapi_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"

	"github.com/keyferry/keyferry/internal/restapi"
	"github.com/keyferry/keyferry/internal/restapi/resttest"
	"github.com/keyferry/keyferry/provider/providertest"
	"github.com/keyferry/keyferry/secret"
)

const kind = "Test"

// ask sends a request to a handler, and returns what was observed of it.
func ask(t *testing.T, r restapi.Request, handler http.HandlerFunc) ([]providertest.Call, error) {
	t.Helper()
	env := providertest.NewEnv(t)
	w := resttest.NewWorld(t, map[string]http.Handler{"api.example.com": handler})
	c, err := restapi.New(w.Env(env), kind)
	if err != nil {
		t.Fatal(err)
	}
	r.Call, r.Check = "Ask", "spec.field"
	if r.URL, err = url.Parse("https://api.example.com/" + providertest.Mark + "?q=" + providertest.Mark); err != nil {
		t.Fatal(err)
	}
	if r.Method == "" {
		r.Method = http.MethodGet
	}
	err = c.Do(t.Context(), r)
	return env.Calls(), err
}

func TestRequests(t *testing.T) {
	type request struct{ Method, ContentType, Accept, Authorization, Body string }
	cases := map[string]struct {
		r    restapi.Request
		want request
	}{
		"without a body": {restapi.Request{Header: restapi.Header(secret.FromString("t\n"))}, request{"GET", "", "application/json", "Bearer t", ""}},
		"JSON":           {restapi.Request{Method: "POST", JSON: map[string]int{"a": 1}}, request{"POST", "application/json", "application/json", "", `{"a":1}`}},
		"a form":         {restapi.Request{Method: "POST", Form: url.Values{"a": {"b c"}}}, request{"POST", "application/x-www-form-urlencoded", "application/json", "", "a=b+c"}},
		"an answer of another form": {
			restapi.Request{Header: http.Header{"Accept": {"application/vnd.example"}}}, request{"GET", "", "application/vnd.example", "", ""},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			var got request
			var into struct{ V int }
			var raw []byte
			c.r.Into, c.r.Raw = &into, &raw
			calls, err := ask(t, c.r, func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				got = request{r.Method, r.Header.Get("Content-Type"), r.Header.Get("Accept"), r.Header.Get("Authorization"), string(body)}
				_, _ = fmt.Fprint(w, `{"V":7}`)
			})
			if diff := cmp.Diff(c.want, got); diff != "" || err != nil {
				t.Errorf("%v %s", err, diff)
			}
			if into.V != 7 || string(raw) != `{"V":7}` {
				t.Errorf("the answer is %v, %q", into, raw)
			}
			if len(calls) != 1 || calls[0].Name != "Ask" || calls[0].Err != nil {
				t.Errorf("observed %v", calls)
			}
		})
	}
}

func TestAnswers(t *testing.T) {
	limited := http.Header{"X-Ratelimit-Remaining": {"0"}, "X-Ratelimit-Reset": {fmt.Sprint(time.Date(2030, 1, 2, 3, 5, 5, 0, time.UTC).Unix())}}
	cases := map[string]struct {
		r      restapi.Request
		status int
		header http.Header
		body   string
		want   secret.Kind
		wait   time.Duration
	}{
		"good":                                   {restapi.Request{}, 201, nil, "{}", "", 0},
		"good, whatever is in it":                {restapi.Request{}, 200, nil, "<html>", "", 0},
		"a page instead of JSON":                 {restapi.Request{Into: new(struct{})}, 200, nil, "<html>", secret.Unavailable, 0},
		"nothing instead of JSON":                {restapi.Request{Into: new(struct{})}, 204, nil, "", secret.Unavailable, 0},
		"a place that is not there":              {restapi.Request{}, 404, nil, "", secret.Invalid, 0},
		"what may be gone":                       {restapi.Request{MayBeGone: true}, 404, nil, "", secret.NotFound, 0},
		"what is gone for good":                  {restapi.Request{MayBeGone: true}, 410, nil, "", secret.NotFound, 0},
		"a bad request":                          {restapi.Request{}, 400, nil, "", secret.Invalid, 0},
		"a login that is refused as one":         {restapi.Request{Login: true}, 400, nil, "", secret.Unauthenticated, 0},
		"a wrong credential":                     {restapi.Request{}, 401, nil, "", secret.Unauthenticated, 0},
		"a lack of rights":                       {restapi.Request{}, 403, http.Header{"X-Ratelimit-Remaining": {"12"}}, "", secret.Denied, 0},
		"a quota that is used up":                {restapi.Request{}, 403, limited, "", secret.RateLimited, time.Minute},
		"a quota that does not say until when":   {restapi.Request{}, 403, http.Header{"X-Ratelimit-Remaining": {"0"}}, "", secret.RateLimited, 0},
		"a refusal that asks to wait":            {restapi.Request{}, 403, http.Header{"Retry-After": {"30"}}, "", secret.RateLimited, 30 * time.Second},
		"too many requests":                      {restapi.Request{}, 429, http.Header{"Retry-After": {"30"}}, "", secret.RateLimited, 30 * time.Second},
		"a redirect, which is not followed":      {restapi.Request{}, 302, http.Header{"Location": {"https://evil.example.com"}}, "", secret.Invalid, 0},
		"a service that is down for a while now": {restapi.Request{}, 503, nil, "", secret.Unavailable, 0},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			calls, err := ask(t, c.r, func(w http.ResponseWriter, _ *http.Request) {
				maps.Copy(w.Header(), c.header)
				w.WriteHeader(c.status)
				if c.status != http.StatusNoContent {
					_, _ = fmt.Fprint(w, c.body+providertest.Mark)
				}
			})
			if secret.KindOf(err) != c.want || secret.RetryAfterOf(err) != c.wait {
				t.Fatalf("got %v, wait %v", err, secret.RetryAfterOf(err))
			}
			counted := c.want
			if c.want == secret.NotFound {
				counted = ""
			}
			if len(calls) != 1 || secret.KindOf(calls[0].Err) != counted {
				t.Errorf("observed %v", calls)
			}
			if err != nil {
				checkText(t, err.Error())
			}
		})
	}
}

func checkText(t *testing.T, text string) {
	t.Helper()
	for _, want := range []string{kind + " Ask", "https://api.example.com:443", "check spec.field"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q lacks %q", text, want)
		}
	}
	if strings.Contains(text, providertest.Mark) || strings.Contains(text, "evil") {
		t.Errorf("%q holds what it must not", text)
	}
}

func TestEndpoint(t *testing.T) {
	for address, want := range map[string]string{
		"https://api.example.com":            "https://api.example.com/x",
		" http://api.example.com:8080/base/": "http://api.example.com:8080/base/x",
		"https://[fd00::1]:443":              "https://[fd00::1]:443/x",
		"api.example.com":                    "",
		"ftp://api.example.com":              "",
		"https://":                           "",
		"https://:443":                       "",
		"https://user:pw@api.example.com":    "",
		"https://api.example.com?a=b":        "",
		"https://api.example.com/#top":       "",
		"https://api.example.com/%zz":        "",
		"":                                   "",
	} {
		u, err := restapi.Endpoint(kind, "spec.url", address)
		if want == "" {
			if secret.KindOf(err) != secret.Invalid || !strings.Contains(err.Error(), "spec.url") || strings.Contains(err.Error(), "pw") {
				t.Errorf("%q: %v, %v", address, u, err)
			}
			continue
		}
		if err != nil || u.JoinPath("x").String() != want {
			t.Errorf("%q: %v, %v", address, u, err)
		}
	}
}

func TestSegmentsStayOne(t *testing.T) {
	base, err := restapi.Endpoint(kind, "spec.url", "https://api.example.com/v4")
	if err != nil {
		t.Fatal(err)
	}
	for in, want := range map[string]string{
		"42": "42", "group/project": "group%2Fproject", "..": "%2E%2E", ".": "%2E", "../../user": "..%2F..%2Fuser", "a b?c#d": "a%20b%3Fc%23d",
	} {
		if got := base.JoinPath("projects", restapi.Segment(in), "x").String(); got != "https://api.example.com/v4/projects/"+want+"/x" {
			t.Errorf("%q becomes %s", in, got)
		}
	}
}

func TestUndoOutlivesTheCall(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	restapi.Undo(ctx, func(ctx context.Context) error {
		if _, limited := ctx.Deadline(); ctx.Err() != nil || !limited {
			t.Errorf("the context: %v, a limit: %v", ctx.Err(), limited)
		}
		return errors.New("it does not matter")
	})
}

func encode(t *testing.T, name string, der []byte, err error) secret.Value {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return secret.New(pem.EncodeToMemory(&pem.Block{Type: name, Bytes: der}))
}

func TestSign(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	for name, text := range map[string]secret.Value{
		"PKCS #1": encode(t, "RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(key), nil),
		"PKCS #8": encode(t, "PRIVATE KEY", pkcs8, err),
	} {
		token, err := restapi.Sign(text, "k1", map[string]any{"exp": 1_900_000_000})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		signed, err := jose.ParseSignedCompact(string(token.Reveal()), []jose.SignatureAlgorithm{jose.RS256})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		payload, err := signed.Verify(&key.PublicKey)
		header := signed.Signatures[0].Header
		if err != nil || string(payload) != `{"exp":1900000000}` || header.KeyID != "k1" || header.ExtraHeaders["typ"] != "JWT" {
			t.Errorf("%s: %s, %v, %v", name, payload, header, err)
		}
		if at, ok := restapi.Expiry(token); !ok || at.Unix() != 1_900_000_000 {
			t.Errorf("%s: ends %v, %v", name, at, ok)
		}
	}
}

func TestKeysThatAreNoneForRS256(t *testing.T) {
	short, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	other, err := x509.MarshalPKCS8PrivateKey(curve)
	for name, text := range map[string]secret.Value{
		"short":         encode(t, "RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(short), nil),
		"of a curve":    encode(t, "PRIVATE KEY", other, err),
		"no key in PEM": encode(t, "PRIVATE KEY", []byte(providertest.Mark), nil),
		"no PEM":        secret.FromString(providertest.Mark),
		"empty":         {},
	} {
		token, err := restapi.Sign(text, "", nil)
		if !errors.Is(err, secret.Unauthenticated) || token.Len() > 0 || strings.Contains(err.Error(), providertest.Mark) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestExpiry(t *testing.T) {
	for name, c := range map[string]struct {
		token string
		want  int64
	}{
		"a number":       {resttest.JWT(map[string]any{"exp": 1_900_000_000}), 1_900_000_000},
		"with decimals":  {resttest.JWT(map[string]any{"exp": 1_900_000_000.75}), 1_900_000_000},
		"none":           {resttest.JWT(nil), 0},
		"text":           {resttest.JWT(map[string]any{"exp": "1900000000"}), 0},
		"negative":       {resttest.JWT(map[string]any{"exp": -1}), 0},
		"beyond reason":  {resttest.JWT(map[string]any{"exp": json.Number("1e300")}), 0},
		"no JWT":         {"text", 0},
		"no JSON in it":  {"a.b.c", 0},
		"no base64":      {"a.!.c", 0},
		"nothing at all": {"", 0},
	} {
		at, ok := restapi.Expiry(secret.FromString(c.token))
		if ok != (c.want != 0) || ok && at.Unix() != c.want {
			t.Errorf("%s: %v, %v", name, at, ok)
		}
	}
}

func TestErrorsOfFields(t *testing.T) {
	cause := &secret.Error{Kind: secret.Denied, Op: "open", Err: errors.New("cause")}
	at := restapi.AtField(kind, "spec.field", cause)
	if secret.KindOf(at) != secret.Denied || at.Error() != "Denied: Test open: spec.field: cause" || !errors.Is(at, cause.Err) || cause.Provider != "" {
		t.Errorf("got %v, from %v", at, cause)
	}
	if err := restapi.AtField(kind, "spec.field", nil); err != nil {
		t.Errorf("of nothing comes %v", err)
	}
	if err := restapi.Fail(kind, "connect", context.Canceled); secret.KindOf(err) != secret.Unavailable || !strings.Contains(err.Error(), "Test connect") {
		t.Errorf("got %v", err)
	}
	if err := restapi.Refused(kind, "spec.field", "is wrong"); secret.KindOf(err) != secret.Unauthenticated || !strings.Contains(err.Error(), "spec.field is wrong") {
		t.Errorf("got %v", err)
	}
}
