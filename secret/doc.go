// Package secret is the vocabulary that every other package speaks: a Value
// that redacts itself, the Ref that names a secret at a backend, the Version a
// backend gives it, and the Error with its kinds.
//
// It imports the standard library and nothing else, does no I/O and knows no
// backend. The bytes of a Value leave it by Reveal alone, so that whoever may
// see a secret can be listed:
//
//	v := secret.New([]byte("hunter2"))
//	fmt.Println(v)        // [redacted]
//	os.Stdout.Write(v.Reveal())
package secret
