package kubernetes

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"unicode/utf8"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/validation"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"

	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/secret"
)

var (
	errOutdated    = errors.New("the Secret was written to since it was looked at")
	errTerminating = errors.New("the Secret is being deleted, and a finalizer holds it")
	errImmutable   = errors.New("the Secret is immutable: delete it there, or push to another remoteKey")
	errPrivileged  = errors.New("a Secret of a service account token or bootstrap token is not written: set spec.template.type to Opaque, or push to another remoteKey")
	errNotFields   = errors.New("the value is no JSON object of strings, which could be the keys of a Secret: set remoteRef.property")
	errFieldNames  = errors.New("a member of the value cannot be a key of a Secret, which has letters, digits, '-', '_' and '.' alone: set remoteRef.property")
	errUnmarked    = errors.New("the Secret lacks the label " + provider.Mark + "=" + provider.ManagedBy + ", which those have that were made by a push: delete it there, or set the label to hand it over")
)

// remote is a Secret at the API server, and everything else that it has.
type remote struct {
	object
	Type      string `json:"type"`
	Immutable bool   `json:"immutable"`
}

// parse reads a Secret that was looked at before.
func parse(body secret.Value) (r remote, whole map[string]json.RawMessage, err error) {
	if err = json.Unmarshal(body.Reveal(), &r); err == nil {
		err = json.Unmarshal(body.Reveal(), &whole)
	}
	return r, whole, err
}

// kept is a Secret as it came: what is not known here is not lost when it is written.
type kept struct {
	typed
	body secret.Value
}

// UnmarshalJSON implements json.Unmarshaler.
func (k *kept) UnmarshalJSON(b []byte) error {
	k.body = secret.New(b)
	return json.Unmarshal(b, &k.typed)
}

// gone is the answer to a deletion: a Status, or the Secret while a finalizer holds it.
type gone struct{ typed }

func (g *gone) is(string) bool { return g.Kind == "Status" || g.Kind == "Secret" }

// Inspect implements provider.Writer. The namespace is that of the metadata, if it
// has one.
func (s *store) Inspect(ctx context.Context, ref secret.Ref, o provider.PutOptions) (provider.Holding, error) {
	m, err := s.decode(ref, o.Metadata, o.Cluster)
	if err != nil {
		return provider.Holding{}, err
	}
	return s.inspect(ctx, ref, m.RemoteNamespace)
}

func (s *store) inspect(ctx context.Context, ref secret.Ref, namespace string) (provider.Holding, error) {
	if len(validation.NameIsDNSSubdomain(ref.Key, false)) > 0 {
		return provider.Holding{}, fail(secret.Invalid, "write", ref, errKey)
	}
	var got kept
	err := s.do(ctx, request{
		call: callGet, op: "write", ref: ref, namespace: namespace,
		path: secretsPath(namespace, ref.Key), accept: asJSON, kind: "Secret",
	}, &got)
	if errors.Is(err, secret.NotFound) {
		return provider.Holding{Secret: secret.Secret{Fields: map[string]secret.Value{}}}, nil
	}
	if err != nil {
		return provider.Holding{}, err
	}
	r, _, err := parse(got.body)
	if err != nil {
		return provider.Holding{}, fail(secret.Invalid, "write", ref, errNoObject)
	}
	return provider.Holding{Exists: true, Secret: r.secret(), State: got.body}, nil
}

// look returns what a condition says, or else what is there.
func (s *store) look(ctx context.Context, ref secret.Ref, namespace string, held *provider.Holding) (provider.Holding, error) {
	if held != nil {
		return *held, nil
	}
	return s.inspect(ctx, ref, namespace)
}

// Put implements provider.Writer. A Secret that is not there gets the type of the
// origin, and the mark; one that is there keeps its type, and is written to also
// without the mark, unless it is controlled by another object.
func (s *store) Put(ctx context.Context, ref secret.Ref, content secret.Secret, o provider.PutOptions) (provider.Receipt, error) {
	m, err := s.decode(ref, o.Metadata, o.Cluster)
	if err != nil {
		return provider.Receipt{}, err
	}
	fields, err := fieldsOf(content)
	if err != nil {
		return provider.Receipt{}, fail(secret.Invalid, "write", ref, err)
	}
	held, err := s.look(ctx, ref, m.RemoteNamespace, o.If)
	if err != nil {
		return provider.Receipt{}, err
	}
	w := write{ref: ref, fields: fields, meta: m, owner: o.Owner, origin: o.Origin}
	if !held.Exists {
		return s.create(ctx, w)
	}
	body, ok := held.State.(secret.Value)
	r, whole, err := parse(body)
	if !ok || err != nil {
		return provider.Receipt{}, fail(secret.Internal, "write", ref, errOutdated)
	}
	return s.update(ctx, w, r, whole)
}

