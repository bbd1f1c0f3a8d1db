package testenv

import "syscall"

// bound makes a child die with its parent, whatever kills that, and keeps the
// terminal's Ctrl-C from it: whoever started it stops it.
func bound() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}
