package awstest

import (
	"strings"

	esv1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	esmeta "github.com/keyferry/keyferry/api/meta/v1"
	"github.com/keyferry/keyferry/provider/providertest"
)

// nobody is the access key of a bad credential.
const nobody = "AKIANOBODY"

// Situated are the identities to trust for the situations of a conformance suite; that of
// Underprivileged is denied these actions.
func Situated(denied ...string) []Identity {
	return []Identity{
		{AccessKey: KeyOf(providertest.Underprivileged), Denied: denied},
		{AccessKey: KeyOf(providertest.Throttled), Situation: Throttled},
		{AccessKey: KeyOf(providertest.Down), Situation: Down},
		{AccessKey: KeyOf(providertest.Hanging), Situation: Hanging},
	}
}

// KeyOf returns the access key of whoever is in a situation: AccessKey is Good, and no
// server knows that of BadCredential.
func KeyOf(s providertest.Situation) string {
	switch s {
	case providertest.Good:
		return AccessKey
	case providertest.BadCredential:
		return nobody
	}
	return "AKIA" + strings.ToUpper(string(s))
}

// Login puts an access key into a Secret, and returns what names it. The secret key that
// goes with the one of BadCredential holds providertest.Mark.
func Login(env *providertest.Env, accessKey string) esv1.AWSAuth {
	name, secretKey := strings.ToLower(accessKey), SecretKey
	if accessKey == nobody {
		secretKey = providertest.Mark
	}
	env.Put("Secret", providertest.Namespace, name, map[string]string{"id": accessKey, "key": secretKey})
	return esv1.AWSAuth{SecretRef: &esv1.AWSAuthSecretRef{
		AccessKeyID:     esmeta.SecretKeySelector{Name: name, Key: "id"},
		SecretAccessKey: esmeta.SecretKeySelector{Name: name, Key: "key"},
	}}
}
