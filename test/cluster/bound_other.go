//go:build unix && !linux

package main

import "syscall"

// bound keeps the terminal's Ctrl-C from a child. Only Linux can also kill it with
// its parent; elsewhere a supervisor that is killed leaves its children behind.
func bound() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
