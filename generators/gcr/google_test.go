package gcr

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/keyferry/keyferry/provider/providertest"
)

// google is what of Google Cloud makes tokens, and an issuer of tokens elsewhere. A
// token says whose it is, and how it came about.
type google struct {
	clock *providertest.Clock
	key   *rsa.PublicKey

	mu   sync.Mutex
	made int
}

func (g *google) hosts() map[string]http.Handler {
	return map[string]http.Handler{
		"oauth2.googleapis.com":         http.HandlerFunc(g.login),
		"tokens.google.example.com":     http.HandlerFunc(g.login),
		"securetoken.googleapis.com":    http.HandlerFunc(g.bind),
		"sts.googleapis.com":            http.HandlerFunc(g.exchange),
		"iamcredentials.googleapis.com": http.HandlerFunc(g.impersonate),
		"tokens.example.com":            http.HandlerFunc(issue),
	}
}

// pair makes the key that is good and the one that is wrong, once for all tests.
var pair = sync.OnceValues(func() ([2]*rsa.PrivateKey, error) {
	good, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return [2]*rsa.PrivateKey{}, err
	}
	wrong, err := rsa.GenerateKey(rand.Reader, 2048)
	return [2]*rsa.PrivateKey{good, wrong}, err
})

// keys returns files of keys, one that is good among them.
func (g *google) keys(t *testing.T) map[string]string {
	t.Helper()
	files := map[string]string{"text": providertest.Mark, "user": `{"type":"authorized_user","refresh_token":"` + providertest.Mark + `"}`}
	made, err := pair()
	if err != nil {
		t.Fatal(err)
	}
	for i, name := range []string{"good", "wrong"} {
		key := made[i]
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		text := string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
		file := func(text, address string) string {
			b, _ := json.Marshal(map[string]string{
				"type": "service_account", "client_email": email, "private_key_id": "k1", "private_key": text, "token_uri": address, "project_id": "example",
			})
			return string(b)
		}
		if name == "wrong" {
			files[name] = file(providertest.Mark+"\n"+text, "")
			continue
		}
		g.key = &key.PublicKey
		files[name] = file(text, "https://oauth2.googleapis.com/token")
		files["elsewhere"] = file(text, "https://tokens.google.example.com/token")
		files["plain"] = file(text, "http://tokens.google.example.com/token")
		files["broken"] = file(providertest.Mark, "")
	}
	return files
}

func refuse(w http.ResponseWriter, status int, code string) {
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, `{"error":%q,"error_description":%q}`, code, providertest.Mark)
}

// token makes one.
func (g *google) token(of string) string {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.made++
	return fmt.Sprintf("ya29.of %s %d", of, g.made)
}

func (g *google) answer(w http.ResponseWriter, of string) {
	_ = json.NewEncoder(w).Encode(map[string]any{"access_token": g.token(of), "expires_in": 3600, "token_type": "Bearer"})
}

func (g *google) login(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost || r.URL.Path != "/token" || r.PostFormValue("grant_type") != "urn:ietf:params:oauth:grant-type:jwt-bearer" {
		refuse(w, http.StatusBadRequest, "unsupported_grant_type")
		return
	}
	if !g.trusts(r.PostFormValue("assertion"), "https://"+r.Host+"/token") {
		refuse(w, http.StatusBadRequest, "invalid_grant")
		return
	}
	g.answer(w, email)
}

// trusts checks an assertion as Google does.
func (g *google) trusts(assertion, audience string) bool {
	signed, err := jose.ParseSignedCompact(assertion, []jose.SignatureAlgorithm{jose.RS256})
	if err != nil || signed.Signatures[0].Header.KeyID != "k1" {
		return false
	}
	payload, err := signed.Verify(g.key)
	var c struct {
		Iss, Scope, Aud string
		Iat, Exp        int64
	}
	if err != nil || json.Unmarshal(payload, &c) != nil {
		return false
	}
	now := g.clock.Now().Unix()
	return c.Iss == email && c.Scope == scope && c.Aud == audience && c.Iat == now && c.Exp-c.Iat <= 3600
}

// bind makes tokens of accounts of clusters.
func (g *google) bind(w http.ResponseWriter, r *http.Request) {
	var body map[string]string
	if json.NewDecoder(r.Body).Decode(&body) != nil || r.URL.Path != "/v1/identitybindingtoken" {
		refuse(w, http.StatusBadRequest, "invalid_request")
		return
	}
	if strings.HasSuffix(body["audience"], "/clusters/denied") {
		refuse(w, http.StatusForbidden, "denied")
		return
	}
	form := url.Values{}
	for k, v := range body {
		form.Set(k, v)
	}
	g.trade(w, form, "identitynamespace:")
}

func (g *google) exchange(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost || r.URL.Path != "/v1/token" || r.ParseForm() != nil {
		refuse(w, http.StatusBadRequest, "invalid_request")
		return
	}
	g.trade(w, r.PostForm, "//iam.googleapis.com/")
}

var awsCredential = regexp.MustCompile(`Credential=(\w+)/\d+/([a-z0-9-]+)/sts/aws4_request`)

func (g *google) trade(w http.ResponseWriter, form url.Values, trusted string) {
	subject := form.Get("subject_token")
	if form.Get("subject_token_type") == "urn:ietf:params:aws:token-type:aws4_request" {
		plain, _ := url.QueryUnescape(subject)
		if match := awsCredential.FindStringSubmatch(plain); match != nil {
			subject = match[1] + " in " + match[2]
		}
	} else if form.Get("subject_token_type") != "urn:ietf:params:oauth:token-type:jwt" || !strings.HasPrefix(subject, "token of ") {
		refuse(w, http.StatusUnauthorized, "invalid_token")
		return
	}
	if form.Get("grant_type") != "urn:ietf:params:oauth:grant-type:token-exchange" || form.Get("scope") != scope ||
		form.Get("requested_token_type") != "urn:ietf:params:oauth:token-type:access_token" || !strings.HasPrefix(form.Get("audience"), trusted) {
		refuse(w, http.StatusBadRequest, "invalid_target")
		return
	}
	g.answer(w, "("+form.Get("audience")+" "+subject+")")
}

func (g *google) impersonate(w http.ResponseWriter, r *http.Request) {
	var body struct {
		Scope    []string
		Lifetime string
	}
	name, ok := strings.CutPrefix(strings.TrimSuffix(r.URL.Path, ":generateAccessToken"), "/v1/projects/-/serviceAccounts/")
	err := json.NewDecoder(r.Body).Decode(&body)
	by, isToken := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ya29.of ")
	if !ok || err != nil || !isToken || len(body.Scope) != 1 || body.Scope[0] != scope {
		refuse(w, http.StatusBadRequest, "invalid_request")
		return
	}
	of := name + " by " + by[:strings.LastIndexByte(by, ' ')]
	if body.Lifetime != "" {
		of += " for " + body.Lifetime
	}
	_ = json.NewEncoder(w).Encode(map[string]string{"accessToken": g.token(of), "expireTime": g.clock.Now().Add(time.Hour).Format(time.RFC3339)})
}

// issue is the issuer elsewhere.
func issue(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet || r.URL.Path != "/token" || r.Header.Get("Metadata") != "yes" {
		refuse(w, http.StatusNotFound, "not_found")
		return
	}
	_, _ = fmt.Fprint(w, `{"id_token":"token of elsewhere"}`)
}
