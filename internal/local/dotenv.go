package local

import (
	"bytes"
	"errors"
	"regexp"
	"strings"

	"github.com/keyferry/keyferry/secret"
)

var (
	variable = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	plain    = regexp.MustCompile(`^[A-Za-z0-9_./:@%+,=-]+$`)
)

// dotenv returns lines of KEY=value in the order of the keys, which a POSIX shell
// reads back exactly. It fails with Invalid for a key that is no name of a variable,
// and for a value that no variable can hold.
func dotenv(data map[string][]byte) ([]byte, error) {
	var b bytes.Buffer
	for _, k := range secret.Keys(data) {
		if !variable.MatchString(k) {
			return nil, invalid("key %q is no name of a variable, which format dotenv needs: rename it with spec.dataFrom[].rewrite or spec.target.template.data", k)
		}
		if bytes.IndexByte(data[k], 0) >= 0 {
			return nil, invalid("the value of key %q holds a null byte, and no variable can: encode it with a template, or use --format files", k)
		}
		b.WriteString(k + "=" + quote(string(data[k])) + "\n")
	}
	return b.Bytes(), nil
}

// quote prefers single quotes: in them nothing has a meaning, for whoever reads it.
func quote(v string) string {
	switch {
	case plain.MatchString(v):
		return v
	case !strings.Contains(v, "'"):
		return "'" + v + "'"
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, `$`, `\$`, "`", "\\`").Replace(v) + `"`
}

var errDotenv = errors.New("cannot be read as KEY=value lines: correct or remove it")

// parseDotenv reads what dotenv writes, and the same with comments, blank lines and
// "export". Its error quotes nothing.
func parseDotenv(b []byte) (map[string][]byte, error) {
	out := map[string][]byte{}
	rest := string(b)
	for {
		rest = strings.TrimLeft(rest, " \t\r\n")
		if rest == "" {
			return out, nil
		}
		if rest[0] == '#' {
			_, rest, _ = strings.Cut(rest, "\n")
			continue
		}
		key, after, ok := strings.Cut(strings.TrimPrefix(rest, "export "), "=")
		if !ok || !variable.MatchString(key) {
			return nil, errDotenv
		}
		value, tail, ok := unquote(after)
		if !ok {
			return nil, errDotenv
		}
		out[key], rest = []byte(value), tail
	}
}

// unquote returns the value at the beginning of s, and what follows its line.
func unquote(s string) (value, rest string, ok bool) {
	var b strings.Builder
	for s != "" && s[0] != '\n' {
		switch s[0] {
		case '\'':
			inside, after, closed := strings.Cut(s[1:], "'")
			if !closed {
				return "", "", false
			}
			b.WriteString(inside)
			s = after
		case '"':
			if s, ok = double(&b, s[1:]); !ok {
				return "", "", false
			}
		case ' ', '\t', '\r':
			line, after, _ := strings.Cut(s, "\n")
			line = strings.TrimSpace(line)
			return b.String(), after, line == "" || line[0] == '#'
		default:
			b.WriteByte(s[0])
			s = s[1:]
		}
	}
	return b.String(), s, true
}

// double reads up to the closing double quote.
func double(b *strings.Builder, s string) (rest string, ok bool) {
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '"':
			return s[i+1:], true
		case s[i] == '\\' && i+1 < len(s) && strings.IndexByte("\\\"$`", s[i+1]) >= 0:
			i++
		}
		b.WriteByte(s[i])
	}
	return "", false
}
