package webhook

import (
	"context"
	"errors"
	"net/http"
	"slices"

	"github.com/keyferry/keyferry/internal/webhookapi"
	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/secret"
)

var (
	errNothingThere = errors.New("nothing takes what is pushed there: the answer was 404; correct " + root + "url")
	errProperty     = errors.New(root + "url uses .remoteRef.property, and whole secrets are pushed and deleted: use a store whose url has the key alone")
)

// Inspect implements provider.Writer: it asks for the secret with GET and no body,
// whatever the method and the body of the store. A service that does not let itself be
// asked, and one whose answer can only be read by a property, is Opaque.
func (s *store) Inspect(ctx context.Context, ref secret.Ref, _ provider.PutOptions) (provider.Holding, error) {
	if err := s.admit("write", ref); err != nil {
		return provider.Holding{}, err
	}
	m := webhookapi.Message{Method: http.MethodGet}
	var value secret.Value
	var err error
	opaque := webhookapi.Mentions(s.client.Spec.Result.JSONPath, "property")
	if opaque {
		_, err = s.client.Send(ctx, ref, m)
	} else {
		value, err = s.client.Get(ctx, ref, m)
	}
	switch {
	case errors.Is(err, secret.NotFound):
		return provider.Holding{}, nil
	case errors.Is(err, webhookapi.ErrMethod), err == nil && opaque:
		return provider.Holding{Exists: true, Opaque: true}, nil
	case err != nil:
		return provider.Holding{}, fail("write", ref, err)
	}
	return provider.Holding{Exists: true, Secret: secret.Secret{Value: value}}, nil
}

// Put implements provider.Writer: it sends the secret with the method of the store,
// POST if that is one of those that read. There is no mark, and no way to tell that
// somebody else wrote meanwhile: o.If saves asking for what is there.
func (s *store) Put(ctx context.Context, ref secret.Ref, content secret.Secret, o provider.PutOptions) (provider.Receipt, error) {
	if err := s.admit("write", ref); err != nil {
		return provider.Receipt{}, err
	}
	if _, err := provider.DecodeMetadata[struct{}](o.Metadata); err != nil {
		return provider.Receipt{}, fail("write", ref, err)
	}
	if o.If == nil {
		now, err := s.Inspect(ctx, ref, o)
		if err != nil {
			return provider.Receipt{}, err
		}
		o.If = &now
	}
	value, err := content.Text()
	if err != nil {
		return provider.Receipt{}, fail("write", ref, err)
	}
	if o.If.Exists && !o.If.Opaque && o.If.Secret.Value.Same(value) {
		return provider.Receipt{}, nil
	}
	if err := s.push(ctx, ref, value); err != nil {
		return provider.Receipt{}, fail("write", ref, err)
	}
	return provider.Receipt{Written: true}, nil
}

func (s *store) push(ctx context.Context, ref secret.Ref, value secret.Value) error {
	method := s.client.Spec.Method
	if slices.Contains([]string{"", http.MethodGet, http.MethodHead}, method) {
		method = http.MethodPost
	}
	_, err := s.client.Send(ctx, ref, webhookapi.Message{Method: method, Body: s.client.Spec.Body, Pushed: &value})
	if errors.Is(err, secret.NotFound) {
		return &secret.Error{Kind: secret.Invalid, Err: errNothingThere}
	}
	return err
}

// Delete implements provider.Deleter with DELETE and no body. Status 404 is success.
func (s *store) Delete(ctx context.Context, ref secret.Ref, _ provider.DeleteOptions) error {
	if err := s.admit("delete", ref); err != nil {
		return err
	}
	_, err := s.client.Send(ctx, ref, webhookapi.Message{Method: http.MethodDelete})
	if err == nil || errors.Is(err, secret.NotFound) {
		return nil
	}
	return fail("delete", ref, err)
}

// admit is what every call that writes begins with.
func (s *store) admit(op string, ref secret.Ref) error {
	switch {
	case s.closed.Load():
		return fail(op, ref, &secret.Error{Kind: secret.Unavailable, Err: errClosed})
	case webhookapi.Names(s.client.Spec.URL, "property"):
		return fail(op, ref, &secret.Error{Kind: secret.Unsupported, Err: errProperty})
	}
	return nil
}
