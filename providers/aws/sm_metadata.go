package aws

import (
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/secret"
)

const (
	formatBinary = "binary"
	formatString = "string"
	// largestSecret is what Secrets Manager holds, in bytes.
	largestSecret = 65536
	// secretDescription is what ESO gives to a secret that the manifest does not describe.
	secretDescription = "secret 'managed-by:external-secrets'"
)

var (
	errSecretEmpty  = errors.New("the value is empty, and Secrets Manager keeps no empty values")
	errSecretLarge  = fmt.Errorf("the value is larger than the %d bytes that Secrets Manager keeps", largestSecret)
	errSecretBinary = errors.New("the value is not text: set metadata.spec.secretPushFormat to binary, or remove it")
	errSecretMark   = fmt.Errorf("metadata.spec.tags: %q is the mark of the owner: remove it", provider.Mark)
	errPolicySource = errors.New("metadata.spec.resourcePolicy.policySourceRef: name a ConfigMap or Secret by kind, name and key")
)

// secretMetadata is what the metadata of a PushSecret says about a secret.
type secretMetadata struct {
	Tags                 map[string]string `json:"tags"`
	Description          string            `json:"description"`
	SecretPushFormat     string            `json:"secretPushFormat"`
	KMSKeyID             string            `json:"kmsKeyId"`
	ResourcePolicy       *resourcePolicy   `json:"resourcePolicy"`
	ReplicationLocations []string          `json:"replicationLocations"`
}

type resourcePolicy struct {
	// BlockPublicPolicy is true unless it is set to false.
	BlockPublicPolicy *bool           `json:"blockPublicPolicy"`
	PolicySourceRef   policySourceRef `json:"policySourceRef"`
}

type policySourceRef struct {
	Kind string `json:"kind"`
	Name string `json:"name"`
	Key  string `json:"key"`
}

func decodeSecretMetadata(raw json.RawMessage) (secretMetadata, error) {
	m, err := provider.DecodeMetadata[secretMetadata](raw)
	if e, ok := errors.AsType[*secret.Error](err); ok {
		return m, e.Err // whose metadata it is, and that it is invalid, the caller says
	}
	if err := oneOf("secretPushFormat", m.SecretPushFormat, []string{formatBinary, formatString}); err != nil {
		return m, err
	}
	if _, ok := m.Tags[provider.Mark]; ok {
		return m, errSecretMark
	}
	if m.ResourcePolicy != nil {
		ref := m.ResourcePolicy.PolicySourceRef
		if ref.Kind != "ConfigMap" && ref.Kind != "Secret" || ref.Name == "" || ref.Key == "" {
			return m, errPolicySource
		}
	}
	return m, nil
}

// check fails for a value that Secrets Manager cannot hold in the form that is asked for.
func (m secretMetadata) check(value secret.Value) error {
	switch {
	case value.Len() == 0:
		return errSecretEmpty
	case value.Len() > largestSecret:
		return errSecretLarge
	case m.SecretPushFormat == formatString && !utf8.Valid(value.Reveal()):
		return errSecretBinary
	}
	return nil
}

// form is a value as Secrets Manager is to keep it: one of the two is set.
func (m secretMetadata) form(value secret.Value) (binary []byte, text *string) {
	if m.SecretPushFormat == formatString {
		s := string(value.Reveal())
		return nil, &s
	}
	return value.Reveal(), nil
}

// asks reports whether the metadata says something about what is kept beside the value.
func (m secretMetadata) asks() bool {
	return len(m.Tags) > 0 || m.Description != "" || m.KMSKeyID != "" || m.ResourcePolicy != nil || len(m.ReplicationLocations) > 0
}
