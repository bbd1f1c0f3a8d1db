package httpx

import (
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/secret"
)

func TestBodyLimit(t *testing.T) {
	for name, tc := range map[string]struct {
		size int
		gzip bool
		want secret.Kind
	}{
		"at the limit":                      {size: 1000},
		"past the limit":                    {size: 1001, want: secret.Invalid},
		"far past the limit":                {size: 1 << 20, want: secret.Invalid},
		"small on the wire, large unzipped": {size: 1 << 20, gzip: true, want: secret.Invalid},
		"empty":                             {},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				out := io.Writer(w)
				if tc.gzip {
					w.Header().Set("Content-Encoding", "gzip")
					z := gzip.NewWriter(w)
					defer z.Close()
					out = z
				}
				_, _ = io.WriteString(out, strings.Repeat("x", tc.size))
			})
			body, err := get(t, client(t, newTestClients(t, Unrestricted(), Options{BodyLimit: 1000}), provider.TLS{}), s.URL)
			wantKind(t, err, tc.want)
			if (tc.want != "") != errors.Is(err, ErrTooLarge) {
				t.Errorf("%v cannot be recognised", err)
			}
			if err == nil && len(body) != tc.size {
				t.Errorf("read %d bytes", len(body))
			}
		})
	}
	t.Run("a body of any client is limited", func(t *testing.T) {
		resp := &http.Response{Body: io.NopCloser(strings.NewReader(strings.Repeat("x", DefaultBodyLimit+1)))}
		_, err := ReadBody(resp)
		wantKind(t, err, secret.Invalid)
	})
	t.Run("the error stays", func(t *testing.T) {
		body := limit(io.NopCloser(strings.NewReader("abcd")), 3)
		b, err := io.ReadAll(body)
		if string(b) != "abc" || !errors.Is(err, ErrTooLarge) {
			t.Fatalf("got %q, %v", b, err)
		}
		if n, err := body.Read(make([]byte, 9)); n != 0 || !errors.Is(err, ErrTooLarge) {
			t.Fatalf("got %d, %v", n, err)
		}
	})
}

func TestClassifyRealFailures(t *testing.T) {
	hang := serve(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	garbage := listen(t, func(conn net.Conn) { _, _ = io.WriteString(conn, canary+"\r\n\r\n") })
	cut := listen(t, func(conn net.Conn) {
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"+canary)
	})
	closed := listen(t, func(net.Conn) {})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	refused := "http://" + l.Addr().String()
	_ = l.Close()
	nxdomain := &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		return nil, errors.New(canary)
	}}
	for name, tc := range map[string]struct {
		address string
		cancel  bool
		want    secret.Kind
		in      string
	}{
		"nobody listens":              {address: refused, want: secret.Unavailable, in: "refused"},
		"the context ends":            {address: hang.URL, cancel: true, want: secret.Unavailable, in: hang.Listener.Addr().String()},
		"the answer is no HTTP":       {address: garbage, want: secret.Unavailable, in: garbage},
		"the connection just closes":  {address: closed, want: secret.Unavailable, in: "broke"},
		"the body breaks off":         {address: cut, want: secret.Unavailable, in: "broke"},
		"the name cannot be resolved": {address: "http://nowhere.example", want: secret.Unavailable, in: "http://nowhere.example:80: the name"},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if tc.cancel {
				cancel()
			}
			h := client(t, newTestClients(t, Unrestricted(), Options{Resolver: nxdomain}), provider.TLS{})
			var texts []string
			for range 2 {
				req := request(t, tc.address+"/"+canary+"?token="+canary).WithContext(ctx)
				req.SetBasicAuth("user", canary)
				_, err := do(t, h, req)
				wantKind(t, err, tc.want)
				if !strings.Contains(err.Error(), tc.in) {
					t.Errorf("%q lacks %q", err, tc.in)
				}
				if errors.Is(err, context.Canceled) != tc.cancel {
					t.Errorf("%v does not tell whether the context ended", err)
				}
				texts = append(texts, err.Error())
			}
			if texts[0] != texts[1] {
				t.Errorf("the text changes: %q", texts)
			}
		})
	}
}

