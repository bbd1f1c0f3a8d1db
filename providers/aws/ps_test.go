package aws

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	esv1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	"github.com/keyferry/keyferry/internal/awstest"
	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/provider/providertest"
	"github.com/keyferry/keyferry/secret"
)

// openParameters opens a store on a server of its own, as somebody who may not do what is
// denied.
func openParameters(t *testing.T, change func(*esv1.AWSProvider), denied ...string) (*parameters, *awstest.Server) {
	t.Helper()
	env := providertest.NewEnv(t)
	server := awstest.Start(t, env.Time)
	t.Setenv("AWS_SSM_ENDPOINT", server.URL)
	server.Trust(awstest.Identity{AccessKey: "AKIATEST", Denied: denied})
	s := parameterSpec(env, "AKIATEST")
	if change != nil {
		change(s)
	}
	store, err := Provider().Open(t.Context(), s, env)
	if err != nil {
		t.Fatal(err)
	}
	return store.(*parameters), server
}

func values(t *testing.T, results []secret.Result) []string {
	t.Helper()
	var out []string
	for _, r := range results {
		if r.Err != nil {
			out = append(out, string(secret.KindOf(r.Err)))
			continue
		}
		out = append(out, string(r.Secret.Value.Reveal()))
	}
	return out
}

func TestParametersAreReadInBatches(t *testing.T) {
	p, server := openParameters(t, func(s *esv1.AWSProvider) { s.Prefix = "/prod/" })
	var refs []secret.Ref
	var want []string
	for i := range 23 {
		name := fmt.Sprintf("db/%02d", i)
		server.AddParameter("/prod/"+name, "SecureString", "value of "+name, nil)
		refs, want = append(refs, secret.Ref{Key: name}), append(want, "value of "+name)
	}
	refs, want = append(refs, refs[3], secret.Ref{Key: "db/none"}, secret.Ref{Key: "db/00", Version: "1"}), append(want, want[3], "NotFound", want[0])
	got, err := p.GetBatch(t.Context(), refs)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, values(t, got)); diff != "" {
		t.Errorf("results (-want +got):\n%s", diff)
	}
	if many, one := server.Count("ssm:GetParameters"), server.Count("ssm:GetParameter"); many != 3 || one != 1 {
		t.Errorf("%d calls for many and %d for one, want 3 and 1 for the version", many, one)
	}
}

func TestParametersAreReadSinglyWhereABatchCannotBe(t *testing.T) {
	refused := awstest.Fault{Action: "ssm:GetParameters", Code: "AccessDeniedException", Status: 400, Times: 1}
	cases := map[string]struct {
		denied []string
		faults []awstest.Fault
		first  []string
		// many is the number of calls for many after two batches.
		many int
	}{
		"the call is not allowed, which is remembered": {denied: []string{"ssm:GetParameters"}, first: []string{"a", "b", "c"}, many: 1},
		"one of them is not allowed": {
			faults: []awstest.Fault{refused, {Action: "ssm:GetParameter", Code: "AccessDeniedException", Status: 400, Times: 1}},
			first:  []string{"Denied", "b", "c"}, many: 2,
		},
		"one of the names cannot be": {
			faults: []awstest.Fault{
				{Action: "ssm:GetParameters", Code: "ValidationException", Status: 400, Times: 1},
				{Action: "ssm:GetParameter", Code: "ValidationException", Status: 400, Times: 1},
			},
			first: []string{"Invalid", "b", "c"}, many: 2,
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			p, server := openParameters(t, nil, c.denied...)
			for _, key := range []string{"a", "b", "c"} {
				server.AddParameter("/"+key, "String", key, nil)
			}
			for _, f := range c.faults {
				server.Inject(f)
			}
			refs := []secret.Ref{{Key: "/a"}, {Key: "/b"}, {Key: "/c"}}
			for i, want := range [][]string{c.first, {"a", "b", "c"}} {
				got, err := p.GetBatch(t.Context(), refs)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(want, values(t, got)); diff != "" {
					t.Errorf("batch %d (-want +got):\n%s", i, diff)
				}
			}
			if n := server.Count("ssm:GetParameters"); n != c.many {
				t.Errorf("%d calls for many, want %d", n, c.many)
			}
		})
	}
}

