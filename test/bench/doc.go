// Command bench measures the controller on a real control plane, part by part:
//
//	es          ExternalSecrets from OpenBao, against a bare client that does the same reads and writes
//	push        PushSecrets to OpenBao, against such a client; then a refresh that has nothing to write
//	aws         ExternalSecrets from AWS Secrets Manager: how many calls it takes
//	namespaces  ClusterExternalSecrets: from the label of a namespace to its Secret
//
// OpenBao is a real one with file storage, AWS the one of internal/awstest. API calls
// are the controller's own counts, read from its metrics; store calls too, and beside
// that what the store itself says; processor time and memory are the kernel's. It ends
// with an error that names every bar that was missed.
//
//	go run ./test/bench -only push -n 1000
package main
