// Bulksub subscribes millions of push tokens to topics, with one result for every
// token. See the README, or bulksub help.
//
// This package is the only one that knows every other: it reads flags, joins a
// source, a sink and a service to a run, shows its progress and its summary, and
// turns errors into exit codes. Each command has a file of its own. A dry run
// changes nothing anywhere (P10), and no token is shown but in results (P8).
package main

import (
	"context"
	"os"
)

func main() {
	os.Exit(execute(context.Background(), os.Args[1:], terminal{in: os.Stdin, out: os.Stdout, err: os.Stderr}))
}
