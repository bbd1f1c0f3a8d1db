package awstest

import (
	"encoding/xml"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/keyferry/keyferry/provider/providertest"
)

// Role is a role that can be assumed.
type Role struct {
	ARN string
	// ExternalID must be sent if it is not empty.
	ExternalID string
	// Token must be sent if it is not empty: the role is for a web identity then, and
	// for nobody else.
	Token string
	// Trusts are the ARNs of those who may assume it; empty is everybody.
	Trusts []string
	// Denied and Situation are those of the sessions.
	Denied    []string
	Situation Situation
}

// Assumption is a role that was assumed.
type Assumption struct {
	Role, Session, ExternalID string
	// By is the ARN of who assumed it; empty for a web identity.
	By            string
	Tags          map[string]string
	Transitive    []string
	WebIdentity   bool
	DurationAsked int
}

// AddRole adds a role, or replaces it.
func (s *Server) AddRole(r Role) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.roles[r.ARN] = r
}

// Assumed returns the roles that were assumed, in their order.
func (s *Server) Assumed() []Assumption {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.assumed)
}

const defaultSession = time.Hour

func (s *Server) securityTokens() map[string]action {
	return map[string]action{
		"sts:GetCallerIdentity": func(c *request) (any, error) {
			return struct {
				Arn, UserId, Account string
			}{c.by.arn, "AIDA", Account}, nil
		},
		"sts:AssumeRole":                s.assumeRole,
		"sts:AssumeRoleWithWebIdentity": s.assumeRole,
		"sts:GetSessionToken": func(c *request) (any, error) {
			life, err := c.duration(12 * time.Hour)
			if err != nil {
				return nil, err
			}
			if (c.form.Get("SerialNumber") == "") != (c.form.Get("TokenCode") == "") {
				return nil, refuse("ValidationError", "SerialNumber and TokenCode go together")
			}
			return struct{ Credentials xmlCredentials }{s.issue(c.by, life)}, nil
		},
	}
}

type xmlCredentials struct {
	AccessKeyId, SecretAccessKey, SessionToken, Expiration string
}

// issue makes credentials for an identity, whose rights they have.
func (s *Server) issue(id Identity, life time.Duration) xmlCredentials {
	s.serial++
	id.AccessKey = fmt.Sprintf("ASIA%016d", s.serial)
	id.token = fmt.Sprintf("session-token-%016d", s.serial)
	id.expires = s.clock.Now().Add(life)
	s.identities[id.AccessKey] = id
	return xmlCredentials{id.AccessKey, fmt.Sprintf("session-key-%016d", s.serial), id.token, id.expires.UTC().Format(time.RFC3339)}
}

func (c *request) duration(otherwise time.Duration) (time.Duration, error) {
	text := c.form.Get("DurationSeconds")
	if text == "" {
		return otherwise, nil
	}
	seconds, err := strconv.Atoi(text)
	if err != nil || seconds < 900 || seconds > 129600 {
		return 0, refuse("ValidationError", "DurationSeconds is out of range")
	}
	return time.Duration(seconds) * time.Second, nil
}

func (s *Server) assumeRole(c *request) (any, error) {
	arn, session, web := c.form.Get("RoleArn"), c.form.Get("RoleSessionName"), c.action != "sts:AssumeRole"
	if arn == "" || session == "" {
		return nil, refuse("ValidationError", "RoleArn and RoleSessionName are required")
	}
	role, ok := s.roles[arn]
	if err := role.admit(c, ok, web); err != nil {
		return nil, err
	}
	life, err := c.duration(defaultSession)
	if err != nil {
		return nil, err
	}
	made := Assumption{Role: arn, Session: session, ExternalID: c.form.Get("ExternalId"), By: c.by.arn, WebIdentity: web, Tags: map[string]string{}}
	if text := c.form.Get("DurationSeconds"); text != "" {
		made.DurationAsked = int(life.Seconds())
	}
	for i := 1; c.form.Get(fmt.Sprintf("Tags.member.%d.Key", i)) != ""; i++ {
		key := c.form.Get(fmt.Sprintf("Tags.member.%d.Key", i))
		if _, twice := made.Tags[key]; twice {
			return nil, refuse("InvalidParameterValue", "Duplicate tag keys")
		}
		made.Tags[key] = c.form.Get(fmt.Sprintf("Tags.member.%d.Value", i))
	}
	for i := 1; c.form.Get(fmt.Sprintf("TransitiveTagKeys.member.%d", i)) != ""; i++ {
		made.Transitive = append(made.Transitive, c.form.Get(fmt.Sprintf("TransitiveTagKeys.member.%d", i)))
	}
	for _, key := range made.Transitive {
		if _, ok := made.Tags[key]; !ok {
			return nil, refuse("ValidationError", "a transitive tag key is no tag of the request: %s", strings.Join(slices.Sorted(maps.Keys(made.Tags)), " "))
		}
	}
	s.assumed = append(s.assumed, made)
	as := Identity{Denied: role.Denied, Situation: role.Situation, arn: strings.Replace(strings.Replace(arn, ":iam:", ":sts:", 1), ":role/", ":assumed-role/", 1) + "/" + session}
	return struct{ Credentials xmlCredentials }{s.issue(as, life)}, nil
}

func (r Role) admit(c *request, known, web bool) error {
	denied := &failure{Code: "AccessDenied", Message: "not authorized to perform: " + c.action, Status: http.StatusForbidden}
	switch {
	case !known, r.ExternalID != "" && c.form.Get("ExternalId") != r.ExternalID, (r.Token != "") != web:
		return denied
	case web && c.form.Get("WebIdentityToken") != r.Token:
		return refuse("InvalidIdentityToken", "The web identity token that was passed could not be validated by AWS")
	case !web && len(r.Trusts) > 0 && !slices.Contains(r.Trusts, c.by.arn):
		return denied
	}
	return nil
}

func answerXML(w http.ResponseWriter, c *request, out any, err error) {
	w.Header().Set("Content-Type", "text/xml")
	operation := c.form.Get("Action")
	if f, ok := errors.AsType[*failure](err); ok {
		w.WriteHeader(f.Status)
		_, _ = fmt.Fprintf(w, `<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type><Code>%s</Code><Message>%s %s</Message></Error><RequestId>r</RequestId></ErrorResponse>`,
			f.Code, f.Message, providertest.Mark)
		return
	}
	var b strings.Builder
	e := xml.NewEncoder(&b)
	if err := e.EncodeElement(out, xml.StartElement{Name: xml.Name{Local: operation + "Result"}}); err != nil {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	_, _ = fmt.Fprintf(w, `<%[1]sResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">%[2]s<ResponseMetadata><RequestId>r</RequestId></ResponseMetadata></%[1]sResponse>`, operation, b.String())
}
