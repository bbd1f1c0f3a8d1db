package v1

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	kjson "k8s.io/apimachinery/pkg/util/json"
)

// SecretStoreProvider is the kind of store: exactly one member. A member that this
// build does not know is kept as it is, so that reading and writing an object loses
// nothing.
type SecretStoreProvider struct {
	// Fake keeps its secrets in the manifest itself, for tests and demonstrations.
	// +optional
	Fake *FakeProvider `json:"fake,omitempty"`
	// Kubernetes reads Secrets of a namespace, here or in another cluster.
	// +optional
	Kubernetes *KubernetesProvider `json:"kubernetes,omitempty"`
	// Webhook asks an HTTP service.
	// +optional
	Webhook *WebhookProvider `json:"webhook,omitempty"`
	// Vault reads KV secrets of HashiCorp Vault and what speaks its API.
	// +optional
	Vault *VaultProvider `json:"vault,omitempty"`
	// OpenBao reads KV secrets of OpenBao.
	// +optional
	OpenBao *OpenBaoProvider `json:"openBao,omitempty"`
	// AWS reads and writes secrets of AWS Secrets Manager and Parameter Store.
	// +optional
	AWS *AWSProvider `json:"aws,omitempty"`

	// unknown holds the members that no field above is for, as they came.
	unknown map[string]json.RawMessage `json:"-"`
}

// member is one field of SecretStoreProvider.
type member struct {
	name string
	set  bool
	spec any
}

func (p *SecretStoreProvider) members() []member {
	return []member{
		{"fake", p.Fake != nil, p.Fake},
		{"kubernetes", p.Kubernetes != nil, p.Kubernetes},
		{"webhook", p.Webhook != nil, p.Webhook},
		{"vault", p.Vault != nil, p.Vault},
		{"openBao", p.OpenBao != nil, p.OpenBao},
		{"aws", p.AWS != nil, p.AWS},
	}
}

// Selected returns the key under spec.provider and the pointer of that member, such
// as "vault" and a *VaultProvider. The spec is nil if this build has no type for it.
// Both are zero unless exactly one member is set, and for a nil receiver.
func (p *SecretStoreProvider) Selected() (name string, spec any) {
	if p == nil {
		return "", nil
	}
	set := slices.DeleteFunc(p.members(), func(m member) bool { return !m.set })
	for name := range p.unknown {
		set = append(set, member{name: name})
	}
	if len(set) != 1 {
		return "", nil
	}
	return set[0].name, set[0].spec
}

type providerFields SecretStoreProvider

// UnmarshalJSON reads the members; what it does not know is kept, names and bytes.
func (p *SecretStoreProvider) UnmarshalJSON(b []byte) error {
	var fields providerFields
	if err := kjson.Unmarshal(b, &fields); err != nil {
		return fmt.Errorf("spec.provider: %w", err)
	}
	var unknown map[string]json.RawMessage
	if err := json.Unmarshal(b, &unknown); err != nil {
		return fmt.Errorf("spec.provider: %w", err)
	}
	for _, m := range p.members() {
		delete(unknown, m.name)
	}
	maps.DeleteFunc(unknown, func(_ string, raw json.RawMessage) bool { return string(raw) == "null" })
	*p = SecretStoreProvider(fields)
	if len(unknown) > 0 {
		p.unknown = unknown
	}
	return nil
}

// MarshalJSON writes the members that are set and those that were kept.
func (p SecretStoreProvider) MarshalJSON() ([]byte, error) {
	known, err := json.Marshal(providerFields(p))
	if err != nil || len(p.unknown) == 0 {
		return known, err
	}
	out := known[:len(known)-1]
	for _, name := range slices.Sorted(maps.Keys(p.unknown)) {
		if len(out) > 1 {
			out = append(out, ',')
		}
		key, err := json.Marshal(name)
		if err != nil {
			return nil, err
		}
		out = append(append(append(out, key...), ':'), p.unknown[name]...)
	}
	return append(out, '}'), nil
}
