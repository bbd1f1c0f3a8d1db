package webhook

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	esv1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
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

// validate checks a spec without I/O.
func validate(spec *esv1.WebhookProvider) error {
	return cmp.Or(validateRequest(spec), validateSecrets(spec), validateAuth(spec.Auth), validatePath(spec.Result.JSONPath))
}

func validateRequest(spec *esv1.WebhookProvider) error {
	switch {
	case strings.TrimSpace(spec.URL) == "":
		return invalid("url", "is empty: set it to the address to ask")
	case slices.Contains(usesRemoteRef.FindAllString(authority(spec.URL), -1), "remoteRef"):
		return invalid("url", "takes its host from .remoteRef: whoever writes an ExternalSecret would choose where the credentials go; write the host out")
	case spec.Method != "" && !token.MatchString(spec.Method):
		return invalid("method", "is not an HTTP method")
	case spec.Timeout != nil && spec.Timeout.Duration < 0:
		return invalid("timeout", "is negative: leave it out for no limit")
	}
	for _, header := range slices.Sorted(maps.Keys(spec.Headers)) {
		if !token.MatchString(header) {
			return invalid(fmt.Sprintf("headers[%q]", header), "is not the name of a header")
		}
	}
	return nil
}

func validateSecrets(spec *esv1.WebhookProvider) error {
	for i, s := range spec.Secrets {
		switch {
		case s.Name == "" || s.Name == "remoteRef":
			return invalid(fmt.Sprintf("secrets[%d].name", i), "must be set, and not to remoteRef")
		case s.SecretRef.Name == "":
			return invalid(fmt.Sprintf("secrets[%d].secretRef.name", i), "is empty")
		}
	}
	if ca := spec.CAProvider; ca != nil && len(spec.CABundle) == 0 && (ca.Name == "" || ca.Key == "") {
		return invalid("caProvider", "needs a name and a key")
	}
	return nil
}

func validateAuth(auth *esv1.AuthorizationProtocol) error {
	switch {
	case auth == nil:
		return nil
	case auth.NTLM == nil:
		return invalid("auth", "is empty: set ntlm, or leave auth out")
	case auth.NTLM.UserName.Name == "" || auth.NTLM.UserName.Key == "":
		return invalid("auth.ntlm.usernameSecret", "needs a name and a key")
	case auth.NTLM.Password.Name == "" || auth.NTLM.Password.Key == "":
		return invalid("auth.ntlm.passwordSecret", "needs a name and a key")
	}
	return nil
}

func validatePath(path string) error {
	if path == "" || strings.Contains(path, "{{") {
		return nil
	}
	_, err := compile(path)
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

// uses reports whether a template of the spec may use this member of .remoteRef.
func uses(spec *esv1.WebhookProvider, name string) bool {
	texts := slices.AppendSeq([]string{spec.URL, spec.Body, spec.Result.JSONPath}, maps.Values(spec.Headers))
	for _, act := range action.FindAllString(strings.Join(texts, "\n"), -1) {
		act = literal.ReplaceAllString(act, "x")
		for _, found := range member.FindAllStringSubmatch(act, -1) {
			if found[1] == name {
				return true
			}
		}
		if whole.MatchString(member.ReplaceAllString(act, "x")) {
			return true
		}
	}
	return false
}
