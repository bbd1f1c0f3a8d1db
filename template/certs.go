package template

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"slices"
	"strings"
)

const maxCerts = 1000

func certFunctions(library map[string]any) map[string]function {
	const bad = "the input holds no certificate in PEM that can be read"
	const gen = "the key, the certificate, the IP addresses or the names do not fit"
	return merged(
		checked(library, "genCA genSelfSignedCert genSignedCert", function{why: gen, heavy: 5, maxArgs: 2 * maxKey}),
		checked(library, "genCAWithKey genSelfSignedCertWithKey genSignedCertWithKey buildCustomCert",
			function{why: gen, heavy: 2, maxArgs: 2 * maxKey}),
		map[string]function{
			"filterPEM":       {fn: filterPEM, why: bad},
			"filterCertChain": {fn: filterCertChain, why: bad},
			"certSANs":        {fn: certSANs, why: bad},
		},
	)
}

// filterPEM returns the blocks of one type.
func filterPEM(kind, input string) (string, error) {
	var out strings.Builder
	rest := []byte(input)
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if strings.EqualFold(block.Type, kind) {
			out.Write(pem.EncodeToMemory(block))
		}
	}
	if out.Len() == 0 && len(rest) > 0 {
		return "", reason("no block of this type, and text that is not PEM")
	}
	return out.String(), nil
}

// certificates returns the certificates of a PEM text, in its order, and skips
// blocks of other types.
func certificates(text string) ([]*x509.Certificate, error) {
	var certs []*x509.Certificate
	for block, rest := pem.Decode([]byte(text)); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != pemCertificate {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		if certs = append(certs, c); len(certs) > maxCerts {
			return nil, reason("more than 1000 certificates")
		}
	}
	if len(certs) == 0 {
		return nil, reason("the input holds no certificate in PEM")
	}
	return certs, nil
}

// chain orders certificates from the leaf to the root. It fails when they are not
// one chain.
func chain(certs []*x509.Certificate) ([]*x509.Certificate, error) {
	issuer, issues := issuers(certs)
	leaves := slices.DeleteFunc(slices.Clone(certs), func(c *x509.Certificate) bool { return issues[c] })
	switch len(leaves) {
	case 0:
		return nil, reason("the certificates issue each other in a circle")
	case 1:
	default:
		return nil, reason("the certificates have more than one leaf")
	}
	ordered := make([]*x509.Certificate, 0, len(certs))
	for c := leaves[0]; c != nil && len(ordered) < len(certs); c = issuer[c] {
		ordered = append(ordered, c)
	}
	if len(ordered) < len(certs) {
		return nil, reason("the certificates are not one chain")
	}
	return ordered, nil
}

// issuers returns the issuer of each certificate, and which certificates are one.
func issuers(certs []*x509.Certificate) (of map[*x509.Certificate]*x509.Certificate, are map[*x509.Certificate]bool) {
	of, are = map[*x509.Certificate]*x509.Certificate{}, map[*x509.Certificate]bool{}
	for _, c := range certs {
		i := slices.IndexFunc(certs, func(by *x509.Certificate) bool { return by != c && !selfIssued(c) && issuedBy(c, by) })
		if i >= 0 {
			of[c] = certs[i]
			are[certs[i]] = true
		}
	}
	return of, are
}

func selfIssued(c *x509.Certificate) bool {
	return bytes.Equal(c.RawSubject, c.RawIssuer) && issuedBy(c, c)
}

func issuedBy(c, by *x509.Certificate) bool {
	if !bytes.Equal(c.RawIssuer, by.RawSubject) {
		return false
	}
	return len(c.AuthorityKeyId) == 0 || len(by.SubjectKeyId) == 0 || bytes.Equal(c.AuthorityKeyId, by.SubjectKeyId)
}

// filterCertChain returns the leaf, the intermediate or the root certificates of
// a chain; none is the empty text.
func filterCertChain(kind, input string) (string, error) {
	if err := oneOf("the kind of certificate", kind, "leaf", "intermediate", "root"); err != nil {
		return "", err
	}
	certs, err := certificates(input)
	if err != nil {
		return "", err
	}
	if certs, err = chain(certs); err != nil {
		return "", err
	}
	var wanted []*x509.Certificate
	for i, c := range certs {
		is := "intermediate"
		switch {
		case selfIssued(c) && (c.IsCA || kind == "root"):
			is = "root"
		case i == 0:
			is = "leaf"
		}
		if is == kind {
			wanted = append(wanted, c)
		}
	}
	return encodeCertificates(wanted), nil
}

// certSANs returns the DNS names of the first certificate.
func certSANs(input string) ([]string, error) {
	certs, err := certificates(input)
	if err != nil {
		return nil, err
	}
	return certs[0].DNSNames, nil
}
