package mfa_test

import (
	"encoding/base32"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/keyferry/keyferry/api/generators/v1alpha1"
	esmeta "github.com/keyferry/keyferry/api/meta/v1"
	"github.com/keyferry/keyferry/generator/generatortest"
	"github.com/keyferry/keyferry/generators/mfa"
	"github.com/keyferry/keyferry/provider/providertest"
	"github.com/keyferry/keyferry/secret"
)

func seed() esmeta.SecretKeySelector { return esmeta.SecretKeySelector{Name: "mfa", Key: "seed"} }

// environment has a shared secret.
func environment(t *testing.T, shared string) *providertest.Env {
	t.Helper()
	env := providertest.NewEnv(t)
	env.Put("", providertest.Namespace, "mfa", map[string]string{"seed": shared})
	return env
}

func TestConformance(t *testing.T) {
	generatortest.Run(t, generatortest.Harness{
		Env: environment(t, "JBSWY3DPEHPK3PXP"), Generator: mfa.Generator(), Local: true, Secret: []string{"token"}, Public: []string{"timeLeft"},
		Spec: func(providertest.Situation) any { return &v1alpha1.MFASpec{Secret: seed()} },
		Invalid: map[string]any{
			"spec.secret.name": &v1alpha1.MFASpec{Secret: esmeta.SecretKeySelector{Key: "seed"}},
			"spec.secret.key":  &v1alpha1.MFASpec{Secret: esmeta.SecretKeySelector{Name: "mfa"}},
			"spec.length":      &v1alpha1.MFASpec{Secret: seed(), Length: 11},
			"spec.timePeriod":  &v1alpha1.MFASpec{Secret: seed(), TimePeriod: -30},
			"spec.algorithm":   &v1alpha1.MFASpec{Secret: seed(), Algorithm: "MD5"},
			"spec.when":        &v1alpha1.MFASpec{Secret: seed(), When: new(metav1.Unix(-1, 0))},
		},
		Without: map[string]string{"values/new": "a code is a function of the shared secret and the time"},
	})
}

// base32Of is a secret of the RFC's appendix B: digits, repeated up to a length.
func base32Of(n int) string {
	return base32.StdEncoding.EncodeToString([]byte(strings.Repeat("1234567890", 7)[:n]))
}

// The test vectors of RFC 6238, appendix B.
func TestVectorsOfTheRFC(t *testing.T) {
	sizes := map[string]int{"SHA1": 20, "SHA256": 32, "SHA512": 64}
	for at, want := range map[int64]map[string]string{
		59:          {"SHA1": "94287082", "SHA256": "46119246", "SHA512": "90693936"},
		1111111109:  {"SHA1": "07081804", "SHA256": "68084774", "SHA512": "25091201"},
		1111111111:  {"SHA1": "14050471", "SHA256": "67062674", "SHA512": "99943326"},
		1234567890:  {"SHA1": "89005924", "SHA256": "91819424", "SHA512": "93441116"},
		2000000000:  {"SHA1": "69279037", "SHA256": "90698825", "SHA512": "38618901"},
		20000000000: {"SHA1": "65353130", "SHA256": "77737706", "SHA512": "47863826"},
	} {
		for algorithm, token := range want {
			env := environment(t, base32Of(sizes[algorithm]))
			env.Time = providertest.NewClock(time.Unix(at, 0))
			out, err := mfa.Generator().Generate(t.Context(), &v1alpha1.MFASpec{Secret: seed(), Algorithm: algorithm, Length: 8}, env)
			if got := string(out.Values["token"].Reveal()); err != nil || got != token {
				t.Errorf("%s at %d: %q, error %v, want %q", algorithm, at, got, err, token)
			}
		}
	}
}

