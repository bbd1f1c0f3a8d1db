package awstest

import (
	"encoding/base64"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Parameter is a parameter as it is at the moment.
type Parameter struct {
	Name, Type, KeyID, Description, Tier, Policies, DataType string
	Tags                                                     map[string]string
	// Values are those of the versions, the first of them version 1.
	Values []string
	// Labels are where labels are.
	Labels map[string]int
}

type storedParameter struct{ Parameter }

const (
	secureString = "SecureString"
	defaultKey   = "alias/aws/ssm"
)

// AddParameter puts a parameter there, past the API. One of that name gets a new version
// and keeps what it has besides; tags are added.
func (s *Server) AddParameter(name, kind, value string, tags map[string]string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, ok := s.parameters[name]
	if !ok {
		p = &storedParameter{Parameter{Name: name, Tier: "Standard", DataType: "text", Labels: map[string]int{}, Tags: map[string]string{}}}
		s.parameters[name] = p
	}
	p.Type, p.Values = kind, append(p.Values, value)
	if kind == secureString && p.KeyID == "" {
		p.KeyID = defaultKey
	}
	maps.Copy(p.Tags, tags)
}

// Parameter returns a parameter past the API. ok is false if there is none.
func (s *Server) Parameter(name string) (p Parameter, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	stored, ok := s.parameters[name]
	if !ok {
		return Parameter{}, false
	}
	p = stored.Parameter
	p.Tags, p.Labels, p.Values = maps.Clone(p.Tags), maps.Clone(p.Labels), slices.Clone(p.Values)
	return p, true
}

// ChangeParameter changes a parameter past the API. It does nothing if there is none.
func (s *Server) ChangeParameter(name string, change func(*Parameter)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if stored, ok := s.parameters[name]; ok {
		change(&stored.Parameter)
	}
}

// RemoveParameter removes a parameter, past the API.
func (s *Server) RemoveParameter(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.parameters, name)
}

func (s *Server) parameterStore() map[string]action {
	return map[string]action{
		"ssm:GetParameter":            on(s.getParameter),
		"ssm:GetParameters":           on(s.getParameters),
		"ssm:GetParametersByPath":     on(s.getParametersByPath),
		"ssm:DescribeParameters":      on(s.describeParameters),
		"ssm:PutParameter":            on(s.putParameter),
		"ssm:DeleteParameter":         on(s.deleteParameter),
		"ssm:LabelParameterVersion":   on(s.labelParameter),
		"ssm:ListTagsForResource":     on(s.listTags),
		"ssm:AddTagsToResource":       on(s.addTags),
		"ssm:RemoveTagsFromResource":  on(s.removeTags),
		"ssm:GetParameterHistory":     on(s.history),
		"ssm:UnlabelParameterVersion": on(s.unlabelParameter),
	}
}

func parameterARN(name string) string {
	return "arn:aws:ssm:" + Region + ":" + Account + ":parameter/" + strings.TrimPrefix(name, "/")
}

// lookUp returns the parameter and the version of "name", "name:version" or "name:label".
func (s *Server) lookUp(id string) (p *storedParameter, version int, selector string, err error) {
	name := id
	if !strings.HasPrefix(id, "arn:") {
		name, selector, _ = strings.Cut(id, ":")
	}
	for known, stored := range s.parameters {
		if known == name || parameterARN(known) == name {
			p = stored
		}
	}
	if p == nil {
		return nil, 0, "", refuse("ParameterNotFound", "")
	}
	if selector == "" {
		return p, len(p.Values), "", nil
	}
	version, err = strconv.Atoi(selector)
	if err != nil {
		version = p.Labels[selector]
	}
	if version < 1 || version > len(p.Values) {
		return nil, 0, "", refuse("ParameterVersionNotFound", "Systems Manager could not find version %s of %s.", selector, name)
	}
	return p, version, ":" + selector, nil
}

