// Package password makes passwords: the Password generator.
//
// A password has the asked number of digits and symbols, and letters for the rest.
// Each character is picked from its set, and each place for it, with equal chances
// from the system's random source. Nothing is asked and nothing is left behind: the
// package knows neither a network nor a clock.
//
//	g := password.Generator()
//	out, err := g.Generate(ctx, &v1alpha1.PasswordSpec{Length: 32}, env)
//	out.Values["password"]
package password
