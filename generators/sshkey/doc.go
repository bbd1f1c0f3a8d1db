// Package sshkey makes SSH key pairs: the SSHKey generator.
//
// A key is of type rsa, ecdsa or ed25519, from the system's random source. The private
// key is in OpenSSH's own format, without a passphrase; the public key is a line of
// authorized_keys. Nothing is asked and nothing is left behind: the package knows
// neither a network nor a clock.
//
//	g := sshkey.Generator()
//	out, err := g.Generate(ctx, &v1alpha1.SSHKeySpec{KeyType: "ed25519", Comment: "deploy"}, env)
//	out.Values["privateKey"], out.Values["publicKey"]
package sshkey
