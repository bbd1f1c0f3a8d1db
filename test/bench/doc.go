// Command bench measures the controller against the limit of the API server: a bare
// client that does the same writes. Both run in one go, on a real control plane and
// a real OpenBao with file storage.
//
//	go run ./test/bench -n 1000,5000
//
// The API calls and store calls are the controller's own counts, read from its
// metrics; processor time and memory are the kernel's.
package main
