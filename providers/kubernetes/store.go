package kubernetes

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"sync/atomic"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/keyferry/keyferry/internal/httpx"
	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/secret"
)

// The names that ESO's metrics have for calls.
const (
	callGet    = "GetSecret"
	callList   = "ListSecrets"
	callCreate = "CreateSecret"
	callUpdate = "UpdateSecret"
	callDelete = "DeleteSecret"
	callRules  = "CreateSelfSubjectRulesReview"
	callAccess = "CreateSelfSubjectAccessReview"
)

const (
	// pageSize is how many Secrets are asked for at once. A page that is larger than
	// a response may be is asked for again with fewer.
	pageSize = 500
	asJSON   = "application/json"
	// asMetadata leaves the data of a Secret where it is.
	asMetadata = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
)

var (
	errVersion  = errors.New("a Kubernetes Secret has one version: remove remoteRef.version")
	errPath     = errors.New("the Secrets of a namespace are in no folders: remove find.path")
	errTags     = errors.New("find.tags are labels here, and one of them cannot be a label")
	errKey      = errors.New("the key is no name of a Secret, as in metadata.name")
	errClosed   = errors.New("the store is closed")
	errReviews  = errors.New("the credential may not ask what it may do")
	errNoObject = errors.New("the answer is no object of the Kubernetes API: check the server's address")
)

// store is written to by Close alone.
type store struct {
	target
	env       provider.Env
	client    *http.Client
	namespace string
	closed    atomic.Bool
}

var (
	_ provider.Reader  = (*store)(nil)
	_ provider.Lister  = (*store)(nil)
	_ provider.Checker = (*store)(nil)
	_ provider.Writer  = (*store)(nil)
	_ provider.Deleter = (*store)(nil)
)

// Close ends the store; later calls fail with Unavailable. There is no session to end.
func (s *store) Close() error {
	s.closed.Store(true)
	return nil
}

// typed is what every object of the API says of itself.
type typed struct {
	Kind string `json:"kind"`
}

func (t *typed) is(kind string) bool { return t.Kind == kind }

// object is what is read of a Secret.
type object struct {
	typed
	Metadata objectMeta        `json:"metadata"`
	Data     map[string][]byte `json:"data"`
}

type objectMeta struct {
	Name              string            `json:"name"`
	UID               string            `json:"uid"`
	ResourceVersion   string            `json:"resourceVersion"`
	DeletionTimestamp string            `json:"deletionTimestamp"`
	Labels            map[string]string `json:"labels"`
	Annotations       map[string]string `json:"annotations"`
	OwnerReferences   []ownerReference  `json:"ownerReferences"`
}

type ownerReference struct {
	Kind       string `json:"kind"`
	Name       string `json:"name"`
	Controller bool   `json:"controller"`
}

type objectList struct {
	typed
	Metadata struct {
		Continue string `json:"continue"`
	} `json:"metadata"`
	Items []object `json:"items"`
}

func (o object) secret() secret.Secret {
	fields := make(map[string]secret.Value, len(o.Data))
	for k, v := range o.Data {
		fields[k] = secret.New(v)
	}
	return secret.Secret{Fields: fields, Version: secret.Version(o.Metadata.ResourceVersion)}
}

func secretsPath(namespace string, key ...string) []string {
	return slices.Concat([]string{"api", "v1", "namespaces", namespace, "secrets"}, key)
}

// Get implements provider.Reader: the fields of the Secret, or its labels and
// annotations.
func (s *store) Get(ctx context.Context, ref secret.Ref) (secret.Secret, error) {
	switch {
	case ref.Version != "":
		return secret.Secret{}, fail(secret.Unsupported, "read", ref, errVersion)
	case len(validation.NameIsDNSSubdomain(ref.Key, false)) > 0:
		return secret.Secret{}, fail(secret.Invalid, "read", ref, errKey)
	}
	req := request{
		call: callGet, op: "read", ref: ref, namespace: s.namespace,
		path: secretsPath(s.namespace, ref.Key), accept: asJSON, kind: "Secret",
	}
	if ref.Metadata {
		req.accept, req.kind = asMetadata, "PartialObjectMetadata"
	}
	var got object
	if err := s.do(ctx, req, &got); err != nil {
		return secret.Secret{}, err
	}
	if ref.Metadata {
		return got.metadata()
	}
	return got.secret(), nil
}

// metadata leaves out the annotation in which kubectl keeps the data of a Secret.
func (o object) metadata() (secret.Secret, error) {
	doc := map[string]map[string]string{"labels": {}, "annotations": {}}
	maps.Copy(doc["labels"], o.Metadata.Labels)
	maps.Copy(doc["annotations"], o.Metadata.Annotations)
	delete(doc["annotations"], corev1.LastAppliedConfigAnnotation)
	b, err := json.Marshal(doc)
	return secret.Secret{Value: secret.New(b), Version: secret.Version(o.Metadata.ResourceVersion)}, err
}

