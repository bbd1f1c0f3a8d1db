//go:build unix && !linux

package main

import "syscall"

// bound keeps the terminal's Ctrl-C from a process: it is ended in order.
func bound() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
