package main

import "syscall"

// bound makes a child die with its parent, whatever kills that, and keeps the
// terminal's Ctrl-C from it: the supervisor decides when a child ends.
func bound() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}
