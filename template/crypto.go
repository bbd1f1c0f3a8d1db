package template

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4"
	"golang.org/x/crypto/bcrypt"
)

const (
	maxRandom = 64 << 10 // characters of one random text
	maxKey    = 24 << 10 // bytes of a private key: the time it takes to use it grows with the cube

	pemPrivateKey  = "PRIVATE KEY"
	pemPublicKey   = "PUBLIC KEY"
	pemCertificate = "CERTIFICATE"

	whyKey = "the input holds no private key in PEM that can be read"
)

func cryptoFunctions(library map[string]any) map[string]function {
	return merged(
		checked(library, "randAlpha randAlphaNum randAscii randBytes randNumeric", function{
			why: "the length must not be negative",
			check: func(_ *run, a []any) error {
				if arg[int](a, 0) > maxRandom {
					return tooLarge("the random text", maxRandom)
				}
				return nil
			},
		}),
		map[string]function{
			"bcrypt":   {fn: hashPassword, why: "a password of more than 72 bytes cannot be hashed", heavy: 1},
			"htpasswd": {fn: htpasswd, why: "a password of more than 72 bytes cannot be hashed", heavy: 1},
			"derivePassword": {fn: library["derivePassword"], heavy: 3, check: func(_ *run, a []any) error {
				return oneOf("the kind of password", arg[string](a, 1), "maximum", "long", "medium", "short", "basic", "pin")
			}},
			"decryptAES": {fn: library["decryptAES"], why: "the input is not what encryptAES makes with this password"},
			"encryptAES": {fn: library["encryptAES"], why: "the input cannot be encrypted"},
			"rsaDecrypt": {fn: rsaDecrypt, why: "the input cannot be decrypted with this key, scheme and hash", heavy: 1},
			"genPrivateKey": {fn: library["genPrivateKey"], heavy: 25, check: func(_ *run, a []any) error {
				return oneOf("the kind of key", arg[string](a, 0), "", "rsa", "dsa", "ecdsa", "ed25519")
			}},
			"jwkPublicKeyPem":  {fn: jwkPublicKeyPEM, why: "the input is not a JSON web key with a public part", maxArgs: maxKey},
			"jwkPrivateKeyPem": {fn: jwkPrivateKeyPEM, why: "the input is not a JSON web key with a private part", maxArgs: maxKey},
		},
	)
}

func oneOf(what, value string, choices ...string) error {
	if slices.Contains(choices, value) {
		return nil
	}
	return reason(what + " is none of " + strings.TrimPrefix(strings.Join(choices, ", "), ", "))
}

func hashPassword(password string) (string, error) {
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.DefaultCost)
	return string(hash), err
}

// htpasswd returns a line of a password file: with SHA-1 when the algorithm is
// sha, with bcrypt otherwise.
func htpasswd(user, password, algorithm string) (string, error) {
	if strings.Contains(user, ":") {
		return "", reason("the user name must not hold a colon")
	}
	if algorithm == "sha" {
		sum := sha1.Sum([]byte(password))
		return user + ":{SHA}" + base64.StdEncoding.EncodeToString(sum[:]), nil
	}
	hash, err := hashPassword(password)
	return user + ":" + hash, err
}

// rsaDecrypt decrypts with the private key in PEM. The scheme None returns the
// input.
func rsaDecrypt(scheme, hash, input, key string) (string, error) {
	switch scheme {
	case "None":
		return input, nil
	case "RSA-OAEP":
	default:
		return "", reason("the scheme is neither None nor RSA-OAEP")
	}
	h, ok := map[string]crypto.Hash{"": crypto.SHA256, "SHA1": crypto.SHA1, "SHA256": crypto.SHA256, "SHA512": crypto.SHA512}[hash]
	if !ok {
		return "", reason("the hash is none of SHA1, SHA256, SHA512")
	}
	parsed, err := privateKey(key)
	if err != nil {
		return "", err
	}
	private, ok := parsed.(*rsa.PrivateKey)
	if !ok {
		return "", reason("the key is not an RSA key")
	}
	plain, err := rsa.DecryptOAEP(h.New(), nil, private, []byte(input), nil)
	return string(plain), err
}

// privateKey returns the first private key of a PEM text.
func privateKey(text string) (any, error) {
	for block, rest := pem.Decode([]byte(text)); block != nil; block, rest = pem.Decode(rest) {
		if !strings.HasSuffix(block.Type, pemPrivateKey) {
			continue
		}
		if len(block.Bytes) > maxKey {
			return nil, tooLarge("the private key", maxKey)
		}
		for _, parse := range []func([]byte) (any, error){x509.ParsePKCS8PrivateKey, parsePKCS1, parseEC} {
			if key, err := parse(block.Bytes); err == nil {
				return key, nil
			}
		}
		break
	}
	return nil, reason(whyKey)
}

func parsePKCS1(der []byte) (any, error) { return x509.ParsePKCS1PrivateKey(der) }
func parseEC(der []byte) (any, error)    { return x509.ParseECPrivateKey(der) }

func jwkPublicKeyPEM(text string) (string, error) {
	var key jose.JSONWebKey
	if err := key.UnmarshalJSON([]byte(text)); err != nil {
		return "", err
	}
	public := key.Public()
	der, err := x509.MarshalPKIXPublicKey(public.Key)
	if err != nil {
		return "", err
	}
	return encodePEM(pemPublicKey, der), nil
}

func jwkPrivateKeyPEM(text string) (string, error) {
	var key jose.JSONWebKey
	if err := key.UnmarshalJSON([]byte(text)); err != nil {
		return "", err
	}
	return privateKeyPEM(key.Key)
}

func privateKeyPEM(key any) (string, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return "", err
	}
	return encodePEM(pemPrivateKey, der), nil
}

func encodePEM(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

func encodeCertificates(certs []*x509.Certificate) string {
	var out bytes.Buffer
	for _, c := range certs {
		out.WriteString(encodePEM(pemCertificate, c.Raw))
	}
	return out.String()
}
