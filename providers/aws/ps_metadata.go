package aws

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/secret"
)

var (
	errParameterEmpty  = errors.New("the value is empty, and Parameter Store keeps no empty values")
	errParameterBinary = errors.New("the value is not text, and Parameter Store keeps nothing else: encode it, or push the whole secret without metadata.spec.encodeAsDecoded")
	errParameterMark   = fmt.Errorf("metadata.spec.tags: %q is the mark of the owner: remove it", provider.Mark)
	errPolicies        = errors.New("metadata.spec.tier.policies must be a list, and needs the type Advanced or Intelligent-Tiering")
	errDowngrade       = errors.New("metadata.spec.tier.type: an advanced parameter cannot become a standard one: delete it first, or remove the type")
)

// parameterMetadata is what the metadata of a PushSecret says about a parameter.
type parameterMetadata struct {
	SecretType      types.ParameterType `json:"secretType"`
	KMSKeyID        string              `json:"kmsKeyID"`
	Tier            parameterTier       `json:"tier"`
	EncodeAsDecoded bool                `json:"encodeAsDecoded"`
	Tags            map[string]string   `json:"tags"`
	Description     string              `json:"description"`
}

type parameterTier struct {
	Type     types.ParameterTier `json:"type"`
	Policies json.RawMessage     `json:"policies"`
}

func (t parameterTier) policies() string {
	if string(t.Policies) == "null" {
		return ""
	}
	return string(t.Policies)
}

func decodeParameterMetadata(raw json.RawMessage) (parameterMetadata, error) {
	m, err := provider.DecodeMetadata[parameterMetadata](raw)
	if e, ok := errors.AsType[*secret.Error](err); ok {
		return m, e.Err // whose metadata it is, and that it is invalid, the caller says
	}
	if err := oneOf("secretType", m.SecretType, m.SecretType.Values()); err != nil {
		return m, err
	}
	if err := oneOf("tier.type", m.Tier.Type, m.Tier.Type.Values()); err != nil {
		return m, err
	}
	if _, ok := m.Tags[provider.Mark]; ok {
		return m, errParameterMark
	}
	policies := m.Tier.policies()
	if policies != "" && (policies[0] != '[' || m.Tier.Type == "" || m.Tier.Type == types.ParameterTierStandard) {
		return m, errPolicies
	}
	return m, nil
}

func oneOf[S ~string](field string, got S, known []S) error {
	if got == "" || slices.Contains(known, got) {
		return nil
	}
	return fmt.Errorf("metadata.spec.%s: %q is none of %v", field, got, known)
}

// text is what the parameter shall hold. Of a whole Secret it is a JSON object whose
// members are in Base64, unless the metadata asks for them as they are.
func (m parameterMetadata) text(s secret.Secret) (secret.Value, error) {
	value := s.Value
	if s.Fields != nil {
		fields := s.Fields
		for _, name := range secret.Keys(fields) {
			if m.EncodeAsDecoded && !utf8.Valid(fields[name].Reveal()) {
				return secret.Value{}, fmt.Errorf("%q: %w", name, errParameterBinary)
			}
		}
		value = s.Whole()
		if !m.EncodeAsDecoded {
			value = inBase64(fields)
		}
	}
	switch {
	case value.Len() == 0:
		return secret.Value{}, errParameterEmpty
	case !utf8.Valid(value.Reveal()):
		return secret.Value{}, errParameterBinary
	}
	return value, nil
}

func inBase64(fields map[string]secret.Value) secret.Value {
	encoded := make(map[string][]byte, len(fields))
	for name, v := range fields {
		encoded[name] = v.Reveal()
	}
	b, err := json.Marshal(encoded)
	if err != nil { // a map of bytes always encodes
		return secret.Value{}
	}
	return secret.New(b)
}

// asks reports whether the metadata says something that only DescribeParameters can tell.
func (m parameterMetadata) asks() bool {
	return m.SecretType != "" || m.KMSKeyID != "" || m.Tier.Type != "" || m.Description != ""
}

