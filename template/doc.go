// Package template renders the templates of an ExternalSecret: Go text/template
// with an allow-list of functions, missing keys as errors, and bounds on
// everything that can grow.
//
// Nothing here reads a file, the environment, the network or a cluster, but for
// the time zone database, by zone names alone. An error names the template, the
// line and column, the function and the expression with its literals left out;
// it never holds data, nor the text of an error that could quote data.
//
// A rendering ends soon after its context does, or after Options.Timeout (ten
// times that where the template makes keys or hashes passwords), whichever is
// first. No goroutine outlives it. A function that has started is not
// interrupted; the size of what it may be given keeps all of them below a second
// or so, but for the making of RSA keys.
//
//	e, err := template.New(template.Options{})
//	data := template.Data(map[string]secret.Value{"user": secret.FromString("ada")})
//	v, err := e.Render(ctx, "greeting", `hello {{ .user | upper }}`, data)
package template
