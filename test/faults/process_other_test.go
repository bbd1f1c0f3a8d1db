//go:build !linux

package faults_test

import "syscall"

// bound leaves it to the tests to end the child.
func bound() *syscall.SysProcAttr { return nil }
