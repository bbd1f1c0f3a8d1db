// Package uuid makes random UUIDs: the UUID generator.
//
// They are of version 4 (RFC 9562): 122 bits from the system's random source. Nothing
// is asked and nothing is left behind: the package knows neither a network nor a clock.
//
//	g := uuid.Generator()
//	out, err := g.Generate(ctx, &v1alpha1.UUIDSpec{}, env)
//	out.Values["uuid"]
package uuid
