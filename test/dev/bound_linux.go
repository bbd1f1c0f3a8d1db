package main

import "syscall"

// bound makes a process end with the thread that started it, and keeps the
// terminal's Ctrl-C from it: it is ended in order.
func bound() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
}
