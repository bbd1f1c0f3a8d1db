package template

import (
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"slices"

	"software.sslmate.com/src/go-pkcs12"
)

const maxIterations = 1_000_000 // of the password hash inside a PKCS#12 file

func pkcsFunctions() map[string]function {
	const decode = "the input is not PKCS#12 (decode base64 first), or the password is wrong"
	const encode = "the certificate and the key cannot be read, or do not fit in PKCS#12"
	heavy := func(why string, fn any) function { return function{fn: fn, why: why, heavy: 2} }
	return map[string]function{
		"pkcs12key":      heavy(decode, func(input string) (string, error) { return pkcs12Key("", input) }),
		"pkcs12keyPass":  heavy(decode, pkcs12Key),
		"pkcs12cert":     heavy(decode, func(input string) (string, error) { return pkcs12Certs("", input) }),
		"pkcs12certPass": heavy(decode, pkcs12Certs),
		"pemToPkcs12": heavy(encode, func(cert, key string) (string, error) {
			return toPKCS12(cert, key, "", false)
		}),
		"pemToPkcs12Pass": heavy(encode, func(cert, key, password string) (string, error) {
			return toPKCS12(cert, key, password, false)
		}),
		"fullPemToPkcs12": heavy(encode, func(cert, key string) (string, error) {
			return toPKCS12(cert, key, "", true)
		}),
		"fullPemToPkcs12Pass": heavy(encode, func(cert, key, password string) (string, error) {
			return toPKCS12(cert, key, password, true)
		}),
		"pemTruststoreToPKCS12":     heavy(encode, func(certs string) (string, error) { return toTrustStore(certs, "") }),
		"pemTruststoreToPKCS12Pass": heavy(encode, toTrustStore),
	}
}

func decodePKCS12(password, input string) (any, []*x509.Certificate, error) {
	if !cheap([]byte(input), 0) {
		return nil, nil, reason("the PKCS#12 asks for more than 1000000 iterations")
	}
	key, cert, rest, err := pkcs12.DecodeChain([]byte(input), password)
	if err != nil {
		return nil, nil, err
	}
	return key, append([]*x509.Certificate{cert}, rest...), nil
}

// cheap reports whether no salt in the DER is followed by more iterations than
// are allowed: the one who made the file chooses how long opening it takes.
func cheap(der []byte, depth int) bool {
	afterSalt := false
	for depth < 32 && len(der) > 0 {
		var v asn1.RawValue
		rest, err := asn1.Unmarshal(der, &v)
		if err != nil {
			return true // no DER in here: a plain octet string
		}
		if afterSalt && universal(v, asn1.TagInteger) && !smallNumber(v.Bytes) {
			return false
		}
		afterSalt = universal(v, asn1.TagOctetString)
		if (v.IsCompound || afterSalt) && !cheap(v.Bytes, depth+1) {
			return false
		}
		der = rest
	}
	return true
}

func universal(v asn1.RawValue, tag int) bool { return v.Class == asn1.ClassUniversal && v.Tag == tag }

func smallNumber(b []byte) bool {
	n := 0
	for _, c := range b {
		if n = n<<8 | int(c); n > maxIterations {
			return false
		}
	}
	return true
}

func pkcs12Key(password, input string) (string, error) {
	key, _, err := decodePKCS12(password, input)
	if err != nil {
		return "", err
	}
	return privateKeyPEM(key)
}

// pkcs12Certs returns the certificates from the leaf to the root, or in their own
// order when they are not one chain.
func pkcs12Certs(password, input string) (string, error) {
	_, certs, err := decodePKCS12(password, input)
	if err != nil {
		return "", err
	}
	if ordered, err := chain(certs); err == nil {
		certs = ordered
	}
	return encodeCertificates(certs), nil
}

func toPKCS12(certPEM, keyPEM, password string, full bool) (string, error) {
	certs, err := certificates(certPEM)
	if err != nil {
		return "", err
	}
	key, err := privateKey(keyPEM)
	if err != nil {
		return "", err
	}
	var rest []*x509.Certificate
	if full {
		rest = slices.Clone(certs[1:])
	}
	b, err := pkcs12.Modern.Encode(key, certs[0], rest, password)
	return base64.StdEncoding.EncodeToString(b), err
}

func toTrustStore(certPEM, password string) (string, error) {
	certs, err := certificates(certPEM)
	if err != nil {
		return "", err
	}
	b, err := pkcs12.Modern.EncodeTrustStore(certs, password)
	return base64.StdEncoding.EncodeToString(b), err
}
