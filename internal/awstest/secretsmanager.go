package awstest

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

const (
	current  = "AWSCURRENT"
	previous = "AWSPREVIOUS"

	absent  = "Secrets Manager can't find the specified secret."
	pageMax = 100
)

// Secret is a secret as it is at the moment.
type Secret struct {
	Name, ARN, Description, KMSKeyID, Policy string
	// BlockPublic is what the policy was put with.
	BlockPublic bool
	Tags        map[string]string
	// Replicas are regions.
	Replicas []string
	Versions []Version
	// Deleted is true while the secret waits for its end, Window days of it.
	Deleted bool
	Window  int
}

// Version is one version of a secret.
type Version struct {
	ID     string
	Stages []string
	// Binary is true if Value was sent as SecretBinary.
	Binary bool
	Value  []byte

	created float64
}

type storedSecret struct {
	Secret
	created float64
}

// AddSecret puts a secret there, past the API: what tests begin with. A secret of that
// name gets a new version and keeps what it has besides; tags are added.
func (s *Server) AddSecret(name string, value []byte, tags map[string]string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	stored, ok := s.secrets[name]
	if !ok {
		stored = s.newSecret(name)
	}
	if stored.Tags == nil {
		stored.Tags = map[string]string{}
	}
	maps.Copy(stored.Tags, tags)
	stored.Deleted = false
	stored.add(Version{ID: s.id(), Value: slices.Clone(value), Binary: !utf8.Valid(value), created: s.now()}, []string{current})
}

// Secret returns a secret past the API. ok is false if there is none.
func (s *Server) Secret(name string) (secret Secret, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	stored, ok := s.secrets[name]
	if !ok {
		return Secret{}, false
	}
	secret = stored.Secret
	secret.Tags, secret.Replicas = maps.Clone(secret.Tags), slices.Clone(secret.Replicas)
	secret.Versions = slices.Clone(secret.Versions)
	for i := range secret.Versions {
		secret.Versions[i].Stages = slices.Clone(secret.Versions[i].Stages)
	}
	return secret, true
}

// Current returns the version that a secret has; the zero Version if it has none.
func (s Secret) Current() Version {
	for _, v := range s.Versions {
		if slices.Contains(v.Stages, current) {
			return v
		}
	}
	return Version{}
}

// ChangeSecret changes a secret past the API. It does nothing if there is none.
func (s *Server) ChangeSecret(name string, change func(*Secret)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if stored, ok := s.secrets[name]; ok {
		change(&stored.Secret)
	}
}

// RemoveSecret removes a secret at once, past the API.
func (s *Server) RemoveSecret(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.secrets, name)
}

func (s *Server) newSecret(name string) *storedSecret {
	s.serial++
	stored := &storedSecret{Secret: Secret{
		Name: name, ARN: fmt.Sprintf("arn:aws:secretsmanager:%s:%s:secret:%s-%06d", Region, Account, name, s.serial),
	}, created: s.now()}
	s.secrets[name] = stored
	return stored
}

// add appends a version and moves the stages to it.
func (s *storedSecret) add(v Version, stages []string) {
	s.Versions = append(s.Versions, v)
	for _, stage := range stages {
		s.move(stage, v.ID)
	}
}

// move takes a stage to a version from where it was; AWSPREVIOUS follows AWSCURRENT.
func (s *storedSecret) move(stage, to string) {
	from := ""
	for i := range s.Versions {
		v := &s.Versions[i]
		if slices.Contains(v.Stages, stage) {
			from = v.ID
		}
		v.Stages = slices.DeleteFunc(slices.Clone(v.Stages), func(has string) bool { return has == stage })
		if v.ID == to {
			v.Stages = append(v.Stages, stage)
		}
	}
	if stage == current && from != "" && from != to {
		s.move(previous, from)
	}
}

func (s *storedSecret) version(match func(Version) bool) *Version {
	for i := range s.Versions {
		if match(s.Versions[i]) {
			return &s.Versions[i]
		}
	}
	return nil
}

