// Package faults holds the tests that break things: the controller runs as a process
// of its own, against a real API server and a real OpenBao, and one of the three is
// killed, stopped, misled or attacked.
//
// Faults: what is killed or away for a while costs no Secret, and everything
// converges when it is back; what was pushed is never lost track of. Fights: two who
// want one place at a store do not undo each other's writes for ever. Canary: no
// failure, at the highest log level, shows a marked value anywhere but in the Secret it
// is for. Tenants: a namespace reaches nothing of another one, by any field of any
// manifest.
//
// There is nothing here to import, and nothing that ships.
//
//	go test -race ./test/faults
package faults
