package sshkey

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/pem"
	"fmt"
	"strings"
	"unicode"

	"golang.org/x/crypto/ssh"

	"github.com/keyferry/keyferry/api/generators/v1alpha1"
	"github.com/keyferry/keyferry/generator"
	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/secret"
)

const (
	kind = v1alpha1.SSHKeyKind

	defaultRSA   = 2048
	defaultECDSA = 256
	// smallestRSA is what servers still take and crypto/rsa still makes.
	smallestRSA = 1024
	// largestRSA takes minutes to make already.
	largestRSA = 8192
)

// Generator returns the generator of SSH keys. Its keys are "privateKey" and "publicKey".
func Generator() generator.Generator {
	return generator.Define(generator.Definition[v1alpha1.SSHKeySpec]{
		Kind: kind, Validate: validate, Generate: generate,
		Keys: func(*v1alpha1.SSHKeySpec) []string { return []string{"privateKey", "publicKey"} },
	})
}

func validate(spec *v1alpha1.SSHKeySpec) error {
	if strings.ContainsFunc(spec.Comment, unicode.IsControl) {
		// A second line of authorized_keys would be another key.
		return fail(secret.Invalid, "spec.comment has a line break or another control character: leave it out")
	}
	_, err := maker(spec)
	return err
}

// maker returns what makes a private key. It fails with Invalid if there is no such key.
func maker(spec *v1alpha1.SSHKeySpec) (func() (crypto.Signer, error), error) {
	size := 0
	if spec.KeySize != nil {
		size = *spec.KeySize
	}
	switch spec.KeyType {
	case "", "rsa":
		if size == 0 {
			size = defaultRSA
		}
		if size < smallestRSA || size > largestRSA {
			return nil, fail(secret.Invalid, "spec.keySize is %d: for rsa it must be between %d and %d", size, smallestRSA, largestRSA)
		}
		return func() (crypto.Signer, error) { return rsa.GenerateKey(rand.Reader, size) }, nil
	case "ecdsa":
		if size == 0 {
			size = defaultECDSA
		}
		curve, ok := map[int]elliptic.Curve{256: elliptic.P256(), 384: elliptic.P384(), 521: elliptic.P521()}[size]
		if !ok {
			return nil, fail(secret.Invalid, "spec.keySize is %d: for ecdsa it must be 256, 384 or 521", size)
		}
		return func() (crypto.Signer, error) { return ecdsa.GenerateKey(curve, rand.Reader) }, nil
	case "ed25519": // it has one size
		return func() (crypto.Signer, error) {
			_, key, err := ed25519.GenerateKey(rand.Reader)
			return key, err
		}, nil
	}
	return nil, fail(secret.Invalid, "spec.keyType is %q: it must be rsa, ecdsa or ed25519", spec.KeyType)
}

func generate(ctx context.Context, spec *v1alpha1.SSHKeySpec, _ provider.Env) (generator.Output, error) {
	create, err := maker(spec)
	if err != nil {
		return generator.Output{}, err
	}
	type result struct {
		key crypto.Signer
		err error
	}
	done := make(chan result, 1)
	go func() { // a large RSA key takes longer than the caller may have time
		key, err := create()
		done <- result{key, err}
	}()
	select {
	case <-ctx.Done():
		return generator.Output{}, fail(secret.Unavailable, "the key was not ready in time: %w", ctx.Err())
	case made := <-done:
		if made.err != nil {
			return generator.Output{}, fail(secret.Internal, "the key could not be made: %w", made.err)
		}
		return encode(made.key, spec.Comment)
	}
}

func encode(key crypto.Signer, comment string) (generator.Output, error) {
	block, err := ssh.MarshalPrivateKey(key, comment)
	if err != nil {
		return generator.Output{}, fail(secret.Internal, "the private key cannot be encoded")
	}
	public, err := ssh.NewPublicKey(key.Public())
	if err != nil {
		return generator.Output{}, fail(secret.Internal, "the public key cannot be encoded: %w", err)
	}
	line := bytes.TrimSuffix(ssh.MarshalAuthorizedKey(public), []byte("\n"))
	if comment != "" {
		line = fmt.Appendf(line, " %s", comment)
	}
	return generator.Output{Values: map[string]secret.Value{
		"privateKey": secret.New(pem.EncodeToMemory(block)),
		"publicKey":  secret.New(append(line, '\n')),
	}}, nil
}

func fail(kindOf secret.Kind, format string, args ...any) error {
	return &secret.Error{Kind: kindOf, Op: "generate", Provider: kind, Err: fmt.Errorf(format, args...)}
}