func TestAThrottledBatchFailsAsAWhole(t *testing.T) {
	p, server := openParameters(t, nil)
	server.Inject(awstest.Fault{Action: "ssm:GetParameters", Code: "ThrottlingException", Status: 400})
	_, err := p.GetBatch(t.Context(), []secret.Ref{{Key: "/a"}, {Key: "/b"}})
	if secret.KindOf(err) != secret.RateLimited || server.Count("ssm:GetParameter") != 0 {
		t.Errorf("error %v after %d single calls, want RateLimited and no more calls", err, server.Count("ssm:GetParameter"))
	}
}

func TestParametersByLabel(t *testing.T) {
	p, server := openParameters(t, nil)
	server.AddParameter("/a", "SecureString", "old", nil)
	server.AddParameter("/a", "SecureString", "new", nil)
	server.ChangeParameter("/a", func(p *awstest.Parameter) { p.Labels["stable"] = 1 })
	for _, c := range []struct{ key, version, want string }{
		{"/a", "stable", "old"}, {"/a:stable", "", "old"}, {"/a:2", "", "new"}, {"/a", "nolabel", "NotFound"},
	} {
		got, err := p.GetBatch(t.Context(), []secret.Ref{{Key: c.key, Version: c.version}})
		if err != nil {
			t.Fatal(err)
		}
		if v := values(t, got); v[0] != c.want {
			t.Errorf("%s at %q: got %q, want %q", c.key, c.version, v[0], c.want)
		}
	}
}

func TestListOfParameters(t *testing.T) {
	all := map[string]string{}
	for i := range 25 {
		all[fmt.Sprintf("/prod/db/%02d", i)] = fmt.Sprintf("value %d", i)
	}
	one := map[string]string{"/prod/db/07": "value 7"}
	cases := map[string]struct {
		query  secret.Query
		prefix string
		denied []string
		want   map[string]string
		calls  map[string]int
	}{
		"values come with the names": {query: secret.Query{Path: "/prod"}, want: all, calls: map[string]int{"GetParametersByPath": 3}},
		"names are whole names, whatever the prefix": {
			query: secret.Query{Path: "/prod/db", Name: regexp.MustCompile("^/prod/db/07$")}, prefix: "/prod/",
			want: one, calls: map[string]int{"GetParametersByPath": 3},
		},
		"tags, in batches": {
			query: secret.Query{Tags: map[string]string{"team": "db"}}, prefix: "/prod/",
			want: all, calls: map[string]int{"DescribeParameters": 1, "GetParameters": 3},
		},
		"of those with tags only what the name selects is read": {
			query: secret.Query{Tags: map[string]string{"team": "db"}, Name: regexp.MustCompile("07$")},
			want:  one, calls: map[string]int{"DescribeParameters": 1, "GetParameter": 1},
		},
		"by names where the path is not allowed": {
			query: secret.Query{Path: "/prod/"}, denied: []string{"ssm:GetParametersByPath"},
			want: all, calls: map[string]int{"GetParametersByPath": 1, "DescribeParameters": 1, "GetParameters": 3},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			p, server := openParameters(t, func(s *esv1.AWSProvider) { s.Prefix = c.prefix }, c.denied...)
			server.AddParameter("/production", "String", "not below the path", nil)
			for key, value := range all {
				server.AddParameter(key, "SecureString", value, map[string]string{"team": "db"})
			}
			got := map[string]string{}
			for item, err := range p.List(t.Context(), c.query) {
				if err != nil || item.Secret == nil {
					t.Fatalf("item %v, error %v", item.Ref, err)
				}
				got[item.Ref.Key] = string(item.Secret.Value.Reveal())
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("found (-want +got):\n%s", diff)
			}
			made := map[string]int{}
			for _, call := range server.Calls() {
				made[strings.TrimPrefix(call.Action, "ssm:")]++
			}
			if diff := cmp.Diff(c.calls, made); diff != "" {
				t.Errorf("calls (-want +got):\n%s", diff)
			}
		})
	}
}

