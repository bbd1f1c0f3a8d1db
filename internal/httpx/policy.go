package httpx

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/keyferry/keyferry/secret"
)

// Policy says which addresses may be connected to. The zero value refuses
// loopback, link-local, unspecified and multicast addresses and the metadata
// services of the clouds, also where they hide inside an IPv6 address.
type Policy struct {
	// Allow exempts addresses from the refusal.
	Allow        []netip.Prefix
	unrestricted bool
}

// Unrestricted returns the policy that refuses nothing, for endpoints that an
// administrator names.
func Unrestricted() Policy { return Policy{unrestricted: true} }

// guard is a Policy made ready to be asked.
type guard struct {
	Policy
	refused []refusal
}

type refusal struct {
	prefix netip.Prefix
	what   string
}

func newGuard(p Policy) guard {
	g := guard{Policy: Policy{Allow: slices.Clone(p.Allow), unrestricted: p.unrestricted}}
	for _, class := range []struct{ what, prefixes string }{
		{"a metadata address", "169.254.169.254/32 169.254.170.2/32 fd00:ec2::/32 fd20:ce::254/128 100.100.100.200/32 168.63.129.16/32 192.0.0.192/32"},
		{"a loopback address", "127.0.0.0/8 ::1/128"},
		{"an unspecified address", "0.0.0.0/8 ::/128"},
		{"a link-local address", "169.254.0.0/16 fe80::/10 fec0::/10"},
		{"a multicast or broadcast address", "224.0.0.0/4 255.255.255.255/32 ff00::/8"},
	} {
		for text := range strings.FieldsSeq(class.prefixes) {
			g.refused = append(g.refused, refusal{netip.MustParsePrefix(text), class.what})
		}
	}
	return g
}

// address fails with Denied if the policy refuses the address that host led to.
func (g guard) address(host string, addr netip.Addr) error {
	if g.unrestricted {
		return nil
	}
	forms := embedded(addr)
	for _, allow := range g.Allow {
		if slices.ContainsFunc(forms, allow.Contains) {
			return nil
		}
	}
	for _, r := range g.refused {
		if slices.ContainsFunc(forms, r.prefix.Contains) {
			return denied(host, r.what)
		}
	}
	return nil
}

// name fails with Denied if host, which a proxy will look up, is an address that
// the policy refuses or a name that always leads to one. Which other names lead
// where is known to the proxy alone.
func (g guard) name(host string) error {
	if g.unrestricted {
		return nil
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if addr, err := netip.ParseAddr(host); err == nil {
		return g.address(host, addr)
	}
	if what := wellKnown(host); what != "" {
		return denied(host, what)
	}
	return nil
}

// wellKnown says which refused address a name leads to by convention, or is written
// like; empty if none.
func wellKnown(host string) string {
	last := host[strings.LastIndexByte(host, '.')+1:]
	switch {
	case last == "localhost" || host == "ip6-localhost" || host == "ip6-loopback":
		return "a loopback address"
	case host == "metadata" || host == "instance-data" || strings.HasPrefix(host, "metadata.google.") || host == "instance-data.ec2.internal":
		return "a metadata address"
	case last == "" || last[0] >= '0' && last[0] <= '9':
		return "an address in a form that is not read here"
	}
	return ""
}

func denied(host, what string) error {
	return &secret.Error{Kind: secret.Denied, Op: "connect", Err: fmt.Errorf(
		"host %s is %s, which the egress policy refuses; an administrator opens it with --egress-allow", host, what)}
}

// embedded returns the address and the IPv4 address inside it, if it is one that
// carries one: IPv4-mapped, IPv4-compatible, NAT64, 6to4 or Teredo.
func embedded(addr netip.Addr) []netip.Addr {
	addr = addr.WithZone("").Unmap()
	forms := []netip.Addr{addr}
	if addr.Is4() {
		return forms
	}
	b := addr.As16()
	last := [4]byte(b[12:16])
	switch {
	case isIn(addr, "::/96") && addr != netip.IPv6Loopback() && !addr.IsUnspecified(),
		isIn(addr, "64:ff9b::/96"), isIn(addr, "64:ff9b:1::/48"):
		forms = append(forms, netip.AddrFrom4(last))
	case isIn(addr, "2002::/16"):
		forms = append(forms, netip.AddrFrom4([4]byte(b[2:6])))
	case isIn(addr, "2001::/32"):
		for i := range last {
			last[i] = ^last[i]
		}
		forms = append(forms, netip.AddrFrom4(last))
	}
	return forms
}

func isIn(addr netip.Addr, prefix string) bool { return netip.MustParsePrefix(prefix).Contains(addr) }