// write is what a Put is about.
type write struct {
	ref    secret.Ref
	fields map[string]secret.Value
	meta   pushMetadata
	owner  string
	origin provider.Origin
}

func (w write) data() map[string][]byte {
	out := make(map[string][]byte, len(w.fields))
	for k, v := range w.fields {
		out[k] = append([]byte{}, v.Reveal()...) // not null
	}
	return out
}

func (w write) fail(kind secret.Kind, err error) (provider.Receipt, error) {
	return provider.Receipt{}, fail(kind, "write", w.ref, err)
}

func (s *store) create(ctx context.Context, w write) (provider.Receipt, error) {
	if privileged(w.origin.Type) {
		return w.fail(secret.Invalid, errPrivileged)
	}
	labels, annotations := w.meta.wanted(objectMeta{}, w.origin)
	labels[provider.Mark] = w.owner
	body, err := json.Marshal(map[string]any{
		"apiVersion": "v1", "kind": "Secret", "data": w.data(), "type": w.origin.Type,
		"metadata": map[string]any{"name": w.ref.Key, "labels": labels, "annotations": annotations},
	})
	if err != nil {
		return w.fail(secret.Internal, err)
	}
	var made object
	err = s.do(ctx, request{
		call: callCreate, op: "write", ref: w.ref, namespace: w.meta.RemoteNamespace, method: http.MethodPost,
		path: secretsPath(w.meta.RemoteNamespace), accept: asJSON, kind: "Secret", body: body,
	}, &made)
	if errors.Is(err, secret.Conflict) {
		return w.fail(secret.Conflict, errOutdated)
	}
	return provider.Receipt{Version: secret.Version(made.Metadata.ResourceVersion), Written: err == nil}, err
}

// update writes the whole Secret under its resource version.
func (s *store) update(ctx context.Context, w write, r remote, whole map[string]json.RawMessage) (provider.Receipt, error) {
	if kind, err := w.refused(r); err != nil {
		return w.fail(kind, err)
	}
	labels, annotations := w.meta.wanted(r.Metadata, w.origin)
	if mark, marked := r.Metadata.Labels[provider.Mark]; marked {
		labels[provider.Mark] = mark
	}
	same := maps.EqualFunc(w.fields, r.secret().Fields, secret.Value.Same)
	switch {
	case same && maps.Equal(labels, r.Metadata.Labels) && maps.Equal(annotations, r.Metadata.Annotations):
		return provider.Receipt{Version: secret.Version(r.Metadata.ResourceVersion)}, nil
	case r.Immutable && !same:
		return w.fail(secret.Invalid, errImmutable)
	}
	body, err := replaced(whole, labels, annotations, w.data())
	if err != nil {
		return w.fail(secret.Internal, err)
	}
	var now object
	err = s.do(ctx, request{
		call: callUpdate, op: "write", ref: w.ref, namespace: w.meta.RemoteNamespace, method: http.MethodPut,
		path: secretsPath(w.meta.RemoteNamespace, w.ref.Key), accept: asJSON, kind: "Secret", body: body,
	}, &now)
	if errors.Is(err, secret.Conflict) || errors.Is(err, secret.NotFound) {
		return w.fail(secret.Conflict, errOutdated)
	}
	return provider.Receipt{Version: secret.Version(now.Metadata.ResourceVersion), Written: err == nil}, err
}

// refused says why a Secret that is there is not written to; nil if nothing is
// against it.
func (w write) refused(r remote) (secret.Kind, error) {
	switch err := foreign(r, w.owner); {
	case err != nil:
		return secret.Conflict, err
	case r.Metadata.DeletionTimestamp != "":
		return secret.Conflict, errTerminating
	case privileged(r.Type) || privileged(w.origin.Type):
		return secret.Invalid, errPrivileged
	case w.origin.Type != "" && w.origin.Type != r.Type:
		return secret.Invalid, fmt.Errorf("the Secret has the type %q, which cannot change to %q: set spec.template.type, or delete it there", r.Type, w.origin.Type)
	}
	return "", nil
}