// TestListOfParametersThatCannotBeRead: what is gone by the time it is read is left out,
// any other failure is one of the listing.
func TestListOfParametersThatCannotBeRead(t *testing.T) {
	cases := map[string]struct {
		fault awstest.Fault
		want  []string
		kind  secret.Kind
	}{
		"gone meanwhile":      {awstest.Fault{Action: "ssm:GetParameter", Code: "ParameterNotFound", Status: 400, Times: 1}, []string{"/b", "/c"}, ""},
		"one is not allowed":  {awstest.Fault{Action: "ssm:GetParameter", Code: "AccessDeniedException", Status: 400, Times: 1}, nil, secret.Denied},
		"a batch fails":       {awstest.Fault{Action: "ssm:GetParameters", Code: "ThrottlingException", Status: 400}, nil, secret.RateLimited},
		"the listing fails":   {awstest.Fault{Action: "ssm:DescribeParameters", Code: "InternalServerError", Status: 500}, nil, secret.Unavailable},
		"nothing is the case": {awstest.Fault{Action: "ssm:PutParameter", Code: "ThrottlingException", Status: 400}, []string{"/a", "/b", "/c"}, ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			var denied []string
			if c.fault.Action == "ssm:GetParameter" {
				denied = []string{"ssm:GetParameters"}
			}
			p, server := openParameters(t, nil, denied...)
			for _, key := range []string{"/a", "/b", "/c"} {
				server.AddParameter(key, "String", key, map[string]string{"team": "db"})
			}
			server.Inject(c.fault)
			var got []string
			var failed error
			for item, err := range p.List(t.Context(), secret.Query{Tags: map[string]string{"team": "db"}}) {
				if failed = err; err == nil {
					got = append(got, item.Ref.Key)
				}
			}
			if !slices.Equal(got, c.want) || secret.KindOf(failed) != c.kind {
				t.Errorf("found %v, error %v; want %v and the kind %q", got, failed, c.want, c.kind)
			}
		})
	}
}

func TestCheckReadsNoParameter(t *testing.T) {
	for name, denied := range map[string][]string{"allowed to list": nil, "not allowed to": {"ssm:DescribeParameters"}} {
		t.Run(name, func(t *testing.T) {
			p, server := openParameters(t, nil, denied...)
			if err := p.Check(t.Context()); err != nil {
				t.Errorf("check: %v", err)
			}
			if server.Count() != 1 || server.Count("ssm:DescribeParameters") != 1 {
				t.Errorf("the calls are %v", server.Calls())
			}
		})
	}
}

func enveloped(spec string) json.RawMessage {
	return json.RawMessage(`{"apiVersion":"` + provider.MetadataAPIVersion + `","kind":"` + provider.MetadataKind + `","spec":` + spec + `}`)
}

func ours(metadata string) provider.PutOptions {
	o := provider.PutOptions{Owner: provider.ManagedBy}
	if metadata != "" {
		o.Metadata = enveloped(metadata)
	}
	return o
}

func marked(more ...string) map[string]string {
	tags := map[string]string{provider.Mark: provider.ManagedBy}
	for i := 0; i < len(more); i += 2 {
		tags[more[i]] = more[i+1]
	}
	return tags
}