// List implements provider.Lister: the Secrets of the namespace that carry q.Tags as
// labels, with their values.
func (s *store) List(ctx context.Context, q secret.Query) iter.Seq2[secret.Item, error] {
	return func(yield func(secret.Item, error) bool) {
		selector, err := labels.ValidatedSelectorFromSet(q.Tags)
		switch {
		case q.Path != "":
			err = fail(secret.Unsupported, "list", secret.Ref{}, errPath)
		case err != nil:
			err = fail(secret.Invalid, "list", secret.Ref{}, errTags)
		}
		if err != nil {
			yield(secret.Item{}, err)
			return
		}
		limit, next := pageSize, ""
		for {
			var page objectList
			if limit, err = s.page(ctx, selector, limit, next, &page); err != nil {
				yield(secret.Item{}, err)
				return
			}
			for _, o := range page.Items {
				value := o.secret()
				if !yield(secret.Item{Ref: secret.Ref{Key: o.Metadata.Name}, Secret: &value}, nil) {
					return
				}
			}
			if next = page.Metadata.Continue; next == "" {
				return
			}
		}
	}
}

// page reads one page and returns the limit at which it came.
func (s *store) page(ctx context.Context, selector labels.Selector, limit int, next string, page *objectList) (int, error) {
	for {
		query := url.Values{"limit": {strconv.Itoa(limit)}}
		if next != "" {
			query.Set("continue", next)
		}
		if !selector.Empty() {
			query.Set("labelSelector", selector.String())
		}
		*page = objectList{}
		err := s.do(ctx, request{
			call: callList, op: "list", namespace: s.namespace,
			path: secretsPath(s.namespace), query: query, accept: asJSON, kind: "SecretList",
		}, page)
		if !errors.Is(err, httpx.ErrTooLarge) || limit == 1 {
			return limit, err
		}
		limit = max(limit/10, 1)
	}
}

type rulesReview struct {
	typed
	Status struct {
		ResourceRules []rule `json:"resourceRules"`
	} `json:"status"`
}

type rule struct {
	Verbs     []string `json:"verbs"`
	APIGroups []string `json:"apiGroups"`
	Resources []string `json:"resources"`
}

func (r rule) readsSecrets() bool {
	has := func(list []string, want string) bool {
		return slices.Contains(list, want) || slices.Contains(list, "*")
	}
	return has(r.Verbs, "get") && has(r.APIGroups, "") && has(r.Resources, "secrets")
}

type accessReview struct {
	typed
	Status struct {
		Allowed bool `json:"allowed"`
	} `json:"status"`
}

// Check implements provider.Checker: it asks the API server whether any Secret of
// the namespace may be read. The rules tell of grants for single Secrets; the access
// review of authorizers that keep no rules.
func (s *store) Check(ctx context.Context) error {
	var rules rulesReview
	if err := s.review(ctx, callRules, "SelfSubjectRulesReview", map[string]any{"namespace": s.namespace}, &rules); err != nil {
		return err
	}
	if slices.ContainsFunc(rules.Status.ResourceRules, rule.readsSecrets) {
		return nil
	}
	var access accessReview
	attributes := map[string]any{"resourceAttributes": map[string]string{"namespace": s.namespace, "verb": "get", "resource": "secrets"}}
	if err := s.review(ctx, callAccess, "SelfSubjectAccessReview", attributes, &access); err != nil {
		return err
	}
	if !access.Status.Allowed {
		return fail(secret.Denied, "check", secret.Ref{}, fmt.Errorf("the credential may not get secrets in namespace %q: grant it in a Role there", s.namespace))
	}
	return nil
}

func (s *store) review(ctx context.Context, call, kind string, spec map[string]any, out answer) error {
	body, err := json.Marshal(map[string]any{"apiVersion": "authorization.k8s.io/v1", "kind": kind, "spec": spec})
	if err != nil {
		return fail(secret.Internal, "check", secret.Ref{}, err)
	}
	path := map[string]string{callRules: "selfsubjectrulesreviews", callAccess: "selfsubjectaccessreviews"}[call]
	err = s.do(ctx, request{
		call: call, op: "check", namespace: s.namespace, method: http.MethodPost,
		path: []string{"apis", "authorization.k8s.io", "v1", path}, accept: asJSON, kind: kind, body: body,
	}, out)
	if errors.Is(err, secret.Denied) {
		return fail(secret.Unsupported, "check", secret.Ref{}, errReviews)
	}
	return err
}
