// Command dev runs all of Keyferry on this machine until it is interrupted: a real
// control plane without nodes, a real OpenBao, the controller as users run it, and
// the objects of objects.yaml. It says what to try.
//
// Everything listens on loopback, lives in the temporary folder, and ends with the
// command, however it ends. It must not need anything but Go; kubectl and curl are
// for those who try what it says.
//
//	go run ./test/dev
package main
