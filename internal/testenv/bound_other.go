//go:build unix && !linux

package testenv

import "syscall"

// bound keeps the terminal's Ctrl-C from a child. Only Linux can also kill it with
// its parent; elsewhere a test that is killed leaves its servers behind.
func bound() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
