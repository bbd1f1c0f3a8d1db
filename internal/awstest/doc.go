// Package awstest is AWS for tests: Secrets Manager, Parameter Store, STS and ECR in
// process, as far as Keyferry calls them, and a starter for moto's server, which this
// project did not write.
//
// The server speaks the JSON and query protocols, keeps state, and holds requests to the
// shapes of the public API reference: a member that an operation does not have fails the
// test. Who may do what is said by access key; faults belong to an access key or to an
// action. Every error message it sends holds a mark that must not show up anywhere.
// What it does not have: signatures that are checked, policies in IAM's language, and
// eventual consistency. It must not be imported outside of tests.
//
//	s := awstest.Start(t, env.Time)
//	s.Trust(awstest.Identity{AccessKey: "AKIAWEAK", Denied: []string{"secretsmanager:*"}})
//	s.Inject(awstest.Fault{Action: "secretsmanager:PutSecretValue", Code: "InternalServiceError", Status: 500, Times: 1})
//	// … point clients at s.URL …
//	n := s.Count("secretsmanager:GetSecretValue")
package awstest
