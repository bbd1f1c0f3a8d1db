package awstest_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keyferry/keyferry/internal/awstest"
	"github.com/keyferry/keyferry/provider/providertest"
)

// judge is a T that keeps what was found wrong.
type judge struct {
	*testing.T
	found []string
}

func (j *judge) Errorf(format string, args ...any) {
	j.found = append(j.found, fmt.Sprintf(format, args...))
}

// send makes a request as a client of AWS makes it, and returns status and body.
func send(t *testing.T, s *awstest.Server, target, body string, change func(*http.Request)) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+"/", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	service, _, _ := strings.Cut(target, ".")
	r.Header.Set("X-Amz-Target", target)
	r.Header.Set("Content-Type", "application/x-amz-json-1.1")
	r.Header.Set("X-Amz-Date", "20300102T030405Z")
	r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential="+awstest.AccessKey+"/20300102/eu-central-1/"+
		strings.Replace(service, "AmazonSSM", "ssm", 1)+"/aws4_request, SignedHeaders=host;x-amz-date, Signature="+strings.Repeat("0", 64))
	if change != nil {
		change(r)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func start(t *testing.T) (*awstest.Server, *judge) {
	j := &judge{T: t}
	return awstest.Start(j, providertest.NewClock(time.Unix(1_900_000_000, 0))), j
}

// What no client of AWS sends fails the test that runs it.
func TestRequestsOfAnotherShapeAreFound(t *testing.T) {
	cases := map[string]struct {
		target, body string
		change       func(*http.Request)
		bad          bool
	}{
		"good":                     {target: "secretsmanager.GetSecretValue", body: `{"SecretId":"a"}`},
		"good, of parameters":      {target: "AmazonSSM.GetParameters", body: `{"Names":["a"],"WithDecryption":true}`},
		"a member that is not one": {target: "secretsmanager.GetSecretValue", body: `{"SecretId":"a","Stage":"b"}`, bad: true},
		"a list for a text":        {target: "AmazonSSM.GetParameter", body: `{"Name":["a"]}`, bad: true},
		"no such operation":        {target: "secretsmanager.ReadSecret", body: `{}`, bad: true},
		"no such service":          {target: "kms.Decrypt", body: `{}`, bad: true},
		"a path": {
			target: "secretsmanager.GetSecretValue", body: `{"SecretId":"a"}`, bad: true,
			change: func(r *http.Request) { r.URL.Path = "/secret" },
		},
		"no signature": {
			target: "secretsmanager.GetSecretValue", body: `{"SecretId":"a"}`, bad: true,
			change: func(r *http.Request) { r.Header.Del("Authorization") },
		},
		"signed for another service": {
			target: "secretsmanager.GetSecretValue", body: `{"SecretId":"a"}`, bad: true,
			change: func(r *http.Request) {
				r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), "/secretsmanager/", "/ssm/", 1))
			},
		},
		"another content type": {
			target: "secretsmanager.GetSecretValue", body: `{"SecretId":"a"}`, bad: true,
			change: func(r *http.Request) { r.Header.Set("Content-Type", "application/json") },
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			s, j := start(t)
			send(t, s, c.target, c.body, c.change)
			if (len(j.found) > 0) != c.bad {
				t.Errorf("found: %v", j.found)
			}
		})
	}
}

func TestLabelsMoveAsAtAWS(t *testing.T) {
	s, _ := start(t)
	s.AddSecret("a", []byte("1"), nil)
	s.AddSecret("a", []byte("2"), nil)
	stored, _ := s.Secret("a")
	first, second := stored.Versions[0].ID, stored.Versions[1].ID
	move := func(from, to string) int {
		status, _ := send(t, s, "secretsmanager.UpdateSecretVersionStage",
			fmt.Sprintf(`{"SecretId":"a","VersionStage":"AWSCURRENT","RemoveFromVersionId":%q,"MoveToVersionId":%q}`, from, to), nil)
		return status
	}
	if got := move(first, first); got != http.StatusBadRequest {
		t.Errorf("moving a label from where it is not: %d", got)
	}
	if got := move(second, first); got != http.StatusOK {
		t.Errorf("moving a label: %d", got)
	}
	stored, _ = s.Secret("a")
	got := [][]string{stored.Versions[0].Stages, stored.Versions[1].Stages}
	if diff := cmp.Diff([][]string{{"AWSCURRENT"}, {"AWSPREVIOUS"}}, got); diff != "" {
		t.Errorf("labels (-want +got):\n%s", diff)
	}
}

func TestFaultsAndIdentities(t *testing.T) {
	s, _ := start(t)
	s.AddSecret("a", []byte("1"), nil)
	s.Inject(awstest.Fault{Action: "secretsmanager:GetSecretValue", Code: "InternalServiceError", Status: 500, Times: 2})
	s.Trust(awstest.Identity{AccessKey: "AKIAWEAK", Denied: []string{"secretsmanager:Get*"}})
	as := func(key string) func(*http.Request) {
		return func(r *http.Request) {
			r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), awstest.AccessKey, key, 1))
		}
	}
	var got []string
	for _, change := range []func(*http.Request){nil, nil, nil, as("AKIAWEAK"), as("AKIANOBODY")} {
		status, body := send(t, s, "secretsmanager.GetSecretValue", `{"SecretId":"a"}`, change)
		code := ""
		for _, known := range []string{"InternalServiceError", "AccessDeniedException", "UnrecognizedClientException"} {
			if strings.Contains(body, known) {
				code = known
			}
		}
		got = append(got, fmt.Sprint(status, code))
	}
	want := []string{"500InternalServiceError", "500InternalServiceError", "200", "400AccessDeniedException", "403UnrecognizedClientException"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("answers (-want +got):\n%s", diff)
	}
	if n := s.Count("secretsmanager:GetSecretValue"); n != 5 || !slices.ContainsFunc(s.Calls(), func(c awstest.Call) bool { return c.AccessKey == "AKIAWEAK" }) {
		t.Errorf("%d calls counted", n)
	}
}

func TestACallHangsUntilItsCallerLeaves(t *testing.T) {
	s, _ := start(t)
	s.Trust(awstest.Identity{AccessKey: awstest.AccessKey, Situation: awstest.Hanging})
	ctx, leave := context.WithCancel(t.Context())
	go func() {
		<-s.Reached()
		leave()
	}()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, s.URL, strings.NewReader(`{}`))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Amz-Target", "secretsmanager.ListSecrets")
	r.Header.Set("Content-Type", "application/x-amz-json-1.1")
	r.Header.Set("X-Amz-Date", "20300102T030405Z")
	r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential="+awstest.AccessKey+"/20300102/eu-central-1/secretsmanager/aws4_request, SignedHeaders=host, Signature="+strings.Repeat("0", 64))
	if _, err := http.DefaultClient.Do(r); err == nil {
		t.Error("there was an answer")
	}
}
