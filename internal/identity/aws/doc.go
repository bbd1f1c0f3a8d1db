// Package awsidentity turns the part of a manifest that says who to be at AWS into
// credentials and the configuration of an SDK client. Providers, generators and logins
// that use AWS share it, so that roles, regions, endpoints and errors mean the same
// everywhere.
//
// Credentials come from the first that the manifest names: a token of a service account,
// keys in a Secret, else the default chain of the SDK, which is the controller's own
// identity. Roles are assumed on top, one after the other, each once in its life. The
// clients use the one HTTP transport, never retry (the funnel does) and never log.
//
// It must not write to the process environment, keep anything between two sessions, or let
// a text that a service sent into an error.
//
//	s, err := awsidentity.Open(ctx, awsidentity.Spec{
//		Provider: "aws", Field: "spec.provider.aws", AuthField: "spec.provider.aws.auth",
//		Region: "eu-central-1", Role: "arn:aws:iam::111122223333:role/reader",
//	}, awsidentity.EndpointsFromEnv(), env)
//	client := secretsmanager.NewFromConfig(s.Config, func(o *secretsmanager.Options) {
//		o.BaseEndpoint = s.Endpoints.SecretsManager
//	})
//	_, err = client.GetSecretValue(ctx, input)
//	return s.Fail("read", ref, err)
package awsidentity
