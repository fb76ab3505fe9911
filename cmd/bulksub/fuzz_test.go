package main

import (
	"io"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// Whatever the environment says, a command is refused as a mistake of usage or has flags that another command line can say
// as well.
func FuzzEnvironment(f *testing.F) {
	f.Add(uint8(0), "BULKSUB_RATE=5\nBULKSUB_TOPIC=a,b")
	f.Add(uint8(1), "BULKSUB_MAX_REJECTED=NaN%\nBULKSUB_TIMEOUT=1h\nBULKSUB_PRUNE_MAX=1e309")
	f.Add(uint8(2), "BULKSUB_TOPIC=\"\nBULKSUB_BATCH_SIZE=0x10\nDATABASE_URL=\x00")
	f.Fuzz(func(t *testing.T, which uint8, text string) {
		environment := make(map[string]string)
		for line := range strings.Lines(text) {
			name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
			environment[name] = value
		}
		lookup := func(name string) (string, bool) {
			value, ok := environment[name]
			return value, ok
		}
		var cmd *cobra.Command
		all := newRoot(terminal{out: io.Discard, err: io.Discard}, lookup).Commands()
		cmd = all[int(which)%len(all)]
		err := bindEnvironment(cmd, lookup)
		if err != nil {
			if exitCode(err) != exitUsage {
				t.Errorf("%v ends with %d", err, exitCode(err))
			}
			return
		}
		l, err := lineOf(cmd, nil)
		if err != nil {
			t.Fatal(err)
		}
		_ = l.String()
		if err := l.apply(cmd.Flags()); err != nil {
			t.Errorf("%s cannot be said again: %v", l, err)
		}
	})
}
