package httpx

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/keyferry/keyferry/secret"
)

func TestPolicyAddress(t *testing.T) {
	allow := func(prefixes ...string) Policy {
		var p Policy
		for _, s := range prefixes {
			p.Allow = append(p.Allow, netip.MustParsePrefix(s))
		}
		return p
	}
	for name, tc := range map[string]struct {
		policy  Policy
		addr    string
		refused bool
	}{
		"a public address is open":          {addr: "203.0.113.7"},
		"a public IPv6 address is open":     {addr: "2600::1"},
		"a private address is open":         {addr: "10.96.0.1"},
		"a unique local address is open":    {addr: "fd12:3456::1"},
		"loopback":                          {addr: "127.0.0.1", refused: true},
		"all of the loopback net":           {addr: "127.8.9.10", refused: true},
		"IPv6 loopback":                     {addr: "::1", refused: true},
		"unspecified":                       {addr: "0.0.0.0", refused: true},
		"IPv6 unspecified":                  {addr: "::", refused: true},
		"link-local":                        {addr: "169.254.1.1", refused: true},
		"IPv6 link-local with a zone":       {addr: "fe80::1%eth0", refused: true},
		"multicast":                         {addr: "224.0.0.1", refused: true},
		"IPv6 multicast":                    {addr: "ff02::1", refused: true},
		"broadcast":                         {addr: "255.255.255.255", refused: true},
		"metadata of most clouds":           {addr: "169.254.169.254", refused: true},
		"metadata of AWS over IPv6":         {addr: "fd00:ec2::254", refused: true},
		"metadata of Google over IPv6":      {addr: "fd20:ce::254", refused: true},
		"metadata of Alibaba":               {addr: "100.100.100.200", refused: true},
		"metadata of Azure":                 {addr: "168.63.129.16", refused: true},
		"IPv4-mapped":                       {addr: "::ffff:169.254.169.254", refused: true},
		"IPv4-compatible":                   {addr: "::127.0.0.1", refused: true},
		"NAT64":                             {addr: "64:ff9b::a9fe:a9fe", refused: true},
		"local NAT64":                       {addr: "64:ff9b:1::a9fe:a9fe", refused: true},
		"6to4":                              {addr: "2002:a9fe:a9fe::1", refused: true},
		"Teredo":                            {addr: "2001:0:1::5601:5601", refused: true},
		"NAT64 of a public address is open": {addr: "64:ff9b::cb00:7107"},
		"an allowed address is open":        {policy: allow("127.0.0.0/8"), addr: "127.0.0.1"},
		"an allowed address is open in its IPv6 form":        {policy: allow("127.0.0.0/8"), addr: "::ffff:127.0.0.1"},
		"what is allowed opens nothing else":                 {policy: allow("127.0.0.1/32", "::1/128"), addr: "169.254.169.254", refused: true},
		"the unrestricted policy refuses nothing":            {policy: Unrestricted(), addr: "169.254.169.254"},
		"the unrestricted policy refuses no IPv6 form of it": {policy: Unrestricted(), addr: "::ffff:169.254.169.254"},
	} {
		t.Run(name, func(t *testing.T) {
			err := newGuard(tc.policy).address("vault.example", netip.MustParseAddr(tc.addr))
			if errors.Is(err, secret.Denied) != tc.refused || (err != nil) != tc.refused {
				t.Fatalf("got %v, want refused=%v", err, tc.refused)
			}
			if tc.refused && (!strings.Contains(err.Error(), "vault.example") || !strings.Contains(err.Error(), "--egress-allow")) {
				t.Errorf("%q names neither the host nor the way out", err)
			}
		})
	}
}

func TestPolicyName(t *testing.T) {
	for host, refused := range map[string]bool{
		"vault.example":            false,
		"vault.example.":           false,
		"203.0.113.7":              false,
		"2600::1":                  false,
		"metadata.example":         false,
		"169.254.169.254":          true,
		"169.254.169.254.":         true,
		"fe80::1%eth0":             true,
		"::1":                      true,
		"localhost":                true,
		"LOCALHOST.":               true,
		"db.localhost":             true,
		"metadata.google.internal": true,
		"metadata":                 true,
		"2130706433":               true,
		"0x7f.1":                   true,
		"127.1":                    true,
		"":                         true,
	} {
		t.Run(host, func(t *testing.T) {
			err := newGuard(Policy{}).name(host)
			if errors.Is(err, secret.Denied) != refused || (err != nil) != refused {
				t.Fatalf("got %v, want refused=%v", err, refused)
			}
			if err := newGuard(Unrestricted()).name(host); err != nil {
				t.Fatalf("unrestricted: %v", err)
			}
		})
	}
}
