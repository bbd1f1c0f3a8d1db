package local

import (
	"bytes"
	"os"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/keyferry/keyferry/secret"
)

// Credential is one key of a Secret whose value is not in a manifest.
type Credential struct {
	secret name
	key    string
	from   string // "env" or "file"
	source string
}

// ParseCredential reads NAMESPACE/NAME/KEY=env:VARIABLE, or =file:PATH; without
// NAMESPACE it is "default". It reads neither the variable nor the file, and fails
// with Invalid.
func ParseCredential(text string) (Credential, error) {
	const form = "write it as NAME/KEY=env:VARIABLE or NAMESPACE/NAME/KEY=file:PATH"
	target, source, ok := strings.Cut(text, "=")
	parts := strings.Split(target, "/")
	if !ok || len(parts) < 2 || len(parts) > 3 {
		return Credential{}, invalid("a credential says which key it is, and where its value is: %s", form)
	}
	if len(parts) == 2 {
		parts = append([]string{defaultNamespace}, parts...)
	}
	if len(validation.IsDNS1123Label(parts[0])) > 0 || len(validation.IsDNS1123Subdomain(parts[1])) > 0 || len(validation.IsConfigMapKey(parts[2])) > 0 {
		return Credential{}, invalid("%q does not name the key of a Secret: %s", target, form)
	}
	from, source, _ := strings.Cut(source, ":")
	if from != "env" && from != "file" || source == "" {
		return Credential{}, invalid("the value of %s is to come from a variable or a file, not from the command line, where others see it: %s", target, form)
	}
	return Credential{secret: name{kindSecret, parts[0], parts[1]}, key: parts[2], from: from, source: source}, nil
}

// read returns the value. One trailing newline of a file is no part of it.
func (c Credential) read() (secret.Value, error) {
	if c.from == "env" {
		v, ok := os.LookupEnv(c.source)
		if !ok || v == "" {
			return secret.Value{}, invalid("credential %s: the variable %s is not set, or empty", c, c.source)
		}
		return secret.FromString(v), nil
	}
	b, err := os.ReadFile(c.source)
	if err != nil {
		return secret.Value{}, unreadable("credential "+c.String()+": "+c.source, err)
	}
	if b, ok := bytes.CutSuffix(b, []byte("\r\n")); ok {
		return secret.New(b), nil
	}
	return secret.New(bytes.TrimSuffix(b, []byte("\n"))), nil
}

// String names the key.
func (c Credential) String() string {
	return c.secret.Namespace + "/" + c.secret.Name + "/" + c.key
}
