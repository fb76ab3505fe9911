package main

import (
	"os"
	"runtime/debug"
)

// memoryAim is what a job with the default concurrency does with, and smallCallAim
// what each call of one token may take besides.
const (
	memoryAim    = 32 << 20
	smallCallAim = 128 << 10
	// groupedAim is for a segment of rows that come in the order of their topics, which
	// is read at once.
	groupedAim = 64 << 20
)

// aimAtMemory has garbage collected before it exceeds what a job of that
// concurrency needs, so that a long job peaks no higher than a short one (P6).
// GOMEMLIMIT has the last word.
func aimAtMemory(concurrency int, a asking) {
	aim := memoryAim * int64(max(concurrency, 16)) / 16
	if a.small {
		aim = memoryAim + smallCallAim*int64(concurrency)
	}
	if a.grouped {
		aim += groupedAim
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(aim)
	}
}

// window is how many rows are in hand at a time, 0 leaving it to the pipeline. Calls
// of one token need a few rows for each: those that are sent and those that are
// being recorded.
func (o *jobOptions) window() int {
	if !o.asked.small {
		return 0
	}
	return max(1024, 8*o.service.concurrency)
}
