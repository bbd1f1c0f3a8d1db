package uuid

import (
	"context"
	"crypto/rand"
	"fmt"

	"github.com/keyferry/keyferry/api/generators/v1alpha1"
	"github.com/keyferry/keyferry/generator"
	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/secret"
)

// Generator returns the generator of UUIDs. Its key is "uuid".
func Generator() generator.Generator {
	return generator.Define(generator.Definition[v1alpha1.UUIDSpec]{
		Kind: v1alpha1.UUIDKind, Generate: generate,
		Keys: func(*v1alpha1.UUIDSpec) []string { return []string{"uuid"} },
	})
}

func generate(context.Context, *v1alpha1.UUIDSpec, provider.Env) (generator.Output, error) {
	var b [16]byte
	_, _ = rand.Read(b[:])  // it never fails
	b[6] = b[6]&0x0f | 0x40 // version 4
	b[8] = b[8]&0x3f | 0x80 // the variant of RFC 9562
	text := fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
	return generator.Output{Values: map[string]secret.Value{"uuid": secret.FromString(text)}}, nil
}
