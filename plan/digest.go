package plan

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"hash"

	esv1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	"github.com/keyferry/keyferry/secret"
)

// Digest stands for everything that Apply makes a target from, but for the target
// itself: equal digests under one key mean equal inputs. It is for memory, never
// for an object or a log: key is a random one of the process.
func Digest(key []byte, es *esv1.ExternalSecret, data Data, sources map[string]map[string]secret.Value) [sha256.Size]byte {
	h := hmac.New(sha256.New, key)
	hashString(h, string(es.UID))
	hashString(h, es.Namespace)
	hashString(h, es.Name)
	spec, err := json.Marshal(&es.Spec)
	if err != nil { // plain strings and numbers always encode
		spec = nil
	}
	hashString(h, string(spec))
	hashMap(h, es.Labels)
	hashMap(h, inherited(es.Annotations))
	hashValues(h, data.Values)
	hashSize(h, len(data.Missing))
	for _, field := range data.Missing {
		hashString(h, field)
	}
	hashSize(h, len(sources))
	for _, name := range secret.Keys(sources) {
		hashString(h, name)
		hashValues(h, sources[name])
	}
	return [sha256.Size]byte(h.Sum(nil))
}

func hashValues(h hash.Hash, m map[string]secret.Value) {
	hashSize(h, len(m))
	for _, k := range secret.Keys(m) {
		hashString(h, k)
		hashString(h, string(m[k].Reveal()))
	}
}