func (p *storedParameter) read(version int, selector string, decrypt bool) map[string]any {
	value := p.Values[version-1]
	if p.Type == secureString && !decrypt {
		value = base64.StdEncoding.EncodeToString([]byte("encrypted by " + p.KeyID))
	}
	out := map[string]any{"Name": p.Name, "Type": p.Type, "Value": value, "Version": version, "ARN": parameterARN(p.Name), "DataType": p.DataType}
	if selector != "" {
		out["Selector"] = selector
	}
	return out
}

func (s *Server) getParameter(_ *request, in struct {
	Name           string
	WithDecryption bool
},
) (any, error) {
	p, version, selector, err := s.lookUp(in.Name)
	if err != nil {
		return nil, err
	}
	return map[string]any{"Parameter": p.read(version, selector, in.WithDecryption)}, nil
}

const parametersMax = 10

func (s *Server) getParameters(_ *request, in struct {
	Names          []string
	WithDecryption bool
},
) (any, error) {
	if len(in.Names) == 0 || len(in.Names) > parametersMax {
		return nil, refuse("ValidationException", "1 to 10 names")
	}
	unique := map[string]bool{}
	found, bad := []any{}, []string{}
	for _, name := range in.Names {
		if unique[name] {
			return nil, refuse("ValidationException", "duplicate names")
		}
		unique[name] = true
		p, version, selector, err := s.lookUp(name)
		if err != nil {
			bad = append(bad, name)
			continue
		}
		found = append(found, p.read(version, selector, in.WithDecryption))
	}
	return map[string]any{"Parameters": found, "InvalidParameters": bad}, nil
}

type parameterFilter struct {
	Key    string
	Option string
	Values []string
}

func (s *Server) names() []string { return slices.Sorted(maps.Keys(s.parameters)) }

func (s *Server) getParametersByPath(_ *request, in struct {
	Path             string
	Recursive        bool
	WithDecryption   bool
	ParameterFilters []parameterFilter
	MaxResults       int
	NextToken        string
},
) (any, error) {
	if !strings.HasPrefix(in.Path, "/") || in.MaxResults > parametersMax {
		return nil, refuse("ValidationException", "The parameter doesn't meet the parameter name requirements: a path begins with /, and a page has up to 10")
	}
	below := strings.TrimSuffix(in.Path, "/") + "/"
	var found []string
	for _, name := range s.names() {
		rest, ok := strings.CutPrefix(name, below)
		if below == "/" && !strings.HasPrefix(name, "/") {
			rest, ok = name, true
		}
		if ok && (in.Recursive || !strings.Contains(rest, "/")) && s.parameters[name].passesAll(in.ParameterFilters) {
			found = append(found, name)
		}
	}
	names, next := page(found, in.NextToken, in.MaxResults, parametersMax)
	list := []any{}
	for _, name := range names {
		p := s.parameters[name]
		list = append(list, p.read(len(p.Values), "", in.WithDecryption))
	}
	return withToken(map[string]any{"Parameters": list}, next), nil
}

func (p *storedParameter) passesAll(filters []parameterFilter) bool {
	return !slices.ContainsFunc(filters, func(f parameterFilter) bool { return !p.passes(f) })
}

func (p *storedParameter) passes(f parameterFilter) bool {
	if key, ok := strings.CutPrefix(f.Key, "tag:"); ok {
		value, has := p.Tags[key]
		return has && (len(f.Values) == 0 || f.matches(value))
	}
	texts := map[string][]string{
		"Name": {p.Name}, "Path": {p.Name, "/" + strings.TrimPrefix(p.Name, "/")}, "Type": {p.Type}, "KeyId": {p.KeyID}, "Tier": {p.Tier},
	}
	return slices.ContainsFunc(texts[f.Key], f.matches)
}

func (f parameterFilter) matches(text string) bool {
	return slices.ContainsFunc(f.Values, func(v string) bool {
		switch f.Option {
		case "BeginsWith":
			return strings.HasPrefix(text, v)
		case "Contains":
			return strings.Contains(text, v)
		case "Recursive":
			return strings.HasPrefix(text, strings.TrimSuffix(v, "/")+"/")
		}
		return text == v
	})
}