func TestNewParameter(t *testing.T) {
	text := secret.Secret{Value: secret.FromString("v")}
	whole := secret.Secret{Fields: map[string]secret.Value{"user": secret.FromString("kim"), "pass": secret.FromString("<&>")}}
	cases := map[string]struct {
		content  secret.Secret
		metadata string
		want     awstest.Parameter
	}{
		"is encrypted": {text, "", awstest.Parameter{Type: "SecureString", KeyID: "alias/aws/ssm", Values: []string{"v"}}},
		"is what the metadata says": {
			text,
			`{"secretType":"SecureString","kmsKeyID":"alias/mine","tier":{"type":"Advanced"},"description":"of kim","tags":{"team":"db"}}`,
			awstest.Parameter{
				Type: "SecureString", KeyID: "alias/mine", Tier: "Advanced", Description: "of kim",
				Tags: marked("team", "db"), Values: []string{"v"},
			},
		},
		"has no key if it is plain": {text, `{"secretType":"String","kmsKeyID":"alias/mine"}`, awstest.Parameter{Type: "String", Values: []string{"v"}}},
		"holds a whole Secret in Base64": {
			whole, "", awstest.Parameter{Type: "SecureString", KeyID: "alias/aws/ssm", Values: []string{`{"pass":"PCY+","user":"a2lt"}`}},
		},
		"holds a whole Secret as it is": {
			whole, `{"encodeAsDecoded":true}`, awstest.Parameter{Type: "SecureString", KeyID: "alias/aws/ssm", Values: []string{`{"pass":"<&>","user":"kim"}`}},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			p, server := openParameters(t, func(s *esv1.AWSProvider) { s.Prefix = "/prod/" })
			for i, want := range []bool{true, false} {
				got, err := p.Put(t.Context(), secret.Ref{Key: "db"}, c.content, ours(c.metadata))
				if err != nil || got.Written != want || got.Version != "1" {
					t.Fatalf("put %d: %+v, %v", i, got, err)
				}
			}
			c.want.Name, c.want.DataType, c.want.Labels = "/prod/db", "text", map[string]int{}
			if c.want.Tier == "" {
				c.want.Tier = "Standard"
			}
			if c.want.Tags == nil {
				c.want.Tags = marked()
			}
			got, _ := server.Parameter("/prod/db")
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("the parameter (-want +got):\n%s", diff)
			}
		})
	}
}

