// Package mfa makes one-time codes from a shared secret: the MFA generator.
//
// The codes are those of RFC 6238 (TOTP): a function of the secret, the algorithm, and
// the time, which comes from the clock of Env unless the manifest names one. The secret
// is read through Env. Nothing else is asked and nothing is left behind.
//
//	g := mfa.Generator()
//	out, err := g.Generate(ctx, &v1alpha1.MFASpec{Secret: selector}, env)
//	out.Values["token"], out.Values["timeLeft"]
package mfa
