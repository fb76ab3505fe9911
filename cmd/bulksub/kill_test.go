package main

import (
	"math/rand/v2"
	"os"
	"syscall"
	"testing"
)

// A run that is killed at any call goes on by itself, records nothing twice, and
// sends again at most what was in flight (P1, P2).
func TestKilledRunsGoOn(t *testing.T) {
	const rows, batches, concurrency, kills = 30_000, 30, 4, 12
	for name, to := range places(t, rows) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newProgram(t, scriptFate)
			draw := rand.New(rand.NewPCG(1, uint64(len(name))))
			args := append([]string{"subscribe", "--topic", "news", "--rate", "0", "--concurrency", "4", "--attempts", "2"}, to.args...)
			killed := p.KillRepeatedly(kills, func() int64 { return 1 + draw.Int64N(10) }, args...)
			if code, s := p.run(args...); code != exitFailedRows || s.Rows != rows {
				t.Fatalf("the last run ended with %d: %+v", code, s)
			}
			p.wantResults("news", to, rows)
			// Each kill costs the calls in flight; and each run asks again
			// about what failed before, in at most one batch more.
			if calls := len(p.Service.Calls()); calls > 2*batches+killed*(concurrency+3)+20 {
				t.Errorf("%d calls for %d batches and %d kills", calls, batches, killed)
			}
		})
	}
}

// The first signal drains: what is in flight is recorded, nothing more is sent.
func TestSignalDrains(t *testing.T) {
	for name, to := range places(t, 30_000) {
		t.Run(name, func(t *testing.T) {
			p := newProgram(t, scriptFate)
			args := append([]string{"subscribe", "--topic", "news", "--rate", "1000", "--attempts", "2"}, to.args...)
			p.At(3, func(it *os.Process) { it.Signal(syscall.SIGTERM) })
			code, s := p.run(args...)
			if code != exitTerminated || s.State != stateStopped {
				t.Fatalf("ended with %d: %+v", code, s)
			}
			if s.Rows < 900*s.Requests || s.Requests > 4 {
				t.Errorf("%d rows are recorded of %d calls", s.Rows, s.Requests)
			}
			p.At(0, nil)
			args[4] = "0"
			if code, s := p.run(args...); code != exitFailedRows || s.Rows != 30_000 {
				t.Fatalf("the next run ended with %d: %+v", code, s)
			}
			p.wantResults("news", to, 30_000)
		})
	}
}

// The second signal ends the program at once, though a call is never answered.
func TestSecondSignalEnds(t *testing.T) {
	p := newProgram(t, scriptFate)
	answer := make(chan struct{})
	p.At(1, func(it *os.Process) {
		it.Signal(syscall.SIGTERM)
		it.Signal(syscall.SIGINT)
		<-answer
	})
	code, _ := p.run("subscribe", "--topic", "news", "--csv", writeTokens(t, 1000))
	close(answer)
	if code != exitTerminated && code != exitInterrupted {
		t.Fatalf("ended with %d", code)
	}
}