// differs reports whether a parameter is not as the metadata asks for. What it does not
// mention does not differ.
func (m parameterMetadata) differs(was *types.ParameterMetadata) bool {
	if was == nil {
		return false
	}
	kind := was.Type
	if m.SecretType != "" {
		kind = m.SecretType
	}
	key := m.KMSKeyID != "" && kind == types.ParameterTypeSecureString && otherKey(m.KMSKeyID, aws.ToString(was.KeyId))
	description := m.Description != "" && m.Description != aws.ToString(was.Description)
	return kind != was.Type || key || description || m.Tier.differs(was)
}

func (t parameterTier) differs(was *types.ParameterMetadata) bool {
	advanced := was.Tier == types.ParameterTierAdvanced
	return t.Type == types.ParameterTierAdvanced && !advanced || t.Type == types.ParameterTierStandard && advanced ||
		t.policies() != "" && !samePolicies(t.policies(), was.Policies)
}

// otherKey reports whether two names of KMS keys are those of different keys. An alias
// and an ID may be one key: they are not different.
func otherKey(a, b string) bool {
	short := func(s string) (name string, alias bool) {
		s = s[strings.LastIndex(s, ":")+1:]
		return strings.TrimPrefix(s, "key/"), strings.HasPrefix(s, "alias/")
	}
	x, xAlias := short(a)
	y, yAlias := short(b)
	return xAlias == yAlias && x != y
}

// samePolicies compares the list of a manifest with what Parameter Store keeps: one text
// for each member, in an order of its own.
func samePolicies(want string, have []types.ParameterInlinePolicy) bool {
	var list []json.RawMessage
	if json.Unmarshal([]byte(want), &list) != nil || len(list) != len(have) {
		return false
	}
	for _, policy := range have {
		text := secret.FromString(aws.ToString(policy.PolicyText))
		if !slices.ContainsFunc(list, func(one json.RawMessage) bool { return text.Same(secret.New(one)) }) {
			return false
		}
	}
	return true
}

// created is the request for a parameter that is not there.
func (m parameterMetadata) created(owner string) *ssm.PutParameterInput {
	in := &ssm.PutParameterInput{
		Type: types.ParameterTypeSecureString, Tier: m.Tier.Type,
		Tags: []types.Tag{{Key: aws.String(provider.Mark), Value: aws.String(owner)}},
	}
	if m.SecretType != "" {
		in.Type = m.SecretType
	}
	for _, key := range slices.Sorted(maps.Keys(m.Tags)) {
		in.Tags = append(in.Tags, types.Tag{Key: aws.String(key), Value: aws.String(m.Tags[key])})
	}
	m.describe(in, in.Type)
	return in
}

// changed is the request for a parameter that is there: what the metadata does not
// mention stays as it was. Without a KeyId Parameter Store would take the default key, and
// without a Tier the account's default, which an advanced parameter may not become.
func (m parameterMetadata) changed(kind types.ParameterType, was *types.ParameterMetadata) *ssm.PutParameterInput {
	if m.SecretType != "" {
		kind = m.SecretType
	}
	in := &ssm.PutParameterInput{Overwrite: aws.Bool(true), Type: kind, Tier: m.Tier.Type}
	if was != nil {
		in.Description, in.AllowedPattern, in.DataType = was.Description, was.AllowedPattern, was.DataType
		if kind == types.ParameterTypeSecureString && was.Type == kind {
			in.KeyId = was.KeyId
		}
		if in.Tier == "" && was.Tier == types.ParameterTierAdvanced {
			in.Tier = was.Tier
		}
	}
	m.describe(in, kind)
	return in
}

func (m parameterMetadata) describe(in *ssm.PutParameterInput, kind types.ParameterType) {
	if m.KMSKeyID != "" && kind == types.ParameterTypeSecureString {
		in.KeyId = &m.KMSKeyID
	}
	if m.Description != "" {
		in.Description = &m.Description
	}
	if policies := m.Tier.policies(); policies != "" {
		in.Policies = &policies
	}
}
