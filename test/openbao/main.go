// Command openbao is an unmodified OpenBao server, built for the tests and demos of Keyferry.
package main

import (
	"os"

	"github.com/openbao/openbao/command"
)

func main() { os.Exit(command.Run(os.Args[1:])) }
