package main

import (
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/bulksub/bulksub/internal/pgtest"
)

// The test binary is the program too, for the scripts and for the tests that
// kill it.
func TestMain(m *testing.M) {
	testscript.Main(pgtest.Runner{Tests: m}, map[string]func(){"bulksub": main})
}

// raceExitsAtOnce is for GORACE: the race detector keeps a program that ends for
// a second.
const raceExitsAtOnce = "atexit_sleep_ms=0"
