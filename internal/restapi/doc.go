// Package restapi is what the generators of remote services share: one request to a
// JSON API, the service accounts that log in there, and the JSON web tokens that such
// APIs take and give.
//
// It must not know a service, keep anything between two calls, or show what a service
// sent: errors hold the scheme, host and port, the status and the field of the spec to
// look at. Requests go over the client of provider.Env, and with it through the egress
// policy; redirects are not followed.
//
//	client, err := restapi.New(env, "GitlabDeployToken")
//	var made struct{ ID int64 }
//	err = client.Do(ctx, restapi.Request{
//		Call: "CreateDeployToken", Method: http.MethodPost, URL: base.JoinPath("deploy_tokens"),
//		JSON: body, Into: &made, Check: "spec.projectID",
//	})
package restapi
