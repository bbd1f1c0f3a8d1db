package faults_test

import (
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha3"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// scanner finds marked values, and what gives them away.
type scanner struct {
	// needles are what to look for, and what that is.
	needles map[string]string
}

// newScanner looks for every text that contains the stem, in plain, in Base64 and in
// hexadecimal, and for the digests of the values.
func newScanner(stem string, values []string) scanner {
	s := scanner{needles: map[string]string{
		stem:                             "the mark",
		hex.EncodeToString([]byte(stem)): "the mark in hexadecimal",
		strings.ToUpper(hex.EncodeToString([]byte(stem))): "the mark in hexadecimal",
	}}
	for before := range 3 {
		// What is around the mark shares its first and last character.
		encoded := base64.StdEncoding.EncodeToString(append(make([]byte, before), stem...))
		first, last := (before*8+5)/6, (before+len(stem))*8/6
		s.needles[encoded[first:last]] = "the mark in Base64"
	}
	for _, v := range values {
		for name, sum := range digests([]byte(v)) {
			s.needles[hex.EncodeToString(sum)] = name + " of " + v
			s.needles[base64.StdEncoding.EncodeToString(sum)] = name + " of " + v
		}
	}
	return s
}

func digests(v []byte) map[string][]byte {
	d1, d5, d2, d3 := sha1.Sum(v), md5.Sum(v), sha256.Sum256(v), sha3.Sum224(v)
	d4 := sha512.Sum512(v)
	return map[string][]byte{"SHA-1": d1[:], "MD5": d5[:], "SHA-256": d2[:], "SHA3-224": d3[:], "SHA-512": d4[:]}
}

// find returns what the text gives away, with what is around it.
func (s scanner) find(text string) []string {
	var found []string
	for _, needle := range slices.Sorted(maps.Keys(s.needles)) {
		for rest := text; ; {
			i := strings.Index(rest, needle)
			if i < 0 {
				break
			}
			end := i + len(needle)
			found = append(found, fmt.Sprintf("%s: …%s…", s.needles[needle], rest[max(0, i-200):min(len(rest), end+60)]))
			rest = rest[end:]
		}
	}
	return found
}

// marked returns every value in the text that contains the stem.
func marked(stem, text string) []string {
	all := regexp.MustCompile(stem+`\w*`).FindAllString(text, -1)
	slices.Sort(all)
	return slices.Compact(all)
}

func TestTheScannerFindsWhatIsPlanted(t *testing.T) {
	const stem = "Kq7Canary9Zv"
	s := newScanner(stem, []string{stem + "password"})
	sum := sha256.Sum256([]byte(stem + "password"))
	for name, text := range map[string]string{
		"plain":           "token is " + stem + "x, sorry",
		"hexadecimal":     hex.EncodeToString([]byte("a" + stem + "b")),
		"base64":          base64.StdEncoding.EncodeToString([]byte(stem)),
		"base64, shifted": base64.StdEncoding.EncodeToString([]byte("a" + stem + "b")),
		"base64, twice":   base64.StdEncoding.EncodeToString([]byte("ab" + stem + "bcd")),
		"base64url":       base64.RawURLEncoding.EncodeToString([]byte("user:" + stem)),
		"digest":          "hash=" + hex.EncodeToString(sum[:]),
	} {
		if len(s.find(text)) == 0 {
			t.Errorf("%s: not found", name)
		}
	}
	if found := s.find("Kq7canary9Zv and nothing else"); len(found) > 0 {
		t.Errorf("found what is not there: %q", found)
	}
}
