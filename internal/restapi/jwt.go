package restapi

import (
	"context"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/keyferry/keyferry/secret"
)

// minRSABits is the least that a key must have for RS256.
const minRSABits = 2048

var errNoKey = errors.New("the key is not a PEM RSA private key of 2048 bits or more")

// Sign returns a JSON web token with these claims, signed with RS256 by a PEM private
// key (PKCS #1 or #8). It fails with Unauthenticated if that cannot be read.
func Sign(key secret.Value, keyID string, claims any) (secret.Value, error) {
	parsed, err := parseRSA(key.Reveal())
	if err != nil {
		return secret.Value{}, err
	}
	options := (&jose.SignerOptions{}).WithType("JWT")
	if keyID != "" {
		options.WithHeader("kid", keyID)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: parsed}, options)
	if err != nil {
		return secret.Value{}, unreadable()
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		return secret.Value{}, &secret.Error{Kind: secret.Internal, Op: "sign", Err: errors.New("the claims have no JSON form")}
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		return secret.Value{}, unreadable()
	}
	text, err := signed.CompactSerialize()
	if err != nil {
		return secret.Value{}, unreadable()
	}
	return secret.FromString(text), nil
}

// parseRSA leaves the causes of its error out: they can quote the key.
func parseRSA(text []byte) (*rsa.PrivateKey, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, unreadable()
	}
	var key *rsa.PrivateKey
	if parsed, err := x509.ParsePKCS1PrivateKey(block.Bytes); err == nil {
		key = parsed
	} else if parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes); err == nil {
		key, _ = parsed.(*rsa.PrivateKey)
	}
	if key == nil || key.N.BitLen() < minRSABits {
		return nil, unreadable()
	}
	return key, nil
}

func unreadable() error {
	return &secret.Error{Kind: secret.Unauthenticated, Op: "sign", Err: errNoKey}
}

// Exchange sends a request that is answered with a JSON web token in "token", and returns
// it and its end. It fails as Do does, and with Unavailable if there is no such token.
func (c *Client) Exchange(ctx context.Context, r Request) (secret.Value, time.Time, error) {
	var made struct{ Token string }
	r.Into = &made
	if err := c.Do(ctx, r); err != nil {
		return secret.Value{}, time.Time{}, err
	}
	token := secret.FromString(made.Token)
	expires, ok := Expiry(token)
	if !ok {
		return secret.Value{}, time.Time{}, c.Strange(r)
	}
	return token, expires, nil
}

// Expiry returns when a JSON web token ends, by what it says itself; false if it is
// none or does not say. The signature is not checked: the token is not ours to trust,
// only to pass on.
func Expiry(token secret.Value) (time.Time, bool) {
	parts := strings.Split(string(token.Reveal()), ".")
	if len(parts) != 3 {
		return time.Time{}, false
	}
	payload, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(parts[1], "="))
	var claims struct {
		Exp float64 `json:"exp"`
	}
	const farthest = 1 << 40 // some 35,000 years: no time.Time overflows
	if err != nil || json.Unmarshal(payload, &claims) != nil || claims.Exp <= 0 || claims.Exp > farthest {
		return time.Time{}, false
	}
	return time.Unix(int64(claims.Exp), 0).UTC(), true
}