// TestExistingParameter has what is there, a write, and what is there then: all that the
// metadata does not mention stays as it is.
func TestExistingParameter(t *testing.T) {
	plain := awstest.Parameter{Type: "String", Tier: "Standard"}
	own := awstest.Parameter{Type: "SecureString", KeyID: "alias/own", Tier: "Advanced", Description: "old"}
	type writes struct {
		value, metadata string
		denied          []string
		// versions is how many there are afterwards; written is what the receipt says.
		versions int
		written  bool
		tags     map[string]string
		want     awstest.Parameter
	}
	cases := map[string]struct {
		was awstest.Parameter
		writes
	}{
		"plain stays plain":                {plain, writes{value: "new", versions: 2, written: true, want: plain}},
		"key, tier and description stay":   {own, writes{value: "new", versions: 2, written: true, want: own}},
		"equal content is no new version":  {own, writes{value: "old", versions: 1, want: own}},
		"metadata that is met is nothing":  {own, writes{value: "old", metadata: `{"description":"old","kmsKeyID":"alias/own","tier":{"type":"Advanced"},"secretType":"SecureString"}`, versions: 1, want: own}},
		"an ID may be the key of an alias": {own, writes{value: "old", metadata: `{"kmsKeyID":"1234"}`, versions: 1, want: own}},
		"a description, of equal content":  {plain, writes{value: "old", metadata: `{"description":"d"}`, versions: 2, written: true, want: awstest.Parameter{Type: "String", Tier: "Standard", Description: "d"}}},
		"a key, of equal content": {own, writes{
			value: "old", metadata: `{"kmsKeyID":"arn:aws:kms:eu-central-1:1:alias/other"}`, versions: 2, written: true,
			want: awstest.Parameter{Type: "SecureString", KeyID: "arn:aws:kms:eu-central-1:1:alias/other", Tier: "Advanced", Description: "old"},
		}},
		"encryption that is asked for":                {plain, writes{value: "old", metadata: `{"secretType":"SecureString"}`, versions: 2, written: true, want: awstest.Parameter{Type: "SecureString", KeyID: "alias/aws/ssm", Tier: "Standard"}}},
		"plain that is asked for":                     {own, writes{value: "old", metadata: `{"secretType":"String"}`, versions: 2, written: true, want: awstest.Parameter{Type: "String", Tier: "Advanced", Description: "old"}}},
		"a better tier":                               {plain, writes{value: "old", metadata: `{"tier":{"type":"Advanced"}}`, versions: 2, written: true, want: awstest.Parameter{Type: "String", Tier: "Advanced"}}},
		"tags, of equal content":                      {plain, writes{value: "old", metadata: `{"tags":{"team":"db"}}`, versions: 1, written: true, tags: marked("cost", "1", "team", "db"), want: plain}},
		"tags that are there":                         {plain, writes{value: "old", metadata: `{"tags":{"cost":"1"}}`, versions: 1, want: plain}},
		"a new value where nothing else is shown":     {plain, writes{value: "new", denied: []string{"ssm:DescribeParameters"}, versions: 2, written: true, want: plain}},
		"equal content where nothing can be compared": {plain, writes{value: "old", metadata: `{"description":"d"}`, denied: []string{"ssm:DescribeParameters"}, versions: 1, want: plain}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			p, server := openParameters(t, nil, c.denied...)
			server.AddParameter("/a", c.was.Type, "old", marked("cost", "1"))
			server.ChangeParameter("/a", func(p *awstest.Parameter) {
				p.KeyID, p.Tier, p.Description = c.was.KeyID, c.was.Tier, c.was.Description
			})
			content := secret.Secret{Value: secret.FromString(c.value)}
			got, err := p.Put(t.Context(), secret.Ref{Key: "/a"}, content, ours(c.metadata))
			if err != nil || got.Written != c.written || got.Version != secret.Version(fmt.Sprint(c.versions)) {
				t.Fatalf("put: %+v, %v", got, err)
			}
			now, _ := server.Parameter("/a")
			if diff := cmp.Diff([]string{"old", c.value}[2-c.versions:], now.Values); diff != "" {
				t.Errorf("versions (-want +got):\n%s", diff)
			}
			if c.tags == nil {
				c.tags = marked("cost", "1")
			}
			if diff := cmp.Diff(c.tags, now.Tags); diff != "" {
				t.Errorf("tags (-want +got):\n%s", diff)
			}
			now = awstest.Parameter{Type: now.Type, KeyID: now.KeyID, Tier: now.Tier, Description: now.Description}
			if diff := cmp.Diff(c.want, now); diff != "" {
				t.Errorf("the parameter (-want +got):\n%s", diff)
			}
			again, err := p.Put(t.Context(), secret.Ref{Key: "/a"}, content, ours(c.metadata))
			if err != nil || again.Written {
				t.Errorf("put again: %+v, %v", again, err)
			}
		})
	}
}

func TestParametersThatCannotBe(t *testing.T) {
	text := secret.Secret{Value: secret.FromString("v")}
	binary := secret.FromString("\xff")
	cases := map[string]struct {
		content  secret.Secret
		metadata string
		want     string
	}{
		"an empty value":              {secret.Secret{}, "", "empty"},
		"bytes":                       {secret.Secret{Value: binary}, "", "not text"},
		"bytes in a field as it is":   {secret.Secret{Fields: map[string]secret.Value{"a": binary}}, `{"encodeAsDecoded":true}`, `"a"`},
		"more than a parameter holds": {secret.Secret{Value: secret.FromString(strings.Repeat("x", 5000))}, "", "tier.type"},
		"a type that is none":         {text, `{"secretType":"Secret"}`, "metadata.spec.secretType"},
		"a tier that is none":         {text, `{"tier":{"type":"Best"}}`, "metadata.spec.tier.type"},
		"the mark":                    {text, `{"tags":{"managed-by":"me"}}`, "metadata.spec.tags"},
		"policies of a standard one":  {text, `{"tier":{"policies":[]}}`, "metadata.spec.tier.policies"},
		"policies that are no list":   {text, `{"tier":{"type":"Advanced","policies":{}}}`, "metadata.spec.tier.policies"},
		"a field that is unknown":     {text, `{"keyID":"x"}`, "keyID"},
		"a tier that is worse":        {text, `{"tier":{"type":"Standard"}}`, "metadata.spec.tier.type"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			p, server := openParameters(t, nil)
			key := "/new"
			if name == "a tier that is worse" {
				key = "/advanced"
				server.AddParameter(key, "String", "v", marked())
				server.ChangeParameter(key, func(p *awstest.Parameter) { p.Tier = "Advanced" })
			}
			_, err := p.Put(t.Context(), secret.Ref{Key: key}, c.content, ours(c.metadata))
			if secret.KindOf(err) != secret.Invalid || !strings.Contains(err.Error(), c.want) || strings.Count(err.Error(), "Invalid") != 1 {
				t.Errorf("error %v, want one that is Invalid and names %s", err, c.want)
			}
			if now, ok := server.Parameter("/new"); ok {
				t.Errorf("there is %v", now)
			}
		})
	}
}

