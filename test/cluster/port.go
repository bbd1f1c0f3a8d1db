package main

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// reservePort takes a free port on loopback and keeps it from everybody but the
// components, which bind it with SO_REUSEPORT too: a component that is started
// again finds its port, and no client gets it as its own side of a connection. The
// socket never listens, so that connections are refused while the component is
// away. It is held until the process ends.
func reservePort() (int, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		return 0, fmt.Errorf("reserve a port: %w", err)
	}
	unix.CloseOnExec(fd)
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1); err != nil {
		return 0, fmt.Errorf("reserve a port: %w", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return 0, fmt.Errorf("reserve a port: %w", err)
	}
	address, err := unix.Getsockname(fd)
	if err != nil {
		return 0, fmt.Errorf("reserve a port: %w", err)
	}
	inet, ok := address.(*unix.SockaddrInet4)
	if !ok {
		return 0, fmt.Errorf("reserve a port: got a %T", address)
	}
	return inet.Port, nil
}
