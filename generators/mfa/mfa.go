package mfa

import (
	"context"
	"crypto/hmac"
	"crypto/sha1" // it is what RFC 6238 begins with, and what nearly every service uses
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"hash"
	"strconv"
	"strings"
	"time"

	"github.com/keyferry/keyferry/api/generators/v1alpha1"
	"github.com/keyferry/keyferry/generator"
	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/secret"
)

const (
	kind = v1alpha1.MFAKind

	defaultLength = 6
	// longest is how many digits the 31 bits of a code can have.
	longest = 10
	// defaultPeriod is in seconds.
	defaultPeriod = 30
)

// Generator returns the generator of one-time codes. Its keys are "token", and
// "timeLeft": the seconds for which the token is good. Its Life has no end: a Secret
// that followed its tokens would be written twice a minute, and it is the refresh
// interval that says how often that is wanted.
func Generator() generator.Generator {
	return generator.Define(generator.Definition[v1alpha1.MFASpec]{Kind: kind, Validate: validate, Generate: generate})
}

func validate(spec *v1alpha1.MFASpec) error {
	switch {
	case spec.Secret.Name == "":
		return fail("secret.name is empty: name the Secret that has the shared secret")
	case spec.Secret.Key == "":
		return fail("secret.key is empty: name the key of the Secret that has the shared secret")
	case spec.Length < 0 || spec.Length > longest:
		return fail("length is %d: a code has at most %d digits", spec.Length, longest)
	case spec.TimePeriod < 0:
		return fail("timePeriod is %d: it must be a positive number of seconds", spec.TimePeriod)
	case spec.When != nil && spec.When.Unix() < 0:
		return fail("when is before 1970: codes are counted from there")
	}
	_, err := hashOf(spec.Algorithm)
	return err
}

func generate(ctx context.Context, spec *v1alpha1.MFASpec, env provider.Env) (generator.Output, error) {
	algorithm, err := hashOf(spec.Algorithm)
	if err != nil {
		return generator.Output{}, err
	}
	shared, err := env.Credential(ctx, provider.CredentialRef{
		Namespace: spec.Secret.Namespace, Name: spec.Secret.Name, Key: spec.Secret.Key, Field: "spec.secret",
	})
	if err != nil {
		return generator.Output{}, err
	}
	key, err := decode(shared)
	if err != nil {
		return generator.Output{}, err
	}
	now := env.Clock().Now()
	if spec.When != nil {
		now = spec.When.Time
	}
	period := orElse(spec.TimePeriod, defaultPeriod)
	token, left := code(hmac.New(algorithm, key), now, period, orElse(spec.Length, defaultLength))
	return generator.Output{Values: map[string]secret.Value{
		"token":    secret.FromString(token),
		"timeLeft": secret.FromString(strconv.Itoa(left)),
	}}, nil
}

// code is the one of a moment, and the seconds until the next.
func code(mac hash.Hash, now time.Time, period, length int) (token string, left int) {
	seconds := now.Unix()
	var counter [8]byte
	binary.BigEndian.PutUint64(counter[:], uint64(seconds/int64(period)))
	mac.Write(counter[:])
	sum := mac.Sum(nil)
	offset := sum[len(sum)-1] & 0x0f
	number := uint64(binary.BigEndian.Uint32(sum[offset:]) & 0x7fffffff)
	modulus := uint64(1)
	for range length {
		modulus *= 10
	}
	return fmt.Sprintf("%0*d", length, number%modulus), period - int(seconds%int64(period))
}

// decode reads a shared secret as services show it: Base32, in groups, in either case,
// with its padding or without.
func decode(shared secret.Value) ([]byte, error) {
	text := strings.Map(func(r rune) rune {
		if strings.ContainsRune(" -\t\r\n=", r) {
			return -1
		}
		return r
	}, strings.ToUpper(string(shared.Reveal())))
	key, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(text)
	if err != nil || len(key) == 0 { // the text of err tells where, and how much there is
		return nil, fail("secret does not hold a shared secret in Base32")
	}
	return key, nil
}

func hashOf(name string) (func() hash.Hash, error) {
	switch strings.ReplaceAll(strings.ToUpper(name), "-", "") {
	case "", "SHA1":
		return sha1.New, nil
	case "SHA256":
		return sha256.New, nil
	case "SHA512":
		return sha512.New, nil
	}
	return nil, fail("algorithm is %q: it must be SHA1, SHA256 or SHA512", name)
}

func orElse(n, otherwise int) int {
	if n == 0 {
		return otherwise
	}
	return n
}

func fail(format string, args ...any) error {
	return &secret.Error{Kind: secret.Invalid, Op: "generate", Provider: kind, Err: fmt.Errorf("spec."+format, args...)}
}