func TestAParameterKeepsItsTypeAtAWS(t *testing.T) {
	p, server := openParameters(t, nil)
	server.AddParameter("/a", "String", "v", marked())
	server.Inject(awstest.Fault{Action: "ssm:PutParameter", Code: "HierarchyTypeMismatchException", Status: 400})
	_, err := p.Put(t.Context(), secret.Ref{Key: "/a"}, secret.Secret{Value: secret.FromString("v")}, ours(`{"secretType":"SecureString"}`))
	if secret.KindOf(err) != secret.Invalid || !strings.Contains(err.Error(), "metadata.spec.secretType") {
		t.Errorf("error %v, want one that is Invalid and names the field", err)
	}
}

// TestAnUnchangedParameterCostsTwoCalls: one for the value and one for the owner.
func TestAnUnchangedParameterCostsTwoCalls(t *testing.T) {
	p, server := openParameters(t, nil)
	server.AddParameter("/a", "SecureString", "v", marked())
	ref := secret.Ref{Key: "/a"}
	held, err := p.Inspect(t.Context(), ref, ours(""))
	if err != nil || !held.Exists {
		t.Fatalf("inspect: %+v, %v", held, err)
	}
	o := ours("")
	o.If = &held
	if got, err := p.Put(t.Context(), ref, held.Secret, o); err != nil || got.Written {
		t.Errorf("put: %+v, %v", got, err)
	}
	var calls []string
	for _, c := range server.Calls() {
		calls = append(calls, c.Action)
	}
	if want := []string{"ssm:GetParameter", "ssm:ListTagsForResource"}; !slices.Equal(calls, want) {
		t.Errorf("the calls are %v, want %v", calls, want)
	}
}

func TestPoliciesAreSent(t *testing.T) {
	p, server := openParameters(t, nil)
	_, err := p.Put(t.Context(), secret.Ref{Key: "/a"}, secret.Secret{Value: secret.FromString("v")}, ours(`{"tier":{"type":"Advanced","policies":[{"Type":"Expiration"}]}}`))
	if now, _ := server.Parameter("/a"); err != nil || now.Policies != `[{"Type":"Expiration"}]` {
		t.Errorf("policies %q, %v", now.Policies, err)
	}
}

func TestPoliciesAreComparedAsSets(t *testing.T) {
	for name, c := range map[string]struct {
		want string
		have []string
		same bool
	}{
		"in another order and form": {`[{"Type":"A","x":1},{"Type":"B"}]`, []string{`{ "Type":"B" }`, `{"x":1.0,"Type":"A"}`}, true},
		"another one":               {`[{"Type":"A"}]`, []string{`{"Type":"B"}`}, false},
		"one more":                  {`[{"Type":"A"},{"Type":"B"}]`, []string{`{"Type":"A"}`}, false},
		"none":                      {`[]`, nil, true},
	} {
		if got := samePolicies(c.want, inline(c.have)); got != c.same {
			t.Errorf("%s: same is %v", name, got)
		}
	}
}
