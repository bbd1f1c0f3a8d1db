package vaultapi

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	esv1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	esmeta "github.com/keyferry/keyferry/api/meta/v1"
	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/provider/providertest"
	"github.com/keyferry/keyferry/secret"
)

const (
	ownID, ownKey         = "AKIAOWNOWNOWNOWNOWN1", "own-key-of-the-manifest"
	assumedID, assumedKey = "ASIAASSUMEDASSUMED12", "key-of-the-assumed-role"
	assumedToken          = "token-of-the-assumed-role"
)

// cloud plays AWS and a server that asks it: it knows keys, and checks what is signed
// with them as the description of Signature Version 4 says.
type cloud struct {
	t        *testing.T
	serverID string
	host     string
	region   string
	// external is the external ID that a role insists on.
	external string

	signer  string // who signed the last login
	assumed url.Values
	session string
}

func (c *cloud) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		c.t.Error(err)
	}
	switch r.URL.Path {
	case "/v1/auth/aws-here/login":
		if problem := c.login(body); problem != "" {
			respond(w, http.StatusBadRequest, map[string]any{"errors": []string{problem}})
			c.t.Logf("the login is refused: %s", problem)
			return
		}
		respond(w, http.StatusOK, map[string]any{"auth": map[string]any{"client_token": "token-of-iam", "lease_duration": 60}})
	case "/v1/auth/token/lookup-self":
		respond(w, http.StatusOK, map[string]any{"data": map[string]any{}})
	case "/":
		c.sts(w, r, string(body))
	default:
		respond(w, http.StatusNotFound, map[string]any{"errors": []string{"no handler"}})
	}
}

func (c *cloud) login(body []byte) string {
	var p map[string]string
	if err := json.Unmarshal(body, &p); err != nil || p["role"] != "reader" || p["iam_http_request_method"] != http.MethodPost {
		return "the parameters"
	}
	decoded := map[string]string{}
	for _, name := range []string{"iam_request_url", "iam_request_body", "iam_request_headers"} {
		b, err := base64.StdEncoding.DecodeString(p[name])
		if err != nil {
			return name
		}
		decoded[name] = string(b)
	}
	var h http.Header
	if err := json.Unmarshal([]byte(decoded["iam_request_headers"]), &h); err != nil {
		return "the headers"
	}
	if decoded["iam_request_url"] != "https://"+c.host+"/" || decoded["iam_request_body"] != "Action=GetCallerIdentity&Version=2011-06-15" {
		return "the request"
	}
	if h.Get("X-Vault-AWS-IAM-Server-ID") != c.serverID {
		return "the server's ID"
	}
	c.session = h.Get("X-Amz-Security-Token")
	return c.verify(h, decoded["iam_request_body"])
}

// verify checks the signature of a request to "/".
func (c *cloud) verify(h http.Header, body string) string {
	parts := map[string]string{}
	rest, ok := strings.CutPrefix(h.Get("Authorization"), "AWS4-HMAC-SHA256 ")
	for part := range strings.SplitSeq(rest, ",") {
		name, v, _ := strings.Cut(strings.TrimSpace(part), "=")
		parts[name] = v
	}
	scope := strings.Split(parts["Credential"], "/")
	date := h.Get("X-Amz-Date")
	if !ok || len(scope) != 5 || !slices.Equal(scope[1:4], []string{date[:8], c.region, "sts"}) {
		return "the scope"
	}
	names := strings.Split(parts["SignedHeaders"], ";")
	if c.serverID != "" && !slices.Contains(names, "x-vault-aws-iam-server-id") {
		return "the server's ID is not signed"
	}
	sum := func(s string) string { b := sha256.Sum256([]byte(s)); return hex.EncodeToString(b[:]) }
	h = h.Clone()
	h.Set("host", c.host)
	h.Set("content-length", fmt.Sprint(len(body)))
	canonical := "POST\n/\n\n"
	for _, name := range names {
		canonical += name + ":" + h.Get(name) + "\n"
	}
	canonical += "\n" + parts["SignedHeaders"] + "\n" + sum(body)
	key := []byte("AWS4" + map[string]string{ownID: ownKey, assumedID: assumedKey}[scope[0]])
	for _, s := range append(scope[1:], "AWS4-HMAC-SHA256\n"+date+"\n"+strings.Join(scope[1:], "/")+"\n"+sum(canonical)) {
		m := hmac.New(sha256.New, key)
		m.Write([]byte(s))
		key = m.Sum(nil)
	}
	if hex.EncodeToString(key) != parts["Signature"] {
		return "the signature"
	}
	c.signer = scope[0]
	return ""
}

