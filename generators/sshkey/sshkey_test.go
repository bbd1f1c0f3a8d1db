package sshkey_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/keyferry/keyferry/api/generators/v1alpha1"
	"github.com/keyferry/keyferry/generator"
	"github.com/keyferry/keyferry/generator/generatortest"
	"github.com/keyferry/keyferry/generators/sshkey"
	"github.com/keyferry/keyferry/provider/providertest"
	"github.com/keyferry/keyferry/secret"
)

func TestConformance(t *testing.T) {
	generatortest.Run(t, generatortest.Harness{
		Env: providertest.NewEnv(t), Generator: sshkey.Generator(), Local: true, Secret: []string{"privateKey", "publicKey"},
		Spec: func(providertest.Situation) any {
			return &v1alpha1.SSHKeySpec{KeyType: "ed25519", Comment: "team@example.com"}
		},
		Fits: func(_ any, out generator.Output) error {
			_, err := pair(out)
			return err
		},
		Invalid: map[string]any{
			"spec.keyType": &v1alpha1.SSHKeySpec{KeyType: "dsa"},
			"spec.keySize": &v1alpha1.SSHKeySpec{KeyType: "rsa", KeySize: new(512)},
			"spec.comment": &v1alpha1.SSHKeySpec{Comment: "me\nssh-rsa AAAA attacker"},
		},
	})
}

// pair returns the private key of an output, if its public key belongs to it: what one
// signs, the other verifies.
func pair(out generator.Output) (any, error) {
	signer, err := ssh.ParsePrivateKey(out.Values["privateKey"].Reveal())
	if err != nil {
		return nil, fmt.Errorf("the private key: %w", err)
	}
	public, _, _, rest, err := ssh.ParseAuthorizedKey(out.Values["publicKey"].Reveal())
	if err != nil || len(rest) > 0 {
		return nil, fmt.Errorf("the public key is followed by %d bytes: %w", len(rest), err)
	}
	signature, err := signer.Sign(rand.Reader, []byte("text"))
	if err != nil {
		return nil, err
	}
	if err := public.Verify([]byte("text"), signature); err != nil {
		return nil, err
	}
	return ssh.ParseRawPrivateKey(out.Values["privateKey"].Reveal())
}

func TestKeys(t *testing.T) {
	for name, tc := range map[string]struct {
		spec v1alpha1.SSHKeySpec
		typ  string
		bits int
		end  string
	}{
		"nothing said":     {typ: "ssh-rsa", bits: 2048},
		"rsa":              {spec: v1alpha1.SSHKeySpec{KeyType: "rsa"}, typ: "ssh-rsa", bits: 2048},
		"rsa of a size":    {spec: v1alpha1.SSHKeySpec{KeyType: "rsa", KeySize: new(3072)}, typ: "ssh-rsa", bits: 3072},
		"ecdsa":            {spec: v1alpha1.SSHKeySpec{KeyType: "ecdsa"}, typ: "ecdsa-sha2-nistp256", bits: 256},
		"ecdsa, 384":       {spec: v1alpha1.SSHKeySpec{KeyType: "ecdsa", KeySize: new(384)}, typ: "ecdsa-sha2-nistp384", bits: 384},
		"ecdsa, 521":       {spec: v1alpha1.SSHKeySpec{KeyType: "ecdsa", KeySize: new(521)}, typ: "ecdsa-sha2-nistp521", bits: 521},
		"ed25519":          {spec: v1alpha1.SSHKeySpec{KeyType: "ed25519"}, typ: "ssh-ed25519", bits: 256},
		"its size is one":  {spec: v1alpha1.SSHKeySpec{KeyType: "ed25519", KeySize: new(4096)}, typ: "ssh-ed25519", bits: 256},
		"a comment":        {spec: v1alpha1.SSHKeySpec{KeyType: "ed25519", Comment: "me@host"}, typ: "ssh-ed25519", bits: 256, end: " me@host"},
		"a comment of two": {spec: v1alpha1.SSHKeySpec{KeyType: "ecdsa", Comment: "for the ci"}, typ: "ecdsa-sha2-nistp256", bits: 256, end: " for the ci"},
	} {
		t.Run(name, func(t *testing.T) {
			out, err := sshkey.Generator().Generate(t.Context(), &tc.spec, providertest.NewEnv(t))
			if err != nil {
				t.Fatal(err)
			}
			key, err := pair(out)
			if err != nil {
				t.Fatal(err)
			}
			if bits := size(key); bits != tc.bits {
				t.Errorf("%d bits, want %d", bits, tc.bits)
			}
			public, private := string(out.Values["publicKey"].Reveal()), string(out.Values["privateKey"].Reveal())
			if !strings.HasPrefix(public, tc.typ+" AAAA") || !strings.HasSuffix(public, tc.end+"\n") || strings.Count(public, " ") != 1+strings.Count(tc.end, " ") {
				t.Errorf("public key %q, want one line of %s that ends with %q", public, tc.typ, tc.end)
			}
			if !strings.HasPrefix(private, "-----BEGIN OPENSSH PRIVATE KEY-----\n") || !strings.HasSuffix(private, "-----END OPENSSH PRIVATE KEY-----\n") {
				t.Error("the private key is not in the format of OpenSSH")
			}
		})
	}
}

func size(key any) int {
	switch k := key.(type) {
	case *rsa.PrivateKey:
		return k.N.BitLen()
	case *ecdsa.PrivateKey:
		return k.Curve.Params().BitSize
	case *ed25519.PrivateKey:
		return 8 * len(k.Seed())
	}
	return 0
}

func TestSizes(t *testing.T) {
	for name, tc := range map[string]struct {
		spec v1alpha1.SSHKeySpec
		want secret.Kind
	}{
		"rsa that is too small":       {v1alpha1.SSHKeySpec{KeyType: "rsa", KeySize: new(1023)}, secret.Invalid},
		"rsa, the smallest":           {v1alpha1.SSHKeySpec{KeyType: "rsa", KeySize: new(1024)}, ""},
		"rsa, the largest":            {v1alpha1.SSHKeySpec{KeyType: "rsa", KeySize: new(8192)}, ""},
		"rsa that is too large":       {v1alpha1.SSHKeySpec{KeyType: "rsa", KeySize: new(8193)}, secret.Invalid},
		"no type is rsa":              {v1alpha1.SSHKeySpec{KeySize: new(256)}, secret.Invalid},
		"ecdsa without a curve":       {v1alpha1.SSHKeySpec{KeyType: "ecdsa", KeySize: new(512)}, secret.Invalid},
		"a size of rsa for ecdsa":     {v1alpha1.SSHKeySpec{KeyType: "ecdsa", KeySize: new(2048)}, secret.Invalid},
		"a type in other letters":     {v1alpha1.SSHKeySpec{KeyType: "RSA"}, secret.Invalid},
		"a comment with a tab":        {v1alpha1.SSHKeySpec{Comment: "a\tb"}, secret.Invalid},
		"a comment with letters only": {v1alpha1.SSHKeySpec{Comment: "für Ä"}, ""},
	} {
		if err := sshkey.Generator().Validate(&tc.spec); secret.KindOf(err) != tc.want {
			t.Errorf("%s: error %v, want kind %q", name, err, tc.want)
		}
	}
}

// The largest key takes long enough for its caller to be gone before it is there.
func TestTheCallEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := sshkey.Generator().Generate(ctx, &v1alpha1.SSHKeySpec{KeyType: "rsa", KeySize: new(4096)}, providertest.NewEnv(t))
	if !errors.Is(err, secret.Unavailable) || !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want Unavailable", err)
	}
}