// find returns the secret of a name or an ARN, also of an ARN without its random end.
func (s *Server) find(id string) (*storedSecret, error) {
	if id == "" {
		return nil, refuse("ValidationException", "SecretId is required")
	}
	if stored, ok := s.secrets[id]; ok {
		return stored, nil
	}
	for _, stored := range s.secrets {
		if id == stored.ARN || id == stored.ARN[:len(stored.ARN)-7] {
			return stored, nil
		}
	}
	return nil, refuse("ResourceNotFoundException", absent)
}

// alive is find for operations that a deleted secret refuses.
func (s *Server) alive(id string) (*storedSecret, error) {
	stored, err := s.find(id)
	if err == nil && stored.Deleted {
		return nil, refuse("InvalidRequestException", "You can't perform this operation on the secret because it was marked for deletion.")
	}
	return stored, err
}

type tag struct{ Key, Value string }

type filter struct {
	Key    string
	Values []string
}

type replica struct{ Region, KmsKeyId string }

// secretID is the input of operations that need no more.
type secretID struct{ SecretId string }

func (s *Server) secretsManager() map[string]action {
	return map[string]action{
		"secretsmanager:CreateSecret":                 on(s.createSecret),
		"secretsmanager:GetSecretValue":               on(s.getSecretValue),
		"secretsmanager:BatchGetSecretValue":          on(s.batchGetSecretValue),
		"secretsmanager:DescribeSecret":               on(s.describeSecret),
		"secretsmanager:ListSecrets":                  on(s.listSecrets),
		"secretsmanager:PutSecretValue":               on(s.putSecretValue),
		"secretsmanager:UpdateSecret":                 on(s.updateSecret),
		"secretsmanager:UpdateSecretVersionStage":     on(s.updateStage),
		"secretsmanager:TagResource":                  on(s.tagSecret),
		"secretsmanager:UntagResource":                on(s.untagSecret),
		"secretsmanager:DeleteSecret":                 on(s.deleteSecret),
		"secretsmanager:RestoreSecret":                on(s.restoreSecret),
		"secretsmanager:GetResourcePolicy":            on(s.getPolicy),
		"secretsmanager:PutResourcePolicy":            on(s.putPolicy),
		"secretsmanager:DeleteResourcePolicy":         on(s.deletePolicy),
		"secretsmanager:ReplicateSecretToRegions":     on(s.replicate),
		"secretsmanager:RemoveRegionsFromReplication": on(s.unreplicate),
	}
}

// content is the value of an input: exactly one of its members.
type content struct {
	SecretString *string
	SecretBinary []byte
}

func (c content) version(id string, now float64) (Version, error) {
	v := Version{ID: id, created: now}
	switch {
	case c.SecretString != nil && c.SecretBinary != nil:
		return v, refuse("InvalidParameterException", "You can't specify both a binary secret value and a string secret value in the same secret.")
	case c.SecretString != nil:
		v.Value = []byte(*c.SecretString)
	default:
		v.Binary, v.Value = true, c.SecretBinary
	}
	if len(v.Value) < 1 || len(v.Value) > 65536 {
		return v, refuse("ValidationException", "the value must have 1 to 65536 bytes")
	}
	return v, nil
}

func (c content) empty() bool { return c.SecretString == nil && c.SecretBinary == nil }

func token(id string) error {
	if len(id) < 32 || len(id) > 64 {
		return refuse("InvalidParameterException", "ClientRequestToken must have 32 to 64 characters")
	}
	return nil
}

var secretName = regexp.MustCompile(`^[A-Za-z0-9/_+=.@-]{1,512}$`)

type createInput struct {
	Name, ClientRequestToken, Description, KmsKeyId string
	content
	Tags                        []tag
	AddReplicaRegions           []replica
	ForceOverwriteReplicaSecret bool
}

