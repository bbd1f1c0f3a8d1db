package provider

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/keyferry/keyferry/secret"
)

// ManagedBy is the value of the mark "managed-by" that our secrets carry at a backend
// that keeps tags, labels or metadata. It is what ESO writes.
const ManagedBy = "external-secrets"

// Mark is the name of the tag, label or metadata entry that says who owns a secret.
const Mark = "managed-by"

// Holding is what a key holds at the moment, as a writer sees it.
type Holding struct {
	// Exists is false if there is nothing, or only something deleted.
	Exists bool
	// Opaque is true if the backend never gives values back: Secret holds none.
	Opaque bool
	// Secret is the current version. If there is none it is the empty secret: with
	// Fields that are not nil for a backend that keeps fields.
	Secret secret.Secret
	// State is what the store wants to see again in Put or Delete. Nobody else reads it.
	State any
}

// Writer writes whole secrets. Properties are merged above it.
type Writer interface {
	// Inspect returns what ref.Key holds. That there is nothing is no error. Of o it
	// looks at what tells where the secret is: Metadata and Cluster.
	Inspect(ctx context.Context, ref secret.Ref, o PutOptions) (Holding, error)
	// Put makes the secret at ref.Key hold s (s.Whole() if the backend keeps no
	// fields), with the mark of o.Owner and the
	// metadata that o asks for; it creates what is not there. Where nothing differs
	// it writes nothing: values are compared by content (secret.Value.Same), and a
	// value that is already there gets no new version. It fails with Conflict if the
	// key has another owner, or if o.If is not what it holds any more and the backend
	// can tell. A failed Put may have happened; it may be repeated.
	Put(ctx context.Context, ref secret.Ref, s secret.Secret, o PutOptions) (Receipt, error)
}

// Deleter deletes whole secrets.
type Deleter interface {
	// Delete removes the secret at ref.Key. That there is none is no error. It fails
	// with Conflict if the key has another owner or, where the backend keeps marks,
	// none at all, and if o.If is not what it holds any more and the backend can tell.
	Delete(ctx context.Context, ref secret.Ref, o DeleteOptions) error
}

// PutOptions are the conditions and the surroundings of a Put.
type PutOptions struct {
	// If is what Inspect of this store returned for the key: compare-and-set on its
	// version, without reading again. Nil makes Put look itself.
	If *Holding
	// Owner is the value of the mark, ManagedBy.
	Owner string
	// Metadata is the metadata of the manifest, as it is there; see DecodeMetadata.
	Metadata json.RawMessage
	// Origin is the object that the secret comes from, for backends that can keep
	// some of it.
	Origin Origin
	// Cluster is true if the store is a cluster store. Some metadata is refused otherwise.
	Cluster bool
	// Consumer is the namespace of the object that the metadata is of: what the metadata
	// refers to is there.
	Consumer string
}

// DeleteOptions are the conditions of a Delete.
type DeleteOptions struct {
	// If and Owner are as in PutOptions.
	If    *Holding
	Owner string
	// Metadata is what the secret was put with; a backend may need it to find it.
	Metadata json.RawMessage
	// Cluster is as in PutOptions.
	Cluster bool
}

// Origin is what a Kubernetes Secret has beside its data.
type Origin struct {
	Type                string
	Labels, Annotations map[string]string
}

// Receipt is what a Put came to.
type Receipt struct {
	// Version is what the key has now; empty if the backend has none.
	Version secret.Version
	// Written is false if everything was there already.
	Written bool
}

// The envelope that metadata of a PushSecret comes in.
const (
	MetadataAPIVersion = "kubernetes.external-secrets.io/v1alpha1"
	MetadataKind       = "PushSecretMetadata"
)

// DecodeMetadata decodes what the metadata of a PushSecret has for a provider: the
// spec of the envelope, or, as older manifests have it, the fields without one. No
// metadata is the zero S. It fails with Invalid for what S does not have, and names
// it; the caller adds whose metadata it is.
func DecodeMetadata[S any](raw json.RawMessage) (S, error) {
	var out S
	if len(raw) == 0 || string(raw) == "null" {
		return out, nil
	}
	var top map[string]json.RawMessage
	if err := json.Unmarshal(raw, &top); err != nil {
		return out, badMetadata(errors.New("metadata is not an object"))
	}
	spec := raw
	if _, enveloped := top["spec"]; enveloped || top["apiVersion"] != nil || top["kind"] != nil {
		if err := checkEnvelope(top); err != nil {
			return out, badMetadata(err)
		}
		if spec = top["spec"]; len(spec) == 0 || string(spec) == "null" {
			return out, nil
		}
	}
	d := json.NewDecoder(bytes.NewReader(spec))
	d.DisallowUnknownFields()
	if err := d.Decode(&out); err != nil {
		return out, badMetadata(fmt.Errorf("metadata.spec: %s", strings.TrimPrefix(err.Error(), "json: ")))
	}
	return out, nil
}

func checkEnvelope(top map[string]json.RawMessage) error {
	for _, name := range slices.Sorted(maps.Keys(top)) {
		if !slices.Contains([]string{"apiVersion", "kind", "spec", "metadata"}, name) {
			return fmt.Errorf("metadata.%s is unknown: the fields belong into metadata.spec", name)
		}
	}
	for _, want := range []struct{ name, value string }{{"apiVersion", MetadataAPIVersion}, {"kind", MetadataKind}} {
		var got string
		if err := json.Unmarshal(top[want.name], &got); err != nil || got != want.value {
			return fmt.Errorf("metadata.%s must be %q", want.name, want.value)
		}
	}
	return nil
}

func badMetadata(err error) error {
	return &secret.Error{Kind: secret.Invalid, Op: "write", Err: err}
}
