package trial

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bulksub/bulksub/iidclient/iidtest"
)

// Killed is the exit code of a run that was ended by SIGKILL.
const Killed = -1

// Environment is what a run needs besides the test's own environment: the race detector keeps a program that ends for a
// second.
const Environment = "GORACE=atexit_sleep_ms=0"

const (
	// patience is how long one run may take (I11).
	patience = 5 * time.Minute
	// bug and crash are the exit codes of a panic, ours and the runtime's, which no fault may cause.
	bug, crash = 70, 2
)

// Program is the real program and a stand-in that can do something to it at a call. One run at a time may be harmed by
// At; Joins and Leaves tell of any number.
type Program struct {
	Service *iidtest.Running
	Login   string   // the stand-in's service account file
	Env     []string // for each run, besides the test's
	Under   []string // what the program runs under, such as a tracer with its arguments
	Binary  string   // the program; "bulksub" of the PATH at first
	// Joins and Leaves, if set, are told of each process that runs.
	Joins, Leaves func(*os.Process)
	// Herd are the processes that run; At takes one of them.
	Herd *Herd
	// Peak is the largest resident set of a run at a call so far, in KiB, where the system tells.
	Peak atomic.Int64
	// Files is the most files that a run had open at a call so far, connections included, where the system tells.
	Files atomic.Int64

	t      testing.TB
	atCall atomic.Int64 // the call at which act is due; 0: none
	act    func(*os.Process)
	calls  atomic.Int64
	watch  atomic.Pointer[func()]
	runs   atomic.Int64
}

// New starts a stand-in, which ends with the test.
func New(t testing.TB, config iidtest.Config) *Program {
	t.Helper()
	p := &Program{t: t, Binary: "bulksub", Herd: newHerd()}
	config.OnCall = p.onCall
	service, err := iidtest.Start(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.Herd.disperse()
		service.Close()
	})
	p.Service, p.Login = service, filepath.Join(t.TempDir(), "service-account.json")
	if err := os.WriteFile(p.Login, service.CredentialsJSON(service.URL), 0o600); err != nil {
		t.Fatal(err)
	}
	return p
}

// onCall runs when a call has been applied, and before it is answered.
func (p *Program) onCall(c iidtest.Call) {
	if c.Endpoint == "token" {
		return
	}
	p.notePeaks()
	if watch := p.watch.Load(); watch != nil {
		(*watch)()
	}
	if p.calls.Add(1) == p.atCall.Load() {
		if it := p.Herd.Take(); it != nil {
			p.act(it)
		}
	}
}

// Each has something done at every call but those for access tokens, before its answer.
func (p *Program) Each(do func()) { p.watch.Store(&do) }

// At has something done to the program at its nth call from now, before its answer; nothing with 0.
func (p *Program) At(n int64, act func(*os.Process)) {
	p.calls.Store(0)
	p.act = act
	p.atCall.Store(n)
}

// Faults puts faults into force, in their text form; none is a healthy service.
func (p *Program) Faults(texts ...string) {
	p.t.Helper()
	var plans []iidtest.Plan
	for _, text := range texts {
		plan, err := iidtest.ParseFault(text)
		if err != nil {
			p.t.Fatal(err)
		}
		plans = append(plans, plan)
	}
	p.Service.SetFaults(plans...)
}

// KillRepeatedly runs the program over and over and kills it, each time at a call that at draws, if it gets so far. It
// returns how many runs were killed, at least half of them.
func (p *Program) KillRepeatedly(runs int, at func() int64, args ...string) (killed int) {
	p.t.Helper()
	for range runs {
		p.At(at(), func(it *os.Process) { it.Kill() })
		if code, _ := p.Run(args...); code == Killed {
			killed++
		}
	}
	if killed < runs/2 {
		p.t.Fatalf("only %d of %d runs were killed: this proves nothing", killed, runs)
	}
	p.At(0, nil)
	return killed
}

// Run runs the program and returns its exit code and its summary.
func (p *Program) Run(args ...string) (int, Summary) {
	p.t.Helper()
	return p.Heard(io.Discard, slices.Concat(args, []string{"--quiet"})...)
}

// Heard is [Program.Run] with what the program says on the way. The test fails if any of it is a secret or a whole token,
// and ends if it is a panic, or if the run takes minutes.
func (p *Program) Heard(said io.Writer, args ...string) (int, Summary) {
	p.t.Helper()
	var out, words bytes.Buffer
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	line := slices.Concat(p.Under, []string{p.Binary}, args, []string{"--json", "--endpoint", p.Service.URL, "--credentials", p.Login})
	cmd := exec.CommandContext(ctx, line[0], line[1:]...)
	cmd.Stdout, cmd.Stderr = &out, io.MultiWriter(&words, said)
	// The name tells the runs apart in the database, see Watch.
	cmd.Env = append(append(os.Environ(), Environment, fmt.Sprintf("PGAPPNAME=run %d", p.runs.Add(1))), p.Env...)
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.Herd.Join(cmd.Process)
	defer p.Herd.Leave(cmd.Process)
	if p.Joins != nil {
		p.Joins(cmd.Process)
		defer p.Leaves(cmd.Process)
	}
	err := cmd.Wait()
	if exited, ok := errors.AsType[*exec.ExitError](err); ctx.Err() != nil || !ok && err != nil {
		p.t.Fatalf("%v: %v: %v\n%s", args, err, ctx.Err(), words.Bytes())
	} else if ok && (exited.ExitCode() == bug || exited.ExitCode() == crash) {
		p.t.Fatalf("%s", words.Bytes())
	}
	if leak := Leak(out.String() + words.String()); leak != "" {
		p.t.Errorf("%v shows %s", args, leak)
	}
	var s Summary
	if out.Len() > 0 {
		if err := json.Unmarshal(out.Bytes(), &s); err != nil {
			p.t.Fatalf("%v: %s", err, out.Bytes())
		}
	}
	s.Words, s.Text = words.String(), out.Bytes()
	return cmd.ProcessState.ExitCode(), s
}