const describeMax = 50

func (s *Server) describeParameters(_ *request, in struct {
	ParameterFilters []parameterFilter
	MaxResults       int
	NextToken        string
},
) (any, error) {
	if in.MaxResults > describeMax {
		return nil, refuse("ValidationException", "a page has up to 50")
	}
	var found []string
	for _, name := range s.names() {
		if s.parameters[name].passesAll(in.ParameterFilters) {
			found = append(found, name)
		}
	}
	names, next := page(found, in.NextToken, in.MaxResults, describeMax)
	list := []any{}
	for _, name := range names {
		list = append(list, s.parameters[name].entry())
	}
	return withToken(map[string]any{"Parameters": list}, next), nil
}

func (p *storedParameter) entry() map[string]any {
	out := map[string]any{"Name": p.Name, "Type": p.Type, "Version": len(p.Values), "Tier": p.Tier, "ARN": parameterARN(p.Name), "DataType": p.DataType}
	if p.KeyID != "" {
		out["KeyId"] = p.KeyID
	}
	if p.Description != "" {
		out["Description"] = p.Description
	}
	if p.Policies != "" {
		out["Policies"] = []any{map[string]string{"PolicyText": p.Policies, "PolicyType": "Expiration", "PolicyStatus": "Pending"}}
	}
	return out
}

var parameterName = regexp.MustCompile(`^[a-zA-Z0-9_.\-/]+$`)

type putParameterInput struct {
	Name, Type, Value, KeyId, Description, Tier, Policies, DataType, AllowedPattern string
	Overwrite                                                                       bool
	Tags                                                                            []tag
}

func (in putParameterInput) check(exists bool) error {
	if !parameterName.MatchString(in.Name) {
		return refuse("ValidationException", "Parameter name: can't be prefixed with ssm, and has only letters, digits and .-_/")
	}
	switch {
	case in.Value == "" || len(in.Value) > in.limit():
		return refuse("ValidationException", "the value must have 1 to %d characters", in.limit())
	case !in.typed(exists):
		return refuse("ValidationException", "Type must be String, StringList or SecureString")
	case in.KeyId != "" && in.Type != secureString:
		return refuse("ValidationException", "KeyId is required for secure strings, and for nothing else")
	case in.Overwrite && len(in.Tags) > 0:
		return refuse("ValidationException", "tags and overwrite can't be used together")
	case exists && !in.Overwrite:
		return refuse("ParameterAlreadyExists", "The parameter already exists. To overwrite this value, set the overwrite option in the request to true.")
	}
	return nil
}

func (in putParameterInput) typed(exists bool) bool {
	return exists && in.Type == "" || slices.Contains([]string{"String", "StringList", secureString}, in.Type)
}

func (in putParameterInput) limit() int {
	if in.Tier == "Advanced" || in.Tier == "Intelligent-Tiering" {
		return 8192
	}
	return 4096
}

func (s *Server) putParameter(_ *request, in putParameterInput) (any, error) {
	p, exists := s.parameters[in.Name]
	if err := in.check(exists); err != nil {
		return nil, err
	}
	if !exists {
		p = &storedParameter{Parameter{Name: in.Name, Type: in.Type, Tier: "Standard", DataType: "text", Labels: map[string]int{}, Tags: map[string]string{}}}
		s.parameters[in.Name] = p
	}
	if in.Tier == "Standard" && p.Tier == "Advanced" {
		return nil, refuse("ValidationException", "This parameter uses the advanced-parameter tier. You can't downgrade a parameter from the advanced-parameter tier to the standard-parameter tier.")
	}
	for _, set := range []struct {
		to *string
		by string
	}{{&p.Type, in.Type}, {&p.Tier, in.Tier}, {&p.Description, in.Description}, {&p.Policies, in.Policies}, {&p.DataType, in.DataType}} {
		if set.by != "" {
			*set.to = set.by
		}
	}
	switch {
	case p.Type != secureString:
		p.KeyID = ""
	case in.KeyId != "":
		p.KeyID = in.KeyId
	case p.KeyID == "":
		p.KeyID = defaultKey
	}
	for _, t := range in.Tags {
		p.Tags[t.Key] = t.Value
	}
	p.Values = append(p.Values, in.Value)
	return map[string]any{"Version": len(p.Values), "Tier": p.Tier}, nil
}

