package faults_test

import "syscall"

// bound makes a child die with the tests, however they end.
func bound() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}
