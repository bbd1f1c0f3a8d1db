package vault

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	esv1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
)

// The parts of LDAP that a simple bind takes.
const (
	bindRequest  = asn1.Tag(0x60)
	bindResponse = asn1.Tag(0x61)
	simpleAuth   = asn1.Tag(0x80)
	searchDone   = asn1.Tag(0x65)

	ldapSuccess            = 0
	ldapInvalidCredentials = 49
)

func ldapCase(f fixture, policy string) authCase {
	f.enable("ldap", "ldap")
	f.do("POST", "auth/ldap/config", map[string]any{
		"url": "ldap://" + directory(f, "cn=ann,ou=people", "right-password"), "userdn": "ou=people", "userattr": "cn", "token_policies": policy,
	})
	f.credential("ann", map[string]string{"password": "right-password"})
	return authCase{
		policy: policy,
		spec:   f.with(esv1.VaultAuth{Ldap: &esv1.VaultLdapAuth{Username: "ann", SecretRef: *ref("ann", "password")}}),
		spoil:  func() { f.credential("ann", map[string]string{"password": "wrong-password"}) },
	}
}

// directory is an LDAP server with one user and no groups. It returns its address.
func directory(f fixture, dn, password string) string {
	l, err := (&net.ListenConfig{}).Listen(f.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = conn.Close() }()
				in := bufio.NewReader(conn)
				for {
					message, err := readBER(in)
					if err != nil {
						return
					}
					if answer := ldapAnswer(message, dn, password); answer != nil {
						_, _ = conn.Write(answer)
					}
				}
			}()
		}
	}()
	return l.Addr().String()
}

// readBER reads one element with its header.
func readBER(in *bufio.Reader) ([]byte, error) {
	head, err := in.Peek(2)
	if err != nil {
		return nil, err
	}
	size := 2 + int(head[1])
	if head[1] > 0x7f {
		n := int(head[1] & 0x7f)
		if n > 2 {
			return nil, errors.New("too long")
		}
		if head, err = in.Peek(2 + n); err != nil {
			return nil, err
		}
		size = 0
		for _, b := range head[2:] {
			size = size<<8 | int(b)
		}
		size += 2 + n
	}
	message := make([]byte, size)
	_, err = io.ReadFull(in, message)
	return message, err
}

// ldapAnswer binds the one user, and finds nothing.
func ldapAnswer(message []byte, dn, password string) []byte {
	var id int
	var body cryptobyte.String
	in := cryptobyte.String(message)
	if !in.ReadASN1(&body, asn1.SEQUENCE) || !body.ReadASN1Integer(&id) {
		return nil
	}
	tag, code := searchDone, ldapSuccess
	if body.PeekASN1Tag(bindRequest) {
		var bind, name, pass cryptobyte.String
		var version int
		tag, code = bindResponse, ldapInvalidCredentials
		if body.ReadASN1(&bind, bindRequest) && bind.ReadASN1Integer(&version) && bind.ReadASN1(&name, asn1.OCTET_STRING) &&
			bind.ReadASN1(&pass, simpleAuth) && string(name) == dn && string(pass) == password {
			code = ldapSuccess
		}
	}
	var out cryptobyte.Builder
	out.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1Int64(int64(id))
		b.AddASN1(tag, func(b *cryptobyte.Builder) {
			b.AddASN1Enum(int64(code))
			b.AddASN1OctetString(nil)
			b.AddASN1OctetString(fmt.Appendf(nil, "result %d", code))
		})
	})
	return out.BytesOrPanic()
}
