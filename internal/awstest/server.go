package awstest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/provider/providertest"
)

// What the server is set up with: an access key that may do everything, and where it is.
const (
	AccessKey = "AKIAEVERYTHING000000"
	SecretKey = "a-secret-key-of-the-tests-4711"
	Account   = "111122223333"
	Region    = "eu-central-1"
)

// T is what the package needs of a test.
type T interface {
	Helper()
	Context() context.Context
	Cleanup(f func())
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// Situation is how an identity finds the services.
type Situation string

// The situations. The zero value is that all is well.
const (
	Throttled Situation = "throttled"
	Down      Situation = "down"
	Hanging   Situation = "hanging"
)

// Identity is somebody with an access key. Any secret key goes with it.
type Identity struct {
	AccessKey string
	// Denied are actions that no policy allows: "ssm:GetParameter", "ssm:*", "*".
	Denied []string
	// Situation is what happens to every call.
	Situation Situation

	token   string
	expires time.Time
	arn     string
}

// Fault is what happens to calls of an action.
type Fault struct {
	Action string
	// Code and Status are the answer. An empty Code lets the call do its work and then
	// answers Status, as when the answer is lost.
	Code    string
	Status  int
	Message string
	// Times is how many calls it happens to; 0 is all.
	Times int
}

// Call is one call that arrived.
type Call struct {
	// Action is in IAM's words: "secretsmanager:GetSecretValue".
	Action    string
	AccessKey string
	// Input is what was sent: JSON, or the form of a query.
	Input json.RawMessage
}

// Server is AWS. Safe for concurrent use.
type Server struct {
	// URL is the endpoint of all services.
	URL string

	t     T
	clock provider.Clock
	// behind is the server that does the work; nil if this one does. It gets one call at
	// a time: moto answers 500 now and then if its state changes while it reads.
	behind http.Handler
	turn   sync.Mutex
	over   chan struct{}
	hung   chan struct{}

	mu         sync.Mutex
	calls      []Call
	identities map[string]Identity
	faults     []*Fault
	latency    time.Duration
	serial     int
	roles      map[string]Role
	assumed    []Assumption
	secrets    map[string]*storedSecret
	parameters map[string]*storedParameter
	actions    map[string]action
}

// Start starts a server on loopback, until the test ends. Times are those of the clock.
func Start(t T, clock provider.Clock) *Server {
	t.Helper()
	s := &Server{
		t: t, clock: clock, over: make(chan struct{}), hung: make(chan struct{}, 1),
		identities: map[string]Identity{AccessKey: {AccessKey: AccessKey, arn: "arn:aws:iam::" + Account + ":user/everything"}},
		roles:      map[string]Role{}, secrets: map[string]*storedSecret{}, parameters: map[string]*storedParameter{},
	}
	s.actions = map[string]action{}
	for _, more := range []map[string]action{s.secretsManager(), s.parameterStore(), s.securityTokens(), s.registries()} {
		maps.Copy(s.actions, more)
	}
	h := httptest.NewServer(s)
	s.URL = h.URL
	t.Cleanup(func() {
		close(s.over)
		h.CloseClientConnections()
		h.Close()
	})
	return s
}

// Trust adds identities, or replaces them.
func (s *Server) Trust(identities ...Identity) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range identities {
		id.arn = "arn:aws:iam::" + Account + ":user/" + strings.ToLower(id.AccessKey)
		s.identities[id.AccessKey] = id
	}
}

// Inject adds a fault. Of several for one action the oldest goes first.
func (s *Server) Inject(f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, &f)
}

// Slow makes every call take d of real time.
func (s *Server) Slow(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.latency = d
}

// Reached gets a value whenever a call hangs.
func (s *Server) Reached() <-chan struct{} { return s.hung }

// Calls returns what has arrived so far.
func (s *Server) Calls() []Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.calls)
}

// Count is the number of calls whose action is one of these, or of all if none is named.
func (s *Server) Count(actions ...string) int {
	n := 0
	for _, c := range s.Calls() {
		if len(actions) == 0 || slices.Contains(actions, c.Action) {
			n++
		}
	}
	return n
}

// action handles one operation, with the server locked.
type action func(c *request) (any, error)

// request is one call on its way.
type request struct {
	action string
	by     Identity
	body   []byte
	form   url.Values
	query  bool
	server *Server
}

// failure is an answer that says why not.
type failure struct {
	Code    string
	Message string
	Status  int
}

// Error implements error.
func (f *failure) Error() string { return f.Code }

