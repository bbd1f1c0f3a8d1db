package template

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"hash"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"
	"software.sslmate.com/src/go-pkcs12"
)

type signed struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func (s signed) pem() string { return encodePEM(pemCertificate, s.cert.Raw) }

func (s signed) keyPEM(t *testing.T) string {
	text, err := privateKeyPEM(s.key)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// issue makes a certificate; by is nil for one that issues itself.
func issue(t *testing.T, name string, isCA bool, by *signed) signed {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: isCA, BasicConstraintsValid: true,
		NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<33, 0), DNSNames: []string{name + ".example", "x.example"},
	}
	parent, signer := c, key
	if by != nil {
		parent, signer = by.cert, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return signed{parsed, key}
}

func testChain(t *testing.T) (leaf, middle, root signed) {
	root = issue(t, "root", true, nil)
	middle = issue(t, "middle", true, &root)
	leaf = issue(t, "leaf", false, &middle)
	return leaf, middle, root
}

func TestFilterPEM(t *testing.T) {
	leaf, middle, _ := testChain(t)
	cert, other, key := leaf.pem(), middle.pem(), leaf.keyPEM(t)
	tests := map[string]struct {
		kind, input, want string
		fails             bool
	}{
		"certificate, certificate first": {"CERTIFICATE", cert + key, cert, false},
		"certificate, key first":         {"CERTIFICATE", key + cert, cert, false},
		"several certificates":           {"certificate", cert + key + other, cert + other, false},
		"key":                            {"PRIVATE KEY", cert + key, key, false},
		"key with text around it":        {"PRIVATE KEY", "text\n" + key + "text\n", key, false},
		"certificate with text between":  {"CERTIFICATE", "a\n" + cert + "b\n" + key + "c\n", cert, false},
		"none of the type":               {"CERTIFICATE", key, "", false},
		"only text":                      {"CERTIFICATE", "---text---", "", true},
		"nothing":                        {"CERTIFICATE", "", "", false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := render(t, `{{ filterPEM .kind .in }}`, map[string]any{"kind": tt.kind, "in": tt.input})
			if got != tt.want || (err != nil) != tt.fails {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
}

func TestFilterCertChain(t *testing.T) {
	leaf, middle, root := testChain(t)
	l, m, r := leaf.pem(), middle.pem(), root.pem()
	alone := issue(t, "alone", false, nil).pem()
	otherRoot := issue(t, "root", true, nil)
	tests := map[string]struct {
		kind, input, want string
		fails             bool
	}{
		"leaf of nothing":                    {"leaf", "", "", true},
		"leaf of a chain with a key":         {"leaf", leaf.keyPEM(t) + l + m + r, l, false},
		"leaf of a leaf":                     {"leaf", l, l, false},
		"leaf of a chain without root":       {"leaf", l + m, l, false},
		"leaf of a chain in any order":       {"leaf", r + m + l, l, false},
		"leaf of a root":                     {"leaf", r, "", false},
		"leaf of a chain":                    {"leaf", l + m + r, l, false},
		"leaf that issues itself":            {"leaf", alone, alone, false},
		"leaf of two leaves":                 {"leaf", l + alone, "", true},
		"leaf of a certificate that is none": {"leaf", encodePEM(pemCertificate, []byte("x")), "", true},
		"leaf with a root of the same name":  {"leaf", l + m + otherRoot.pem(), "", true},
		"intermediate of a leaf":             {"intermediate", l, "", false},
		"intermediate of a chain, no root":   {"intermediate", l + m, m, false},
		"intermediate of a chain":            {"intermediate", r + l + m, m, false},
		"root of a leaf":                     {"root", l, "", false},
		"root of a root":                     {"root", r, r, false},
		"root of one that issues itself":     {"root", alone, alone, false},
		"root of a chain":                    {"root", l + m + r, r, false},
		"another kind":                       {"stem", l, "", true},
		"too many":                           {"leaf", strings.Repeat(l, 1001), "", true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := render(t, `{{ filterCertChain .kind .in }}`, map[string]any{"kind": tt.kind, "in": tt.input})
			if d := cmp.Diff(tt.want, got); d != "" || (err != nil) != tt.fails {
				t.Errorf("%v %s", err, d)
			}
		})
	}
}

func TestCertificatesThatIssueEachOther(t *testing.T) {
	a := &x509.Certificate{RawSubject: []byte("a"), RawIssuer: []byte("b")}
	b := &x509.Certificate{RawSubject: []byte("b"), RawIssuer: []byte("a")}
	leaf := &x509.Certificate{RawSubject: []byte("l"), RawIssuer: []byte("a")}
	for _, certs := range [][]*x509.Certificate{{a, b}, {leaf, a, b, {RawSubject: []byte("b"), RawIssuer: []byte("a")}}} {
		if _, err := chain(certs); err == nil {
			t.Error("no error")
		}
	}
	if ordered, err := chain([]*x509.Certificate{a, leaf, b}); err != nil || ordered[0] != leaf {
		t.Errorf("got %v, %v", ordered, err)
	}
}

func TestCertSANs(t *testing.T) {
	leaf, _, _ := testChain(t)
	data := map[string]any{"c": leaf.pem(), "junk": "junk\n" + leaf.pem(), "both": leaf.keyPEM(t) + leaf.pem(), "bad": "bad"}
	for text, want := range map[string]string{
		`{{ certSANs .c | join "," }}`:                             "leaf.example,x.example",
		`{{ index (certSANs .c) 0 }}`:                              "leaf.example",
		`{{ certSANs .c | toJson }}`:                               `["leaf.example","x.example"]`,
		`{{ .both | filterPEM "CERTIFICATE" | certSANs | first }}`: "leaf.example",
		`{{ certSANs .junk | last }}`:                              "x.example",
	} {
		if got, err := render(t, text, data); err != nil || got != want {
			t.Errorf("%s: got %q, %v", text, got, err)
		}
	}
	for _, text := range []string{`{{ certSANs .bad }}`, `{{ certSANs "" }}`} {
		if _, err := render(t, text, data); err == nil {
			t.Errorf("%s: no error", text)
		}
	}
}

func TestPKCS12(t *testing.T) {
	leaf, middle, root := testChain(t)
	other := issue(t, "other", false, nil)
	encode := func(password string, chain ...*x509.Certificate) string {
		b, err := pkcs12.Modern.Encode(leaf.key, leaf.cert, chain, password)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	data := map[string]any{
		"open": encode("", root.cert, middle.cert), "closed": encode("pw"), "apart": encode("", other.cert, root.cert),
		"b64": base64.StdEncoding.EncodeToString([]byte(encode(""))), "cert": leaf.pem() + middle.pem(), "key": leaf.keyPEM(t),
		"many": cheapBut(t, []byte(encode(""))),
	}
	l, m, r, key := leaf.pem(), middle.pem(), root.pem(), leaf.keyPEM(t)
	for text, want := range map[string]string{
		`{{ pkcs12key .open }}`:                                                  key,
		`{{ .b64 | b64dec | pkcs12key }}`:                                        key,
		`{{ .closed | pkcs12keyPass "pw" }}`:                                     key,
		`{{ pkcs12cert .open }}`:                                                 l + m + r,
		`{{ pkcs12certPass "pw" .closed }}`:                                      l,
		`{{ pkcs12cert .apart }}`:                                                l + other.pem() + r,
		`{{ pemToPkcs12 .cert .key | b64dec | pkcs12cert }}`:                     l,
		`{{ pemToPkcs12Pass .cert .key "p" | b64dec | pkcs12certPass "p" }}`:     l,
		`{{ fullPemToPkcs12 .cert .key | b64dec | pkcs12cert }}`:                 l + m,
		`{{ fullPemToPkcs12Pass .cert .key "p" | b64dec | pkcs12certPass "p" }}`: l + m,
		`{{ fullPemToPkcs12 .cert .key | b64dec | pkcs12key }}`:                  key,
	} {
		if got, err := render(t, text, data); err != nil || got != want {
			t.Errorf("%s: %v %s", text, err, cmp.Diff(want, got))
		}
	}
	for text, want := range map[string]string{
		`{{ pkcs12keyPass "wrong" .closed }}`: "or the password is wrong", `{{ pkcs12certPass "wrong" .closed }}`: "or the password is wrong",
		`{{ pkcs12key .b64 }}`: "decode base64 first", `{{ pkcs12key .many }}`: "more than 1000000 iterations",
		`{{ pemToPkcs12 .key .key }}`: "no certificate", `{{ pemToPkcs12 .cert .cert }}`: "no private key",
		`{{ pemTruststoreToPKCS12 .key }}`: "no certificate",
	} {
		if _, err := render(t, text, data); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want it to say %q", text, err, want)
		}
	}
}

func TestTrustStore(t *testing.T) {
	leaf, middle, _ := testChain(t)
	data := map[string]any{"cert": leaf.pem() + middle.pem()}
	for text, password := range map[string]string{`{{ pemTruststoreToPKCS12 .cert }}`: "", `{{ pemTruststoreToPKCS12Pass .cert "p" }}`: "p"} {
		got, err := render(t, text, data)
		if err != nil {
			t.Fatal(err)
		}
		raw, _ := base64.StdEncoding.DecodeString(got)
		if certs, err := pkcs12.DecodeTrustStore(raw, password); err != nil || len(certs) != 2 {
			t.Errorf("%s: %d certificates, %v", text, len(certs), err)
		}
	}
}

// cheapBut returns the file with 2048 iterations written as 2.1 million.
func cheapBut(t *testing.T, file []byte) string {
	changed := strings.ReplaceAll(string(file), "\x02\x02\x08\x00", "\x02\x02\x7f\xff")
	if !cheap([]byte(changed), 0) || changed == string(file) {
		t.Fatal("the file does not say how many iterations, or 32767 are too many")
	}
	// A salt that takes two bytes less leaves room for a longer number.
	i := strings.Index(changed, "\x02\x02\x7f\xff")
	return changed[:i] + "\x02\x04\x7f\xff\xff\xff" + changed[i+6:]
}

func TestJWK(t *testing.T) {
	rsaKey := rsaTestKey(t)
	leaf := issue(t, "x", false, nil)
	for name, key := range map[string]crypto.Signer{"rsa": rsaKey, "ecdsa": leaf.key} {
		t.Run(name, func(t *testing.T) {
			jwk, err := json.Marshal(jose.JSONWebKey{Key: key})
			if err != nil {
				t.Fatal(err)
			}
			public, err := x509.MarshalPKIXPublicKey(key.Public())
			if err != nil {
				t.Fatal(err)
			}
			private, err := privateKeyPEM(key)
			if err != nil {
				t.Fatal(err)
			}
			data := map[string]any{"jwk": string(jwk)}
			if got, err := render(t, `{{ jwkPublicKeyPem .jwk }}`, data); got != encodePEM(pemPublicKey, public) {
				t.Errorf("public: %q, %v", got, err)
			}
			if got, err := render(t, `{{ jwkPrivateKeyPem .jwk }}`, data); got != private {
				t.Errorf("private: %v", err)
			}
		})
	}
	symmetric := map[string]any{"jwk": `{"kty":"oct","k":"AAAA"}`}
	for _, text := range []string{`{{ jwkPublicKeyPem .jwk }}`, `{{ jwkPrivateKeyPem .jwk }}`, `{{ jwkPrivateKeyPem "x" }}`, `{{ jwkPublicKeyPem "x" }}`} {
		if _, err := render(t, text, symmetric); err == nil {
			t.Errorf("%s: no error", text)
		}
	}
}

func rsaTestKey(t *testing.T) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestRSADecrypt(t *testing.T) {
	key := rsaTestKey(t)
	pkcs8, err := privateKeyPEM(key)
	if err != nil {
		t.Fatal(err)
	}
	encrypt := func(h hash.Hash) string {
		b, err := rsa.EncryptOAEP(h, rand.Reader, &key.PublicKey, []byte("plain"), nil)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	data := map[string]any{
		"pkcs8": pkcs8, "pkcs1": encodePEM("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(key)), "ec": issue(t, "x", false, nil).keyPEM(t), "sec1": sec1(t),
		"sha1": base64.StdEncoding.EncodeToString([]byte(encrypt(sha1.New()))), "sha256": encrypt(sha256.New()), "sha512": encrypt(sha512.New()),
		"large": encodePEM(pemPrivateKey, make([]byte, maxKey+1)),
	}
	for _, text := range []string{
		`{{ .pkcs8 | rsaDecrypt "RSA-OAEP" "SHA1" (.sha1 | b64dec) }}`, `{{ rsaDecrypt "RSA-OAEP" "SHA256" .sha256 .pkcs1 }}`,
		`{{ rsaDecrypt "RSA-OAEP" "" .sha256 .pkcs8 }}`, `{{ rsaDecrypt "RSA-OAEP" "SHA512" .sha512 .pkcs1 }}`,
		`{{ rsaDecrypt "None" "" "plain" "" }}`,
	} {
		if got, err := render(t, text, data); got != "plain" {
			t.Errorf("%s: %q, %v", text, got, err)
		}
	}
	for text, want := range map[string]string{
		`{{ rsaDecrypt "RSA" "" "x" .pkcs8 }}`: "neither None nor RSA-OAEP", `{{ rsaDecrypt "RSA-OAEP" "MD5" "x" .pkcs8 }}`: "none of SHA1",
		`{{ rsaDecrypt "RSA-OAEP" "" "x" .pkcs8 }}`: "cannot be decrypted", `{{ rsaDecrypt "RSA-OAEP" "" .sha256 .ec }}`: "not an RSA key",
		`{{ rsaDecrypt "RSA-OAEP" "" .sha256 .sec1 }}`: "not an RSA key", `{{ rsaDecrypt "RSA-OAEP" "" .sha256 "x" }}`: whyKey, `{{ rsaDecrypt "RSA-OAEP" "" .sha256 .large }}`: "the private key is larger",
	} {
		if _, err := render(t, text, data); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want it to say %q", text, err, want)
		}
	}
}

// sec1 returns an elliptic curve key in its own format, after its parameters.
func sec1(t *testing.T) string {
	der, err := x509.MarshalECPrivateKey(issue(t, "x", false, nil).key)
	if err != nil {
		t.Fatal(err)
	}
	return encodePEM("EC PARAMETERS", []byte("x")) + encodePEM("EC PRIVATE KEY", der)
}

func TestGeneratedCertificates(t *testing.T) {
	text := `{{ $ca := genCA "ca" 1 }}{{ $c := genSignedCert "c.example" (list "10.0.0.1") (list "c.example") 1 $ca }}` +
		`{{ $c.Cert | certSANs | first }} {{ print $c.Cert $ca.Cert | filterCertChain "root" | eq $ca.Cert }}` +
		`{{ (genSelfSignedCertWithKey "s" nil nil 1 .key).Cert | filterCertChain "leaf" | trunc 10 }}`
	got, err := render(t, text, map[string]any{"key": issue(t, "x", false, nil).keyPEM(t)})
	if err != nil || got != "c.example true-----BEGIN" {
		t.Errorf("got %q, %v", got, err)
	}
}
