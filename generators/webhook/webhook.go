package webhook

import (
	"context"
	"errors"
	"fmt"

	esv1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	"github.com/keyferry/keyferry/api/generators/v1alpha1"
	esmeta "github.com/keyferry/keyferry/api/meta/v1"
	"github.com/keyferry/keyferry/generator"
	"github.com/keyferry/keyferry/internal/webhookapi"
	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/secret"
)

const kind = "Webhook"

// Generator returns the generator of kind Webhook. It makes the members of the JSON
// object that the service answers with.
func Generator() generator.Generator {
	return generator.Define(generator.Definition[v1alpha1.WebhookSpec]{
		Kind: kind, Generate: generate,
		Validate: func(spec *v1alpha1.WebhookSpec) error { return settings(spec).Validate() },
	})
}

// settings are those of the webhook provider, less the namespaces of Secrets and what is
// asked for by a key.
func settings(spec *v1alpha1.WebhookSpec) webhookapi.Settings {
	common := &esv1.WebhookProvider{
		Method: spec.Method, URL: spec.URL, Headers: spec.Headers, Auth: spec.Auth, Body: spec.Body, Timeout: spec.Timeout,
		Result: spec.Result, CABundle: spec.CABundle, CAProvider: spec.CAProvider,
	}
	for _, s := range spec.Secrets {
		common.Secrets = append(common.Secrets, esv1.WebhookSecret{
			Name: s.Name, SecretRef: esmeta.SecretKeySelector{Name: s.SecretRef.Name, Key: s.SecretRef.Key},
		})
	}
	return webhookapi.Settings{Name: kind, Root: "spec.", Spec: common, NoRef: true}
}

func generate(ctx context.Context, spec *v1alpha1.WebhookSpec, env provider.Env) (generator.Output, error) {
	client, err := webhookapi.Open(ctx, settings(spec), env)
	if err != nil {
		return generator.Output{}, err
	}
	defer client.Close()
	answer, err := client.Get(ctx, secret.Ref{}, client.Asking())
	if err != nil {
		return generator.Output{}, fail(err)
	}
	values, err := answer.Object()
	if err != nil {
		return generator.Output{}, client.Invalid("result.jsonPath", "must lead to a JSON object: its members are the values")
	}
	if len(values) == 0 {
		return generator.Output{}, client.Invalid("result.jsonPath", "leads to an empty JSON object")
	}
	return generator.Output{Values: values}, nil
}

// fail completes an error. That there is nothing at the address is an error of the spec,
// not a value that is gone.
func fail(err error) error {
	e := secret.Error{Kind: secret.KindOf(err), Err: err}
	if known, ok := errors.AsType[*secret.Error](err); ok {
		e = *known
	}
	if e.Op == "" {
		e.Op = "generate"
	}
	e.Provider = kind
	if e.Kind == secret.NotFound {
		e.Kind = secret.Invalid
		e.Err = fmt.Errorf("%w: correct spec.url", e.Err)
	}
	return &e
}