func (s *Server) createSecret(_ *request, in createInput) (any, error) {
	if err := token(in.ClientRequestToken); err != nil {
		return nil, err
	}
	if !secretName.MatchString(in.Name) {
		return nil, refuse("ValidationException", "Invalid name. Must be a valid name containing alphanumeric characters, or any of the following: -/_+=.@!")
	}
	if old, ok := s.secrets[in.Name]; ok && old.Deleted {
		return nil, refuse("InvalidRequestException", "You can't create this secret because a secret with this name is already scheduled for deletion.")
	} else if ok {
		return nil, refuse("ResourceExistsException", "The operation failed because the secret %s already exists.", in.Name)
	}
	var first Version
	if !in.empty() {
		var err error
		if first, err = in.version(in.ClientRequestToken, s.now()); err != nil {
			return nil, err
		}
	}
	stored := s.newSecret(in.Name)
	stored.Description, stored.KMSKeyID, stored.Tags = in.Description, in.KmsKeyId, map[string]string{}
	for _, t := range in.Tags {
		stored.Tags[t.Key] = t.Value
	}
	for _, r := range in.AddReplicaRegions {
		stored.Replicas = append(stored.Replicas, r.Region)
	}
	if !in.empty() {
		stored.add(first, []string{current})
	}
	return map[string]any{"ARN": stored.ARN, "Name": stored.Name, "VersionId": first.ID}, nil
}

type getInput struct{ SecretId, VersionId, VersionStage string }

func (s *Server) getSecretValue(_ *request, in getInput) (any, error) {
	stored, err := s.alive(in.SecretId)
	if err != nil {
		return nil, err
	}
	stage := in.VersionStage
	if stage == "" && in.VersionId == "" {
		stage = current
	}
	v := stored.version(func(v Version) bool {
		return (in.VersionId == "" || v.ID == in.VersionId) && (stage == "" || slices.Contains(v.Stages, stage))
	})
	if v == nil {
		return nil, refuse("ResourceNotFoundException", "Secrets Manager can't find the specified secret value for staging label: %s", stage)
	}
	return stored.value(v), nil
}

func (s *storedSecret) value(v *Version) map[string]any {
	out := map[string]any{"ARN": s.ARN, "Name": s.Name, "VersionId": v.ID, "VersionStages": v.Stages, "CreatedDate": v.created}
	if v.Binary {
		out["SecretBinary"] = v.Value
	} else {
		out["SecretString"] = string(v.Value)
	}
	return out
}

const (
	batchMax = 20
	idMax    = 2048
)

type batchInput struct {
	SecretIdList []string
	Filters      []filter
	MaxResults   int
	NextToken    string
}

func (in batchInput) check() error {
	if (len(in.SecretIdList) == 0) == (len(in.Filters) == 0) || len(in.SecretIdList) > batchMax {
		return refuse("InvalidParameterException", "either Filters or 1 to 20 entries of SecretIdList")
	}
	if in.MaxResults > batchMax || in.MaxResults > 0 && in.Filters == nil {
		return refuse("InvalidParameterException", "MaxResults up to 20, and only with Filters")
	}
	if slices.ContainsFunc(in.SecretIdList, func(id string) bool { return id == "" || len(id) > idMax }) {
		return refuse("ValidationException", "a member of SecretIdList has a length that no ID has")
	}
	return nil
}

func (s *Server) batchGetSecretValue(c *request, in batchInput) (any, error) {
	if err := in.check(); err != nil {
		return nil, err
	}
	ids, next := in.SecretIdList, ""
	if in.Filters != nil {
		var found []string
		for _, stored := range s.matching(in.Filters, false) {
			found = append(found, stored.Name)
		}
		ids, next = page(found, in.NextToken, in.MaxResults, batchMax)
	}
	values, failed := []any{}, []any{}
	for _, id := range ids {
		out, err := s.getSecretValue(c, getInput{SecretId: id})
		if c.by.denies("secretsmanager:GetSecretValue") {
			err = refuse("AccessDeniedException", "not authorized to perform: secretsmanager:GetSecretValue")
		}
		if f, ok := errors.AsType[*failure](err); ok {
			failed = append(failed, map[string]string{"SecretId": id, "ErrorCode": f.Code, "Message": f.Message})
			continue
		}
		values = append(values, out)
	}
	return withToken(map[string]any{"SecretValues": values, "Errors": failed}, next), nil
}

