package main

import (
	"os"
	"runtime/debug"
)

// memoryAim is what a job with the default concurrency does with.
const memoryAim = 32 << 20

// aimAtMemory has garbage collected before it exceeds what a job of that
// concurrency needs, so that a long job peaks no higher than a short one (P6).
// GOMEMLIMIT has the last word.
func aimAtMemory(concurrency int) {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryAim * int64(max(concurrency, 16)) / 16)
	}
}
