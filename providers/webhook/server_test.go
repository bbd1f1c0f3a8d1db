package webhook

import (
	"crypto/hmac"
	"crypto/md5" //nolint:gosec // NTLM is made of it
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"unicode/utf16"

	"golang.org/x/crypto/md4" //nolint:staticcheck // NTLM is made of it
)

const (
	goodToken = "good-token-4f1c"
	weakToken = "weak-token-77aa"
)

// secretServer is a small HTTP service that keeps secrets with their versions:
// GET /v1/raw/<key> answers with the bytes, GET /v1/json/<key> with a document. POST
// and DELETE are for both.
type secretServer struct {
	mu       sync.Mutex
	versions map[string][][]byte
}

func (s *secretServer) put(key string, value []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.versions == nil {
		s.versions = map[string][][]byte{}
	}
	s.versions[key] = append(s.versions[key], value)
}

func (s *secretServer) remove(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.versions, key)
}

func (s *secretServer) get(key, version string) (value []byte, number int, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := s.versions[key]
	number = len(all)
	if version != "" {
		number, _ = strconv.Atoi(version)
	}
	if number < 1 || number > len(all) {
		return nil, 0, false
	}
	return all[number-1], number, true
}

func (s *secretServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.Header.Get("Authorization") {
	case "Bearer " + goodToken:
	case "Bearer " + weakToken:
		http.Error(w, "you may not", http.StatusForbidden)
		return
	default:
		http.Error(w, "who are you", http.StatusUnauthorized)
		return
	}
	form, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/v1/"), "/")
	switch r.Method {
	case http.MethodPost:
		value, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, "half a body", http.StatusBadRequest)
			return
		}
		s.put(key, value)
		w.WriteHeader(http.StatusCreated)
		return
	case http.MethodDelete:
		s.remove(key)
		w.WriteHeader(http.StatusNoContent)
		return
	}
	value, number, ok := s.get(key, r.URL.Query().Get("version"))
	if !ok {
		http.Error(w, "no such secret", http.StatusNotFound)
		return
	}
	if form == "raw" {
		_, _ = w.Write(value)
		return
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"version": number, "data": json.RawMessage(value)})
}

// ntlmServer answers "hello <n>" to whoever logs in on their connection, where n
// counts the requests with a body that arrived whole.
type ntlmServer struct {
	user, domain, password string

	mu       sync.Mutex
	loggedIn map[string]bool // by the client's address: the login is the connection's
	bodies   []string
	protos   map[string]bool
}

const ntlmChallenge = "12345678"

func (s *ntlmServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	body, _ := io.ReadAll(r.Body)
	s.protos[r.Proto] = true
	message, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(r.Header.Get("Authorization"), "NTLM "))
	if err == nil && len(message) > 12 {
		switch message[8] {
		case 1:
			w.Header().Set("WWW-Authenticate", "NTLM "+base64.StdEncoding.EncodeToString(ntlmType2()))
			w.WriteHeader(http.StatusUnauthorized)
			return
		case 3:
			s.loggedIn[r.RemoteAddr] = s.verifies(message)
		}
	}
	if !s.loggedIn[r.RemoteAddr] {
		w.Header().Set("WWW-Authenticate", "NTLM")
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	s.bodies = append(s.bodies, string(body))
	_, _ = io.WriteString(w, "hello")
}

func ntlmType2() []byte {
	const unicode, ntlm, targetInfo = 0x1, 0x200, 0x800000
	b := append([]byte("NTLMSSP\x00"), 2, 0, 0, 0)
	b = append(b, make([]byte, 8)...) // no target name
	b = binary.LittleEndian.AppendUint32(b, unicode|ntlm|targetInfo)
	b = append(b, ntlmChallenge...)
	b = append(b, make([]byte, 8)...)
	b = append(b, 4, 0, 4, 0, 48, 0, 0, 0) // target info: 4 bytes at 48
	return append(b, 0, 0, 0, 0)           // its end
}

// verifies checks a type 3 message: who, and that they know the password.
func (s *ntlmServer) verifies(m []byte) bool {
	field := func(at int) []byte {
		size, offset := int(binary.LittleEndian.Uint16(m[at:])), int(binary.LittleEndian.Uint32(m[at+4:]))
		return m[offset : offset+size]
	}
	proof := field(20)
	if len(proof) < 16 || string(field(28)) != wide(s.domain) || string(field(36)) != wide(s.user) {
		return false
	}
	hash := md4.New()
	_, _ = io.WriteString(hash, wide(s.password))
	owner := md5MAC(hash.Sum(nil), wide(strings.ToUpper(s.user)+s.domain))
	return hmac.Equal(proof[:16], md5MAC(owner, ntlmChallenge+string(proof[16:])))
}

func md5MAC(key []byte, text string) []byte {
	mac := hmac.New(md5.New, key)
	_, _ = io.WriteString(mac, text)
	return mac.Sum(nil)
}

func wide(s string) string {
	var b []byte
	for _, u := range utf16.Encode([]rune(s)) {
		b = binary.LittleEndian.AppendUint16(b, u)
	}
	return string(b)
}

func serveNTLM(t *testing.T) (*ntlmServer, *httptest.Server) {
	t.Helper()
	n := &ntlmServer{user: "ada", domain: "CORP", password: "pa55-word-canary", loggedIn: map[string]bool{}, protos: map[string]bool{}}
	s := httptest.NewUnstartedServer(n)
	s.EnableHTTP2 = true
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.Config.ConnState = func(c net.Conn, state http.ConnState) {
		if state == http.StateClosed {
			n.mu.Lock()
			defer n.mu.Unlock()
			delete(n.loggedIn, c.RemoteAddr().String())
		}
	}
	s.StartTLS()
	t.Cleanup(s.Close)
	return n, s
}