// page cuts a list at the token and the size; the next token is empty at the end.
func page[E any](all []E, token string, size, most int) ([]E, string) {
	if size <= 0 || size > most {
		size = most
	}
	from, err := strconv.Atoi(token)
	if err != nil || from > len(all) {
		from = 0
	}
	to := min(from+size, len(all))
	if to == len(all) {
		return all[from:to], ""
	}
	return all[from:to], strconv.Itoa(to)
}

func withToken(out map[string]any, next string) map[string]any {
	if next != "" {
		out["NextToken"] = next
	}
	return out
}

// matching returns the secrets that pass all filters, in the order of their names.
func (s *Server) matching(filters []filter, deleted bool) []*storedSecret {
	var out []*storedSecret
	for _, name := range slices.Sorted(maps.Keys(s.secrets)) {
		stored := s.secrets[name]
		if (!stored.Deleted || deleted) && !slices.ContainsFunc(filters, func(f filter) bool { return !stored.passes(f) }) {
			out = append(out, stored)
		}
	}
	return out
}

// passes goes by prefixes, as AWS does: which is why whoever asks has to look again.
func (s *storedSecret) passes(f filter) bool {
	var texts []string
	switch f.Key {
	case "name":
		texts = []string{s.Name}
	case "tag-key":
		texts = slices.Collect(maps.Keys(s.Tags))
	case "tag-value":
		texts = slices.Collect(maps.Values(s.Tags))
	}
	return slices.ContainsFunc(texts, func(text string) bool {
		return slices.ContainsFunc(f.Values, func(prefix string) bool { return strings.HasPrefix(text, prefix) })
	})
}

func (s *Server) describeSecret(_ *request, in secretID) (any, error) {
	stored, err := s.find(in.SecretId)
	if err != nil {
		return nil, err
	}
	return stored.entry("VersionIdsToStages", s.now()), nil
}

// entry is a secret in DescribeSecret and ListSecrets, which name its versions differently.
func (s *storedSecret) entry(versions string, now float64) map[string]any {
	stages := map[string][]string{}
	for _, v := range s.Versions {
		if len(v.Stages) > 0 {
			stages[v.ID] = v.Stages
		}
	}
	out := map[string]any{"ARN": s.ARN, "Name": s.Name, "CreatedDate": s.created, "Tags": s.tagList(), versions: stages}
	if s.Description != "" {
		out["Description"] = s.Description
	}
	if s.KMSKeyID != "" {
		out["KmsKeyId"] = s.KMSKeyID
	}
	if s.Deleted {
		out["DeletedDate"] = now
	}
	var replicas []any
	for _, region := range s.Replicas {
		replicas = append(replicas, map[string]string{"Region": region, "Status": "InSync"})
	}
	if replicas != nil {
		out["ReplicationStatus"] = replicas
	}
	return out
}

func (s *storedSecret) tagList() []tag {
	list := []tag{}
	for _, key := range slices.Sorted(maps.Keys(s.Tags)) {
		list = append(list, tag{key, s.Tags[key]})
	}
	return list
}

func (s *Server) listSecrets(_ *request, in struct {
	Filters                []filter
	MaxResults             int
	NextToken              string
	IncludePlannedDeletion bool
	SortOrder              string
},
) (any, error) {
	found, next := page(s.matching(in.Filters, in.IncludePlannedDeletion), in.NextToken, in.MaxResults, pageMax)
	list := []any{}
	for _, stored := range found {
		list = append(list, stored.entry("SecretVersionsToStages", s.now()))
	}
	return withToken(map[string]any{"SecretList": list}, next), nil
}
