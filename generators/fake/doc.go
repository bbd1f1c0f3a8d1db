// Package fake hands out what its manifest holds: the Fake generator.
//
// It is for demonstrations and tests, and the one generator whose calls do not differ.
// Nothing is asked and nothing is left behind: the package knows neither a network nor
// a clock.
//
//	g := fake.Generator()
//	out, err := g.Generate(ctx, &v1alpha1.FakeSpec{Data: map[string]string{"user": "app"}}, env)
//	out.Values["user"]
package fake