// foreign says who a Secret belongs to, if it is somebody else.
func foreign(r remote, owner string) error {
	for _, o := range r.Metadata.OwnerReferences {
		if o.Controller {
			return fmt.Errorf("the Secret belongs to %s %q, which would write it again: push to another remoteKey", o.Kind, o.Name)
		}
	}
	if mark, marked := r.Metadata.Labels[provider.Mark]; marked && mark != owner {
		return fmt.Errorf("the Secret has the label %s=%s, so that it belongs to somebody else: push to another remoteKey, or set the label to %s", provider.Mark, mark, owner)
	}
	return nil
}

func privileged(kind string) bool {
	return slices.Contains([]corev1.SecretType{corev1.SecretTypeServiceAccountToken, corev1.SecretTypeBootstrapToken}, corev1.SecretType(kind))
}

// replaced returns a Secret with other labels, annotations and data.
func replaced(whole map[string]json.RawMessage, labels, annotations map[string]string, data map[string][]byte) ([]byte, error) {
	var meta map[string]json.RawMessage
	if err := json.Unmarshal(whole["metadata"], &meta); err != nil {
		return nil, errNoObject
	}
	for _, part := range []struct {
		in    map[string]json.RawMessage
		name  string
		value any
	}{{meta, "labels", labels}, {meta, "annotations", annotations}, {whole, "metadata", meta}, {whole, "data", data}} {
		b, err := json.Marshal(part.value)
		if err != nil {
			return nil, err
		}
		part.in[part.name] = b
	}
	return json.Marshal(whole)
}

// Delete implements provider.Deleter. What has no mark was not made by a push, and is
// not deleted.
func (s *store) Delete(ctx context.Context, ref secret.Ref, o provider.DeleteOptions) error {
	m, err := s.decode(ref, o.Metadata, o.Cluster)
	if err != nil {
		return err
	}
	held, err := s.look(ctx, ref, m.RemoteNamespace, o.If)
	if err != nil || !held.Exists {
		return err
	}
	state, ok := held.State.(secret.Value)
	r, _, err := parse(state)
	if !ok || err != nil {
		return fail(secret.Internal, "delete", ref, errOutdated)
	}
	if err = foreign(r, o.Owner); err == nil && r.Metadata.Labels[provider.Mark] != o.Owner {
		err = errUnmarked
	}
	if err != nil {
		return fail(secret.Conflict, "delete", ref, err)
	}
	if r.Metadata.DeletionTimestamp != "" {
		return nil
	}
	return s.remove(ctx, ref, m.RemoteNamespace, r.Metadata)
}

// remove deletes this very state of a Secret.
func (s *store) remove(ctx context.Context, ref secret.Ref, namespace string, meta objectMeta) error {
	body, err := json.Marshal(map[string]any{"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": map[string]string{
		"uid": meta.UID, "resourceVersion": meta.ResourceVersion,
	}})
	if err != nil {
		return fail(secret.Internal, "delete", ref, err)
	}
	err = s.do(ctx, request{
		call: callDelete, op: "delete", ref: ref, namespace: namespace, method: http.MethodDelete,
		path: secretsPath(namespace, ref.Key), accept: asJSON, body: body,
	}, &gone{})
	switch {
	case errors.Is(err, secret.NotFound):
		return nil
	case errors.Is(err, secret.Conflict):
		return fail(secret.Conflict, "delete", ref, errOutdated)
	}
	return err
}

// fieldsOf returns the keys of the Secret that holds the content.
func fieldsOf(content secret.Secret) (map[string]secret.Value, error) {
	if content.Fields != nil {
		for _, field := range secret.Keys(content.Fields) {
			if why := utilvalidation.IsConfigMapKey(field); len(why) > 0 {
				return nil, fmt.Errorf("%q cannot be a key of a Secret, which has letters, digits, '-', '_' and '.' alone: set another remoteRef.property", field)
			}
		}
		return content.Fields, nil
	}
	var members map[string]any
	value := content.Value.Reveal()
	if !utf8.Valid(value) || json.Unmarshal(value, &members) != nil || members == nil {
		return nil, errNotFields
	}
	fields := make(map[string]secret.Value, len(members))
	for member, v := range members {
		text, ok := v.(string)
		switch {
		case !ok:
			return nil, errNotFields
		case len(utilvalidation.IsConfigMapKey(member)) > 0: // not named: it is part of the value
			return nil, errFieldNames
		}
		fields[member] = secret.FromString(text)
	}
	return fields, nil
}
