// Command keyferry keeps secrets in step between external stores and Kubernetes.
//
// This package holds what only a process has: the signals, the clock, the list of
// providers, the exit. It must not hold anything else; the commands are in
// internal/cli.
//
//	keyferry sync -f examples/quickstart --stdout
package main
