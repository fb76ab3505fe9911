package source

import (
	"fmt"
	"strings"
)

// InputError is an input that cannot be read as it is.
type InputError struct {
	Input   string // the file, as it was named
	Line    int    // where in it, from 1; 0: all of it
	Problem string // what is wrong, and what to do
	Err     error  // the cause, if there is one below
}

func (e *InputError) Error() string {
	var b strings.Builder
	b.WriteString(e.Input)
	if e.Line > 0 {
		fmt.Fprintf(&b, ", line %d", e.Line)
	}
	b.WriteString(": ")
	b.WriteString(e.Problem)
	if e.Err != nil {
		fmt.Fprintf(&b, ": %v", e.Err)
	}
	return b.String()
}

func (e *InputError) Unwrap() error { return e.Err }