// listen serves each connection's first request with what answer writes.
func listen(t *testing.T, answer func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Read(make([]byte, 4096))
			answer(conn)
			_ = conn.Close()
		}
	}()
	return "http://" + l.Addr().String()
}

func TestClassify(t *testing.T) {
	if Classify(nil) != nil {
		t.Error("nil is an error")
	}
	deep := &secret.Error{Kind: secret.Denied, Err: errors.New("x")}
	got := Classify(&url.Error{Op: "Get", URL: "http://h/?" + canary, Err: deep})
	if got == deep || !cmp.Equal(got.Error(), deep.Error()) {
		t.Errorf("got %v, want a copy of %v", got, deep)
	}
	got = Classify(&url.Error{Op: "Get", URL: "://" + canary, Err: context.DeadlineExceeded})
	if got.Kind != secret.Unavailable || !errors.Is(got, context.DeadlineExceeded) || strings.Contains(got.Error(), canary) {
		t.Errorf("got %v", got)
	}
}

func TestOrigin(t *testing.T) {
	for address, want := range map[string]string{
		"https://user:" + canary + "@h.example/" + canary + "?" + canary: "https://h.example:443",
		"http://h.example":       "http://h.example:80",
		"http://[2001:db8::1]/x": "http://[2001:db8::1]:80",
		"https://h:8200":         "https://h:8200",
	} {
		u, err := url.Parse(address)
		if err != nil {
			t.Fatal(err)
		}
		if got := Origin(u); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestStatus(t *testing.T) {
	now := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	for name, tc := range map[string]struct {
		code  int
		retry string
		want  secret.Kind
		wait  time.Duration
	}{
		"200":                             {code: 200},
		"204":                             {code: 204},
		"304":                             {code: 304, want: secret.Invalid},
		"400":                             {code: 400, want: secret.Invalid},
		"401":                             {code: 401, want: secret.Unauthenticated},
		"403":                             {code: 403, want: secret.Denied},
		"404":                             {code: 404, want: secret.NotFound},
		"408":                             {code: 408, want: secret.Unavailable},
		"409":                             {code: 409, want: secret.Conflict},
		"429":                             {code: 429, want: secret.RateLimited},
		"429 with seconds":                {code: 429, retry: "7", want: secret.RateLimited, wait: 7 * time.Second},
		"429 with a date":                 {code: 429, retry: "Wed, 02 Jan 2030 03:05:05 GMT", want: secret.RateLimited, wait: time.Minute},
		"429 with a date that has passed": {code: 429, retry: "Wed, 02 Jan 2030 03:00:00 GMT", want: secret.RateLimited},
		"429 with nonsense":               {code: 429, retry: canary, want: secret.RateLimited},
		"429 with a negative number":      {code: 429, retry: "-5", want: secret.RateLimited},
		"429 for years":                   {code: 429, retry: "2000000000", want: secret.RateLimited, wait: 24 * time.Hour},
		"500":                             {code: 500, want: secret.Unavailable},
		"503 with seconds":                {code: 503, retry: "30", want: secret.Unavailable, wait: 30 * time.Second},
		"a status without a name":         {code: 599, want: secret.Unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			resp := &http.Response{StatusCode: tc.code, Status: canary, Header: http.Header{}}
			resp.Header.Set("Retry-After", tc.retry)
			err := Status(resp, now)
			if tc.want == "" {
				if err != nil {
					t.Fatalf("got %v", err)
				}
				return
			}
			if err == nil || err.Kind != tc.want || err.RetryAfter != tc.wait {
				t.Fatalf("got %+v", err)
			}
			if !strings.Contains(err.Error(), strconv.Itoa(tc.code)) || strings.Contains(err.Error(), canary) {
				t.Errorf("text %q", err)
			}
		})
	}
}