func refuse(code, format string, args ...any) error {
	return &failure{Code: code, Message: fmt.Sprintf(format, args...), Status: http.StatusBadRequest}
}

// on makes an action of a function with a typed input. JSON inputs are decoded strictly.
func on[I any](do func(c *request, in I) (any, error)) action {
	return func(c *request) (any, error) {
		var in I
		if len(c.body) > 0 && !c.query {
			d := json.NewDecoder(bytes.NewReader(c.body))
			d.DisallowUnknownFields()
			if err := d.Decode(&in); err != nil {
				c.server.t.Errorf("awstest: %s: the request is not of the shape that AWS documents: %v", c.action, err)
				return nil, refuse("SerializationException", "the request cannot be read")
			}
		}
		return do(c, in)
	}
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	c := &request{body: body, server: s}
	if err := c.address(r); err != nil {
		s.t.Errorf("awstest: %v", err)
		answer(w, c, nil, refuse("UnknownOperationException", "%v", err))
		return
	}
	credential, err := c.credential(r)
	if err != nil {
		s.t.Errorf("awstest: %s: %v", c.action, err)
		answer(w, c, nil, refuse("IncompleteSignature", "%v", err))
		return
	}
	if !s.wait(r.Context(), credential) {
		return
	}
	if s.behind != nil {
		s.pass(w, r, c, credential)
		return
	}
	out, err := s.serve(c, credential, r.Header.Get("X-Amz-Security-Token"))
	answer(w, c, out, err)
}

var targets = map[string]string{ //nolint:gochecknoglobals // a table
	"secretsmanager": "secretsmanager", "AmazonSSM": "ssm", "AmazonEC2ContainerRegistry_V20150921": "ecr", "SpencerFrontendService": "ecr-public",
}

// address reads which operation is meant, and checks the form of the request.
func (c *request) address(r *http.Request) error {
	if r.Method != http.MethodPost || r.URL.Path != "/" {
		return fmt.Errorf("%s %s: every operation is a POST to /", r.Method, r.URL.Path)
	}
	if target := r.Header.Get("X-Amz-Target"); target != "" {
		service, operation, _ := strings.Cut(target, ".")
		if targets[service] == "" {
			return fmt.Errorf("X-Amz-Target %q is no operation", target)
		}
		if got := r.Header.Get("Content-Type"); got != "application/x-amz-json-1.1" {
			return fmt.Errorf("%s: the content type is %q", target, got)
		}
		c.action = targets[service] + ":" + operation
		return nil
	}
	form, err := url.ParseQuery(string(c.body))
	if err != nil || form.Get("Version") != "2011-06-15" || !strings.HasPrefix(r.Header.Get("Content-Type"), "application/x-www-form-urlencoded") {
		return errors.New("the request is neither JSON 1.1 nor the query protocol of STS")
	}
	c.query, c.form, c.action = true, form, "sts:"+form.Get("Action")
	return nil
}

var authorization = regexp.MustCompile(`^AWS4-HMAC-SHA256 Credential=([^/]+)/\d{8}/([a-z0-9-]+)/([a-z-]+)/aws4_request, SignedHeaders=[a-z0-9;-]*host[a-z0-9;-]*, Signature=[0-9a-f]{64}$`)

// credential returns the access key of a signed request; empty for the operations that
// nobody has to sign.
func (c *request) credential(r *http.Request) (string, error) {
	if c.action == "sts:AssumeRoleWithWebIdentity" {
		if r.Header.Get("Authorization") != "" {
			return "", errors.New("the token is the credential: nothing must be signed")
		}
		return "", nil
	}
	parts := authorization.FindStringSubmatch(r.Header.Get("Authorization"))
	service, _, _ := strings.Cut(c.action, ":")
	if parts == nil || r.Header.Get("X-Amz-Date") == "" || parts[3] != service {
		return "", fmt.Errorf("no signature for %s: %d bytes of Authorization", service, len(r.Header.Get("Authorization")))
	}
	return parts[1], nil
}

// wait holds a call up as its identity and the latency want; false if it never goes on.
func (s *Server) wait(ctx context.Context, credential string) bool {
	s.mu.Lock()
	hang, latency := s.identities[credential].Situation == Hanging, s.latency
	s.mu.Unlock()
	if hang {
		select {
		case s.hung <- struct{}{}:
		default:
		}
		select {
		case <-ctx.Done():
		case <-s.over:
		}
		return false
	}
	if latency > 0 {
		select {
		case <-time.After(latency):
		case <-ctx.Done():
			return false
		}
	}
	return true
}

