package gitlab

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/keyferry/keyferry/api/generators/v1alpha1"
	"github.com/keyferry/keyferry/generator"
	"github.com/keyferry/keyferry/internal/restapi"
	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/secret"
)

const (
	kind       = "GitlabDeployToken"
	defaultURL = "https://gitlab.com"
	authField  = "spec.auth.token.secretRef"
)

// Generator returns the generator of kind GitlabDeployToken. It makes "username" and
// "token"; Cleanup deletes the deploy token.
func Generator() generator.Generator {
	return generator.Define(generator.Definition[v1alpha1.GitlabDeployTokenSpec]{
		Kind: kind, Validate: validate, Generate: generate, Cleanup: cleanup,
	})
}

// state says which deploy token was made, and where. Its names are those of ESO, so
// that either cleans up what the other left.
type state struct {
	URL       string `json:"url"`
	ProjectID string `json:"projectID,omitempty"`
	GroupID   string `json:"groupID,omitempty"`
	TokenID   int64  `json:"tokenID"`
}

func validate(spec *v1alpha1.GitlabDeployTokenSpec) error {
	if _, err := tokens(state{URL: spec.URL, ProjectID: spec.ProjectID, GroupID: spec.GroupID}); err != nil {
		return err
	}
	if len(spec.Scopes) == 0 {
		return restapi.Invalid(kind, "spec.scopes", "is empty: name what the deploy token may do")
	}
	return cmp.Or(
		restapi.Required(kind, "spec.name", spec.Name, "it is what the deploy token is called in GitLab"),
		restapi.Selector(kind, authField, spec.Auth.Token.SecretRef.Name, spec.Auth.Token.SecretRef.Key),
	)
}

// tokens returns the address of the deploy tokens of a project or group.
func tokens(s state) (*url.URL, error) {
	if (s.ProjectID == "") == (s.GroupID == "") {
		return nil, restapi.Invalid(kind, "spec.projectID", "or spec.groupID must be set, and not both")
	}
	address := s.URL
	if address == "" {
		address = defaultURL
	}
	base, err := restapi.Endpoint(kind, "spec.url", address)
	if err != nil {
		return nil, err
	}
	if s.ProjectID != "" {
		return base.JoinPath("api", "v4", "projects", restapi.Segment(s.ProjectID), "deploy_tokens"), nil
	}
	return base.JoinPath("api", "v4", "groups", restapi.Segment(s.GroupID), "deploy_tokens"), nil
}

// order is the body of the request.
type order struct {
	Name      string   `json:"name"`
	Scopes    []string `json:"scopes"`
	Username  string   `json:"username,omitempty"`
	ExpiresAt string   `json:"expires_at,omitempty"`
}

func generate(ctx context.Context, spec *v1alpha1.GitlabDeployTokenSpec, env provider.Env) (generator.Output, error) {
	client, header, err := connect(ctx, spec, env)
	if err != nil {
		return generator.Output{}, err
	}
	left := state{URL: spec.URL, ProjectID: spec.ProjectID, GroupID: spec.GroupID}
	address, err := tokens(left)
	if err != nil {
		return generator.Output{}, err
	}
	body := order{Name: spec.Name, Username: spec.Username}
	for _, scope := range spec.Scopes {
		body.Scopes = append(body.Scopes, string(scope))
	}
	if spec.ExpiresAt != nil {
		body.ExpiresAt = spec.ExpiresAt.UTC().Format(time.RFC3339)
	}
	var made struct {
		ID              int64
		Username, Token string
		Expires         *time.Time `json:"expires_at"`
	}
	request := restapi.Request{
		Call: "CreateDeployToken", Method: http.MethodPost, URL: address, Header: header, JSON: body, Into: &made,
		Check: "spec.projectID or spec.groupID, spec.expiresAt, and what the token of spec.auth may do",
	}
	if err := client.Do(ctx, request); err != nil {
		return generator.Output{}, err
	}
	left.TokenID = made.ID
	if made.Token == "" || made.Username == "" || made.ID == 0 {
		restapi.Undo(ctx, func(ctx context.Context) error { return remove(ctx, client, header, left) })
		return generator.Output{}, client.Strange(request)
	}
	out := generator.Output{Values: map[string]secret.Value{
		"username": secret.FromString(made.Username), "token": secret.FromString(made.Token),
	}}
	if made.Expires != nil {
		out.Life.Expires = *made.Expires
	}
	out.State, err = json.Marshal(left)
	return out, err
}

func cleanup(ctx context.Context, spec *v1alpha1.GitlabDeployTokenSpec, env provider.Env, raw json.RawMessage) error {
	var left state
	if err := json.Unmarshal(raw, &left); err != nil {
		return restapi.Invalid(kind, "state", "is not that of a deploy token")
	}
	// The credential is for the place that the spec names, whoever wrote the state.
	if left.URL != spec.URL || left.ProjectID != spec.ProjectID || left.GroupID != spec.GroupID {
		return restapi.Invalid(kind, "state", "is of another server, project or group than the spec: delete that deploy token by hand")
	}
	client, header, err := connect(ctx, spec, env)
	if err != nil {
		return err
	}
	return remove(ctx, client, header, left)
}

// remove deletes the deploy token, if there is one.
func remove(ctx context.Context, client *restapi.Client, header http.Header, left state) error {
	if left.TokenID == 0 {
		return nil
	}
	address, err := tokens(left)
	if err != nil {
		return err
	}
	err = client.Do(ctx, restapi.Request{
		Call: "DeleteDeployToken", Method: http.MethodDelete, MayBeGone: true, Header: header,
		URL: address.JoinPath(strconv.FormatInt(left.TokenID, 10)), Check: "what the token of spec.auth may do",
	})
	if errors.Is(err, secret.NotFound) {
		return nil
	}
	return err
}

func connect(ctx context.Context, spec *v1alpha1.GitlabDeployTokenSpec, env provider.Env) (*restapi.Client, http.Header, error) {
	client, err := restapi.New(env, kind)
	if err != nil {
		return nil, nil, err
	}
	ref := spec.Auth.Token.SecretRef
	token, err := env.Credential(ctx, provider.CredentialRef{Namespace: ref.Namespace, Name: ref.Name, Key: ref.Key, Field: authField})
	if err != nil {
		return nil, nil, err
	}
	header := http.Header{}
	header.Set("PRIVATE-TOKEN", restapi.Text(token))
	return client, header, nil
}