func TestCodes(t *testing.T) {
	at := new(metav1.Unix(59, 0))
	twenty := base32Of(20)
	for name, tc := range map[string]struct {
		shared string
		spec   v1alpha1.MFASpec
		want   map[string]string
	}{
		"six digits of half a minute, and SHA1": {shared: twenty, spec: v1alpha1.MFASpec{When: at}, want: map[string]string{"token": "287082", "timeLeft": "1"}},
		"ten digits":                            {shared: twenty, spec: v1alpha1.MFASpec{When: at, Length: 10}, want: map[string]string{"token": "1094287082", "timeLeft": "1"}},
		"a code that begins with 0":             {shared: twenty, spec: v1alpha1.MFASpec{When: new(metav1.Unix(1111111109, 0)), Length: 8}, want: map[string]string{"token": "07081804", "timeLeft": "1"}},
		"the first second of a period":          {shared: twenty, spec: v1alpha1.MFASpec{When: new(metav1.Unix(30, 0))}, want: map[string]string{"token": "287082", "timeLeft": "30"}},
		"a period of a minute":                  {shared: twenty, spec: v1alpha1.MFASpec{When: new(metav1.Unix(119, 0)), TimePeriod: 60}, want: map[string]string{"token": "287082", "timeLeft": "1"}},
		"an algorithm in other letters": {
			shared: base32Of(32), spec: v1alpha1.MFASpec{When: at, Length: 8, Algorithm: "sha-256"}, want: map[string]string{"token": "46119246", "timeLeft": "1"},
		},
		"a shared secret in small letters and groups": {
			shared: " gezd gnbv-gy3t qojq gezd gnbv gy3t qojq \n", spec: v1alpha1.MFASpec{When: at}, want: map[string]string{"token": "287082", "timeLeft": "1"},
		},
		"a shared secret with its padding": {
			shared: "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ====", spec: v1alpha1.MFASpec{When: at}, want: map[string]string{"token": "287082", "timeLeft": "1"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			tc.spec.Secret = seed()
			out, err := mfa.Generator().Generate(t.Context(), &tc.spec, environment(t, tc.shared))
			if err != nil {
				t.Fatal(err)
			}
			got := map[string]string{}
			for key, v := range out.Values {
				got[key] = string(v.Reveal())
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("values (-want +got):\n%s", diff)
			}
		})
	}
}

func TestTheClockIsThatOfEnv(t *testing.T) {
	env := environment(t, base32Of(20))
	tokens := map[string]bool{}
	for range 3 {
		out, err := mfa.Generator().Generate(t.Context(), &v1alpha1.MFASpec{Secret: seed()}, env)
		if err != nil {
			t.Fatal(err)
		}
		tokens[string(out.Values["token"].Reveal())] = true
		env.Time.Advance(30 * time.Second)
	}
	if len(tokens) != 3 {
		t.Errorf("%d codes of 3 periods", len(tokens))
	}
}

func TestSharedSecrets(t *testing.T) {
	other := "other"
	for name, tc := range map[string]struct {
		shared string
		from   esmeta.SecretKeySelector
		want   secret.Kind
	}{
		"no Base32":              {shared: "not-base-32-" + providertest.Mark, from: seed(), want: secret.Invalid},
		"nothing but separators": {shared: " - =", from: seed(), want: secret.Invalid},
		"an absent key":          {shared: "JBSWY3DPEHPK3PXP", from: esmeta.SecretKeySelector{Name: "mfa", Key: "none"}, want: secret.Unauthenticated},
		"another namespace":      {shared: "JBSWY3DPEHPK3PXP", from: esmeta.SecretKeySelector{Name: "mfa", Key: "seed", Namespace: &other}, want: secret.Unauthenticated},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := mfa.Generator().Generate(t.Context(), &v1alpha1.MFASpec{Secret: tc.from}, environment(t, tc.shared))
			if !errors.Is(err, tc.want) || strings.Contains(err.Error(), providertest.Mark) || !strings.Contains(err.Error(), "spec.secret") {
				t.Errorf("error %v, want %s of spec.secret", err, tc.want)
			}
		})
	}
}