func (s *Server) deleteParameter(_ *request, in struct{ Name string }) (any, error) {
	if _, ok := s.parameters[in.Name]; !ok {
		return nil, refuse("ParameterNotFound", "")
	}
	delete(s.parameters, in.Name)
	return map[string]any{}, nil
}

func (s *Server) labelParameter(_ *request, in struct {
	Name             string
	ParameterVersion int
	Labels           []string
},
) (any, error) {
	p, ok := s.parameters[in.Name]
	if !ok {
		return nil, refuse("ParameterNotFound", "")
	}
	if in.ParameterVersion == 0 {
		in.ParameterVersion = len(p.Values)
	}
	if in.ParameterVersion > len(p.Values) {
		return nil, refuse("ParameterVersionNotFound", "")
	}
	for _, label := range in.Labels {
		p.Labels[label] = in.ParameterVersion
	}
	return map[string]any{"InvalidLabels": []string{}, "ParameterVersion": in.ParameterVersion}, nil
}

func (s *Server) unlabelParameter(_ *request, in struct {
	Name             string
	ParameterVersion int
	Labels           []string
},
) (any, error) {
	p, ok := s.parameters[in.Name]
	if !ok {
		return nil, refuse("ParameterNotFound", "")
	}
	maps.DeleteFunc(p.Labels, func(label string, version int) bool {
		return version == in.ParameterVersion && slices.Contains(in.Labels, label)
	})
	return map[string]any{"RemovedLabels": in.Labels, "InvalidLabels": []string{}}, nil
}

func (s *Server) history(_ *request, in struct {
	Name           string
	WithDecryption bool
	MaxResults     int
	NextToken      string
},
) (any, error) {
	p, ok := s.parameters[in.Name]
	if !ok {
		return nil, refuse("ParameterNotFound", "")
	}
	versions := make([]int, len(p.Values))
	for i := range versions {
		versions[i] = i + 1
	}
	versions, next := page(versions, in.NextToken, in.MaxResults, describeMax)
	list := []any{}
	for _, version := range versions {
		list = append(list, p.read(version, "", in.WithDecryption))
	}
	return withToken(map[string]any{"Parameters": list}, next), nil
}

// tagged is the input of the operations on tags.
type tagged struct{ ResourceType, ResourceId string }

func (s *Server) resource(in tagged) (*storedParameter, error) {
	if in.ResourceType != "Parameter" {
		return nil, refuse("InvalidResourceType", "")
	}
	p, ok := s.parameters[in.ResourceId]
	if !ok {
		return nil, refuse("InvalidResourceId", "%d characters that name nothing", len(in.ResourceId))
	}
	return p, nil
}

func (s *Server) listTags(_ *request, in tagged) (any, error) {
	p, err := s.resource(in)
	if err != nil {
		return nil, err
	}
	list := []tag{}
	for _, key := range slices.Sorted(maps.Keys(p.Tags)) {
		list = append(list, tag{key, p.Tags[key]})
	}
	return map[string]any{"TagList": list}, nil
}

func (s *Server) addTags(_ *request, in struct {
	tagged
	Tags []tag
},
) (any, error) {
	p, err := s.resource(in.tagged)
	if err != nil {
		return nil, err
	}
	for _, t := range in.Tags {
		p.Tags[t.Key] = t.Value
	}
	return map[string]any{}, nil
}

func (s *Server) removeTags(_ *request, in struct {
	tagged
	TagKeys []string
},
) (any, error) {
	p, err := s.resource(in.tagged)
	if err != nil {
		return nil, err
	}
	for _, key := range in.TagKeys {
		delete(p.Tags, key)
	}
	return map[string]any{}, nil
}
