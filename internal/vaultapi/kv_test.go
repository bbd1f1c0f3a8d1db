package vaultapi

import (
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/keyferry/keyferry/secret"
)

var nameB = regexp.MustCompile("^b$")

func TestNumbersKeepTheirForm(t *testing.T) {
	const data = `{"big":12345678901234567890,"price":1.10,"e":1e400}`
	for name, tc := range map[string]struct {
		kv   int
		body string
	}{
		"KV v1": {kv: 1, body: `{"data":` + data + `}`},
		"KV v2": {kv: 2, body: `{"data":{"data":` + data + `,"metadata":{"version":90071992547409931}}}`},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake()
			f.fault = func(w http.ResponseWriter, _ *http.Request) bool { return raw(w, 200, tc.body) }
			c, _ := openFake(t, f, "", given, func(c *Config) { c.KV = tc.kv })
			got, err := c.Get(t.Context(), secret.Ref{Key: "x"})
			if err != nil {
				t.Fatal(err)
			}
			if string(got.Value.Reveal()) != data {
				t.Errorf("got %s, want %s", got.Value.Reveal(), data)
			}
			if tc.kv == 2 && got.Version != "90071992547409931" {
				t.Errorf("version %q", got.Version)
			}
		})
	}
}

func TestServerAddresses(t *testing.T) {
	for address, good := range map[string]bool{
		"https://vault.test": true, "http://127.0.0.1:8200": true, "https://host/prefix/": true,
		"": false, "vault.test:8200": false, "ftp://vault.test": false, "https://": false,
		"https://user:password@vault.test": false, "https://vault.test?x=1": false, "https://vault.test#x": false,
	} {
		if err := CheckAddress("spec", address, "", nil); (err == nil) != good {
			t.Errorf("%q: %v", address, err)
		} else if err != nil && strings.Contains(err.Error(), "password@") {
			t.Errorf("the error shows the password: %v", err)
		}
	}
}

func TestAServerBelowAPath(t *testing.T) {
	f := newFake()
	f.fault = func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.EscapedPath() != "/prefix/v1/kv/data/a%20b/c%3F" {
			t.Errorf("path %q", r.URL.EscapedPath())
		}
		return raw(w, 404, `{"errors":[]}`)
	}
	c, _ := openFake(t, f, "", given, func(c *Config) { c.Server = "https://vault.test/prefix/" })
	_, err := c.Get(t.Context(), secret.Ref{Key: "a b/c?"})
	wantKind(t, err, secret.NotFound)
}

// FuzzKey holds that a key which a listing gives leads back to what was listed.
func FuzzKey(f *testing.F) {
	for _, name := range []string{"a", "kv/a", "data/a", "kv/data/a", "data/data/kv", "a b/ü/%2e%2e", "deep/kv/x"} {
		f.Add("kv", name)
		f.Add("", name)
		f.Add("data", name)
		f.Add("deep/kv", name)
	}
	f.Fuzz(func(t *testing.T, path, key string) {
		name, err := segments(key)
		mount, mountErr := segments(path)
		if err != nil || mountErr != nil || len(name) == 0 {
			return
		}
		for _, kv := range []int{1, 2} {
			c := &Client{mount: mount, cfg: Config{KV: kv, Spec: "spec"}}
			at := mount
			if len(at) == 0 {
				at = []string{"some"}
			}
			m, n, err := c.locate(c.key(at, name))
			if err != nil || !slices.Equal(m, at) || !slices.Equal(n, name) {
				t.Errorf("KV v%d: %q at %q became %q at %q: %v", kv, name, at, n, m, err)
			}
		}
	})
}