func (s *Server) serve(c *request, credential, token string) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = append(s.calls, Call{Action: c.action, AccessKey: credential, Input: c.input()})
	do, ok := s.actions[c.action]
	if !ok {
		s.t.Errorf("awstest: %s is not an operation of this server", c.action)
		return nil, refuse("UnknownOperationException", "no %s", c.action)
	}
	if err := s.authenticate(c, credential, token); err != nil {
		return nil, err
	}
	fault := s.fault(c.action)
	if fault != nil && fault.Code != "" {
		return nil, &failure{Code: fault.Code, Message: fault.Message, Status: fault.Status}
	}
	out, err := do(c)
	if fault != nil {
		return nil, &failure{Code: "InternalFailure", Message: fault.Message, Status: fault.Status}
	}
	return out, err
}

// pass lets the server behind answer, unless the identity or a fault has the answer.
func (s *Server) pass(w http.ResponseWriter, r *http.Request, c *request, credential string) {
	s.mu.Lock()
	s.calls = append(s.calls, Call{Action: c.action, AccessKey: credential, Input: c.input()})
	var err error
	if !strings.HasPrefix(credential, "ASIA") {
		err = s.authenticate(c, credential, r.Header.Get("X-Amz-Security-Token"))
	}
	if fault := s.fault(c.action); err == nil && fault != nil {
		err = &failure{Code: fault.Code, Message: fault.Message, Status: fault.Status}
	}
	s.mu.Unlock()
	if err != nil {
		answer(w, c, nil, err)
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(c.body))
	s.turn.Lock()
	defer s.turn.Unlock()
	s.behind.ServeHTTP(w, r)
}

func (c *request) input() json.RawMessage {
	if !c.query {
		return c.body
	}
	b, err := json.Marshal(c.form)
	if err != nil {
		return nil
	}
	return b
}

func (s *Server) authenticate(c *request, credential, token string) error {
	if credential == "" {
		return nil
	}
	unknown, code := "UnrecognizedClientException", "AccessDeniedException"
	if c.query {
		unknown, code = "InvalidClientTokenId", "AccessDenied"
	}
	id, ok := s.identities[credential]
	switch {
	case !ok || id.token != token:
		return &failure{Code: unknown, Message: "The security token included in the request is invalid.", Status: http.StatusForbidden}
	case !id.expires.IsZero() && !s.clock.Now().Before(id.expires):
		return &failure{Code: "ExpiredTokenException", Message: "The security token included in the request is expired", Status: http.StatusForbidden}
	case id.Situation == Throttled:
		return refuse("ThrottlingException", "Rate exceeded")
	case id.Situation == Down:
		return &failure{Code: "InternalServiceError", Message: "An error occurred on the server side.", Status: http.StatusInternalServerError}
	case id.denies(c.action):
		return refuse(code, "User: %s is not authorized to perform: %s", id.arn, c.action)
	}
	c.by = id
	return nil
}

func (id Identity) denies(action string) bool {
	return slices.ContainsFunc(id.Denied, func(pattern string) bool {
		prefix, open := strings.CutSuffix(pattern, "*")
		return pattern == action || open && strings.HasPrefix(action, prefix)
	})
}

func (s *Server) fault(action string) *Fault {
	for i, f := range s.faults {
		if f.Action != action {
			continue
		}
		if f.Times == 1 {
			s.faults = slices.Delete(s.faults, i, i+1)
		} else if f.Times > 0 {
			f.Times--
		}
		return f
	}
	return nil
}

// answer writes what an operation came to. Every message holds the mark.
func answer(w http.ResponseWriter, c *request, out any, err error) {
	if c.query {
		answerXML(w, c, out, err)
		return
	}
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	w.Header().Set("X-Amzn-Requestid", "00000000-0000-4000-8000-000000000000")
	if f, ok := errors.AsType[*failure](err); ok {
		w.WriteHeader(f.Status)
		out = map[string]string{"__type": f.Code, "message": f.Message + " " + providertest.Mark}
	}
	b, err := json.Marshal(out)
	if err != nil {
		b = []byte("{}")
	}
	_, _ = w.Write(b)
}

// now is the time as the JSON protocol has it.
func (s *Server) now() float64 { return float64(s.clock.Now().UnixMilli()) / 1000 }

// id returns the next of a series of version IDs, which have the form of a UUID.
func (s *Server) id() string {
	s.serial++
	return fmt.Sprintf("00000000-0000-4000-8000-%012d", s.serial)
}
