package aws

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/ssm/types"
	"github.com/google/go-cmp/cmp"

	"github.com/keyferry/keyferry/internal/awstest"
	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/provider/providertest"
	"github.com/keyferry/keyferry/secret"
)

func inline(texts []string) []types.ParameterInlinePolicy {
	var out []types.ParameterInlinePolicy
	for _, text := range texts {
		out = append(out, types.ParameterInlinePolicy{PolicyText: &text})
	}
	return out
}

// racing is an Env in which something happens right before calls of one operation.
type racing struct {
	*providertest.Env
	operation string
	// events happen one before each call.
	events []func()
}

func (r *racing) HTTP(t provider.TLS) (*http.Client, error) {
	c, err := r.Env.HTTP(t)
	if err == nil {
		c.Transport = before{c.Transport, r}
	}
	return c, err
}

type before struct {
	http.RoundTripper
	*racing
}

func (b before) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Header.Get("X-Amz-Target") == "AmazonSSM."+b.operation && len(b.events) > 0 {
		event := b.events[0]
		b.events = b.events[1:]
		event()
	}
	return b.RoundTripper.RoundTrip(r)
}

func race(t *testing.T, operation string) (*parameters, *awstest.Server, *racing) {
	t.Helper()
	env := &racing{Env: providertest.NewEnv(t), operation: operation}
	server := awstest.Start(t, env.Time)
	t.Setenv("AWS_SSM_ENDPOINT", server.URL)
	store, err := Provider().Open(t.Context(), parameterSpec(env.Env, awstest.AccessKey), env)
	if err != nil {
		t.Fatal(err)
	}
	return store.(*parameters), server, env
}

// TestWhoWroteInBetweenIsPutBack has others write between the look and the write.
func TestWhoWroteInBetweenIsPutBack(t *testing.T) {
	write := func(value string) func(*awstest.Server) {
		return func(s *awstest.Server) { s.AddParameter("/a", "SecureString", value, nil) }
	}
	nothing := func(*awstest.Server) {}
	remove := func(s *awstest.Server) { s.RemoveParameter("/a") }
	cases := map[string]struct {
		events []func(*awstest.Server)
		want   []string
		kind   secret.Kind
	}{
		"nobody":                        {nil, []string{"older", "old", "ours"}, ""},
		"somebody":                      {[]func(*awstest.Server){write("theirs")}, []string{"older", "old", "theirs", "ours", "theirs"}, secret.Conflict},
		"two":                           {[]func(*awstest.Server){func(s *awstest.Server) { write("one")(s); write("two")(s) }}, []string{"older", "old", "one", "two", "ours", "two"}, secret.Conflict},
		"somebody while it is put back": {[]func(*awstest.Server){write("one"), write("two")}, []string{"older", "old", "one", "ours", "two", "one", "two"}, secret.Conflict},
		"somebody each time": {
			[]func(*awstest.Server){write("1"), write("2"), write("3"), write("4")},
			[]string{"older", "old", "1", "ours", "2", "1", "3", "2", "4", "3"},
			secret.Unavailable,
		},
		"somebody who deleted it":        {[]func(*awstest.Server){remove}, nil, secret.Conflict},
		"somebody who made another one":  {[]func(*awstest.Server){func(s *awstest.Server) { remove(s); write("theirs")(s) }}, []string{"theirs", "ours", "theirs"}, secret.Conflict},
		"somebody before the first look": {[]func(*awstest.Server){nothing}, []string{"older", "old", "ours"}, ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			p, server, env := race(t, "PutParameter")
			server.AddParameter("/a", "SecureString", "older", marked())
			server.AddParameter("/a", "SecureString", "old", nil)
			for _, event := range c.events {
				env.events = append(env.events, func() { event(server) })
			}
			_, err := p.Put(t.Context(), secret.Ref{Key: "/a"}, secret.Secret{Value: secret.FromString("ours")}, ours(""))
			if secret.KindOf(err) != c.kind {
				t.Errorf("error %v, want the kind %q", err, c.kind)
			}
			now, _ := server.Parameter("/a")
			if diff := cmp.Diff(c.want, now.Values); diff != "" {
				t.Errorf("versions (-want +got):\n%s", diff)
			}
		})
	}
}

// TestAnOutdatedConditionIsNoticed writes and deletes on what was seen some time ago.
func TestAnOutdatedConditionIsNoticed(t *testing.T) {
	ref := secret.Ref{Key: "/a"}
	put := func(p *parameters, held provider.Holding) error {
		o := ours("")
		o.If = &held
		_, err := p.Put(t.Context(), ref, secret.Secret{Value: secret.FromString("ours")}, o)
		return err
	}
	remove := func(p *parameters, held provider.Holding) error {
		return p.Delete(t.Context(), ref, provider.DeleteOptions{Owner: provider.ManagedBy, If: &held})
	}
	cases := map[string]struct {
		there     bool
		meanwhile func(*awstest.Server)
		do        func(*parameters, provider.Holding) error
		want      []string
	}{
		"put over what changed":     {true, func(s *awstest.Server) { s.AddParameter("/a", "String", "theirs", nil) }, put, []string{"old", "theirs"}},
		"put over what came":        {false, func(s *awstest.Server) { s.AddParameter("/a", "String", "theirs", marked()) }, put, []string{"theirs"}},
		"put over what was deleted": {true, func(s *awstest.Server) { s.RemoveParameter("/a") }, put, nil},
		"delete of what changed":    {true, func(s *awstest.Server) { s.AddParameter("/a", "String", "theirs", nil) }, remove, []string{"old", "theirs"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			p, server := openParameters(t, nil)
			if c.there {
				server.AddParameter("/a", "String", "old", marked())
			}
			held, err := p.Inspect(t.Context(), ref, ours(""))
			if err != nil || held.Exists != c.there {
				t.Fatalf("inspect: %+v, %v", held, err)
			}
			c.meanwhile(server)
			if err := c.do(p, held); secret.KindOf(err) != secret.Conflict || !strings.Contains(err.Error(), "/a") {
				t.Errorf("error %v, want a Conflict", err)
			}
			now, _ := server.Parameter("/a")
			if !slices.Equal(now.Values, c.want) {
				t.Errorf("the versions are %v, want %v", now.Values, c.want)
			}
		})
	}
}
