package webhookapi

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

var (
	token = regexp.MustCompile("^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")
	// member finds a member of .remoteRef that a template uses by its name.
	member = regexp.MustCompile(`\.remoteRef\.(\w+)`)
	// whole finds what may hand over all of .remoteRef: itself, a dot or a dollar
	// without a name after it.
	whole = regexp.MustCompile(`remoteRef|[.$](?:\W|$)`)
	// usesRemoteRef finds what an ExternalSecret says, less the namespace, which is
	// not its author's to choose.
	usesRemoteRef = regexp.MustCompile(`remoteRef(\.namespace\b)?`)
	action        = regexp.MustCompile(`(?s){{.*?}}`)
	literal       = regexp.MustCompile("\"(?:[^\"\\\\]|\\\\.)*\"|`[^`]*`")
)

// Validate checks the spec without I/O; its errors are Invalid and name the field.
func (s Settings) Validate() error {
	return cmp.Or(s.validateRequest(), s.validateSecrets(), s.validateAuth(), s.validatePath(), s.validateRef())
}

// validateRef refuses templates that use what is not there.
func (s Settings) validateRef() error {
	if s.NoRef && strings.Contains(strings.Join(actions(s.templates()), "\n"), "remoteRef") {
		return s.Invalid("url", "or another template uses .remoteRef: nothing is asked for here by a key; write it out")
	}
	return nil
}

func (s Settings) validateRequest() error {
	spec := s.Spec
	switch {
	case strings.TrimSpace(spec.URL) == "":
		return s.Invalid("url", "is empty: set it to the address to ask")
	case slices.Contains(usesRemoteRef.FindAllString(authority(spec.URL), -1), "remoteRef"):
		return s.Invalid("url", "takes its host from .remoteRef: whoever writes an ExternalSecret would choose where the credentials go; write the host out")
	case spec.Method != "" && !token.MatchString(spec.Method):
		return s.Invalid("method", "is not an HTTP method")
	case spec.Timeout != nil && spec.Timeout.Duration < 0:
		return s.Invalid("timeout", "is negative: leave it out for no limit")
	}
	for _, header := range slices.Sorted(maps.Keys(spec.Headers)) {
		if !token.MatchString(header) {
			return s.Invalid(fmt.Sprintf("headers[%q]", header), "is not the name of a header")
		}
	}
	return nil
}

func (s Settings) validateSecrets() error {
	for i, named := range s.Spec.Secrets {
		switch {
		case named.Name == "" || named.Name == "remoteRef":
			return s.Invalid(fmt.Sprintf("secrets[%d].name", i), "must be set, and not to remoteRef")
		case named.SecretRef.Name == "":
			return s.Invalid(fmt.Sprintf("secrets[%d].secretRef.name", i), "is empty")
		}
	}
	if ca := s.Spec.CAProvider; ca != nil && len(s.Spec.CABundle) == 0 && (ca.Name == "" || ca.Key == "") {
		return s.Invalid("caProvider", "needs a name and a key")
	}
	return nil
}

func (s Settings) validateAuth() error {
	auth := s.Spec.Auth
	switch {
	case auth == nil:
		return nil
	case auth.NTLM == nil:
		return s.Invalid("auth", "is empty: set ntlm, or leave auth out")
	case auth.NTLM.UserName.Name == "" || auth.NTLM.UserName.Key == "":
		return s.Invalid("auth.ntlm.usernameSecret", "needs a name and a key")
	case auth.NTLM.Password.Name == "" || auth.NTLM.Password.Key == "":
		return s.Invalid("auth.ntlm.passwordSecret", "needs a name and a key")
	}
	return nil
}

func (s Settings) validatePath() error {
	path := s.Spec.Result.JSONPath
	if path == "" || strings.Contains(path, "{{") {
		return nil
	}
	_, err := s.compile(path)
	return err
}

// authority returns the template of a URL up to the end of its host.
func authority(text string) string {
	// Actions may hold what ends a host, so the end is sought beside them.
	plain := action.ReplaceAllStringFunc(text, func(s string) string { return strings.Repeat("x", len(s)) })
	start := 0
	if i := strings.Index(plain, "://"); i >= 0 {
		start = i + len("://")
	}
	if end := strings.IndexAny(plain[start:], `/?#\`); end >= 0 {
		return text[:start+end]
	}
	return text
}

// templates returns all templates of the spec, one below the other.
func (s Settings) templates() string {
	texts := slices.AppendSeq([]string{s.Spec.URL, s.Spec.Body, s.Spec.Result.JSONPath}, maps.Values(s.Spec.Headers))
	return strings.Join(texts, "\n")
}

// Uses reports whether a template of the spec may use this member of .remoteRef.
func (s Settings) Uses(member string) bool { return Mentions(s.templates(), member) }

// Mentions reports whether a template may use this member of .remoteRef.
func Mentions(text, name string) bool {
	return Names(text, name) || slices.ContainsFunc(actions(text), func(act string) bool {
		return whole.MatchString(member.ReplaceAllString(act, "x"))
	})
}

// Names reports whether a template uses this member of .remoteRef by its name.
func Names(text, name string) bool {
	for _, act := range actions(text) {
		for _, found := range member.FindAllStringSubmatch(act, -1) {
			if found[1] == name {
				return true
			}
		}
	}
	return false
}

// actions returns what a template has between its braces, less the literals.
func actions(text string) []string {
	out := action.FindAllString(text, -1)
	for i, act := range out {
		out[i] = literal.ReplaceAllString(act, "x")
	}
	return out
}
