// Package cli is the commands of the keyferry binary, one file each.
//
// A command reads its flags, puts the parts together and runs them; it decides
// nothing about secrets. It writes to the streams that it is given, returns its
// errors, and never ends the process: Run turns an error into the exit code that
// its kind has. Nothing imports this package but main.
//
//	root := cli.New(cli.Build{Version: "1.0.0", Registry: registry, Clock: clock})
//	root.SetArgs(os.Args[1:])
//	os.Exit(cli.Run(ctx, root))
package cli
