// Package webhookapi asks HTTP services what a manifest says with templates, and takes
// the value out of the answer with a JSON path. The webhook provider and the Webhook
// generator share it.
//
// It must not send a Secret that does not carry the label
// external-secrets.io/type=webhook, must not let a remote reference choose the host, and
// must not show an answer, a header or a URL in an error. Two clients share nothing.
//
//	settings := webhookapi.Settings{Name: "Webhook", Root: "spec.", Spec: spec, NoRef: true}
//	client, err := webhookapi.Open(ctx, settings, env)
//	defer client.Close()
//	value, err := client.Get(ctx, secret.Ref{}, client.Asking())
package webhookapi