// sts issues the credentials of roles.
func (c *cloud) sts(w http.ResponseWriter, _ *http.Request, body string) {
	form, err := url.ParseQuery(body)
	if err != nil {
		c.t.Error(err)
	}
	c.assumed = form
	action := form.Get("Action")
	if form.Get("ExternalId") != c.external {
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprintf(w, "<ErrorResponse><Error><Code>AccessDenied</Code><Message>%s</Message></Error></ErrorResponse>", providertest.Mark)
		return
	}
	fmt.Fprintf(w, `<%[1]sResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><%[1]sResult><Credentials><AccessKeyId>%[2]s</AccessKeyId><SecretAccessKey>%[3]s</SecretAccessKey><SessionToken>%[4]s</SessionToken><Expiration>%[5]s</Expiration></Credentials></%[1]sResult></%[1]sResponse>`,
		action, assumedID, assumedKey, assumedToken, time.Date(2031, 1, 1, 0, 0, 0, 0, time.UTC).Format(time.RFC3339))
}

// asCluster is the surroundings of a cluster store.
type asCluster struct{ *providertest.Env }

// Consumer says so.
func (asCluster) Consumer() provider.Consumer {
	return provider.Consumer{StoreKind: esv1.ClusterSecretStoreKind}
}

// serve starts the cloud and opens a client of it.
func (c *cloud) serve(t *testing.T, auth *esv1.VaultIamAuth, cluster bool) *Client {
	t.Helper()
	c.t = t
	server := httptest.NewServer(c)
	t.Cleanup(server.Close)
	t.Setenv("AWS_STS_ENDPOINT", server.URL)
	t.Setenv("AWS_ACCESS_KEY_ID", ownID)
	t.Setenv("AWS_SECRET_ACCESS_KEY", ownKey)
	env := providertest.NewEnv(t)
	env.Put("", providertest.Namespace, "aws", map[string]string{"id": ownID, "key": ownKey + "\n", "token": "session-token"})
	env.Put("ServiceAccount", providertest.Namespace, "reader", map[string]string{"eks.amazonaws.com/role-arn": "arn:aws:iam::111122223333:role/vault"})
	env.Issue = func(_ context.Context, r provider.TokenRequest) (string, error) {
		if !slices.Equal(r.Audiences, []string{"sts.amazonaws.com"}) || r.ServiceAccount != "reader" {
			t.Errorf("a token is asked for: %+v", r)
		}
		return "token-of-the-reader", nil
	}
	var used provider.Env = env
	if cluster {
		used = asCluster{env}
	}
	manifest := &esv1.VaultProvider{Server: server.URL, Auth: &esv1.VaultAuth{Iam: auth}}
	if err := CheckVault("spec", manifest); err != nil {
		t.Fatal(err)
	}
	cfg, err := Vault(t.Context(), "spec", manifest, used)
	if err != nil {
		t.Fatal(err)
	}
	client, err := Open(t.Context(), cfg, used)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func TestIam(t *testing.T) {
	keys := &esv1.VaultAwsAuthSecretRef{
		AccessKeyID: esmeta.SecretKeySelector{Name: "aws", Key: "id"}, SecretAccessKey: esmeta.SecretKeySelector{Name: "aws", Key: "key"},
	}
	withToken := *keys
	withToken.SessionToken = &esmeta.SecretKeySelector{Name: "aws", Key: "token"}
	absent := *keys
	absent.AccessKeyID.Name = "nobody"
	jwt := &esv1.VaultAwsJWTAuth{ServiceAccountRef: &esmeta.ServiceAccountSelector{Name: "reader"}}
	global := cloud{host: "sts.amazonaws.com", region: "us-east-1"}
	for name, tc := range map[string]struct {
		auth    esv1.VaultIamAuth
		cloud   cloud
		cluster bool
		signer  string
		session string
		assumed string
		kind    secret.Kind
	}{
		"keys":                         {auth: esv1.VaultIamAuth{SecretRef: keys}, cloud: global, signer: ownID},
		"keys of a session":            {auth: esv1.VaultIamAuth{SecretRef: &withToken}, cloud: global, signer: ownID, session: "session-token"},
		"with the ID of a server":      {auth: esv1.VaultIamAuth{SecretRef: keys, VaultAWSIAMServerID: "vault.test"}, cloud: cloud{host: global.host, region: global.region, serverID: "vault.test"}, signer: ownID},
		"without the ID it insists on": {auth: esv1.VaultIamAuth{SecretRef: keys}, cloud: cloud{host: global.host, region: global.region, serverID: "vault.test"}, kind: secret.Unauthenticated},
		"in a region":                  {auth: esv1.VaultIamAuth{SecretRef: keys, Region: "eu-central-1"}, cloud: cloud{host: "sts.eu-central-1.amazonaws.com", region: "eu-central-1"}, signer: ownID},
		"in another partition":         {auth: esv1.VaultIamAuth{SecretRef: keys, Region: "cn-north-1"}, cloud: cloud{host: "sts.cn-north-1.amazonaws.com.cn", region: "cn-north-1"}, signer: ownID},
		"a role": {
			auth: esv1.VaultIamAuth{SecretRef: keys, AWSIAMRole: "arn:aws:iam::111122223333:role/vault", ExternalID: "outside"}, cloud: cloud{host: global.host, region: global.region, external: "outside"},
			signer: assumedID, session: assumedToken, assumed: "AssumeRole",
		},
		"a role that is denied": {
			auth: esv1.VaultIamAuth{SecretRef: keys, AWSIAMRole: "arn:aws:iam::111122223333:role/vault"}, cloud: cloud{host: global.host, region: global.region, external: "outside"},
			kind: secret.Denied,
		},
		"a service account":                          {auth: esv1.VaultIamAuth{JWTAuth: jwt}, cloud: global, signer: assumedID, session: assumedToken, assumed: "AssumeRoleWithWebIdentity"},
		"keys that are not there":                    {auth: esv1.VaultIamAuth{SecretRef: &absent}, cloud: global, kind: secret.Unauthenticated},
		"the controller itself, for a cluster store": {cloud: global, cluster: true, signer: ownID},
		"the controller itself, for a tenant":        {cloud: global, kind: secret.Invalid},
	} {
		t.Run(name, func(t *testing.T) {
			aws := tc.cloud
			tc.auth.Role, tc.auth.Path = "reader", "aws-here"
			err := aws.serve(t, &tc.auth, tc.cluster).Check(t.Context())
			wantKind(t, err, tc.kind)
			if aws.signer != tc.signer || aws.session != tc.session || aws.assumed.Get("Action") != tc.assumed && tc.kind == "" {
				t.Errorf("signed by %q in session %q after %q", aws.signer, aws.session, aws.assumed.Get("Action"))
			}
			if err != nil && (strings.Contains(err.Error(), providertest.Mark) || !strings.Contains(err.Error(), "spec.auth.iam")) {
				t.Errorf("the error shows an answer, or names no field: %v", err)
			}
		})
	}
}
