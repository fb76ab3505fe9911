package faults

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bulksub/bulksub/iidclient/iidtest"
	"github.com/bulksub/bulksub/internal/trial"
)

// fileScene is a job from a file into a file.
type fileScene struct {
	*trial.Program
	t               testing.TB
	tokens, results string
	rows            int
}

func newFileScene(t testing.TB, config iidtest.Config, rows int) *fileScene {
	t.Helper()
	s := &fileScene{Program: trial.New(t, config), t: t, tokens: trial.WriteTokens(t, rows), rows: rows}
	s.results = filepath.Join(filepath.Dir(s.tokens), "out.csv")
	return s
}

func (s *fileScene) args(more ...string) []string {
	return append([]string{"subscribe", "--topic", "news", "--csv", s.tokens, "--results", s.results, "--rate", "0",
		"--concurrency", "2", "--batch-size", "100", "--attempts", "2"}, more...)
}

// finish runs the job to its end, and judges the result file, which only its owner may read.
func (s *fileScene) finish(mix iidtest.Mix, more ...string) {
	s.t.Helper()
	code, last := s.Run(s.args(more...)...)
	file, err := os.ReadFile(s.results)
	if err != nil {
		s.t.Fatalf("%v: ended with %d: %s", err, code, last.Words)
	}
	lines, err := trial.CSVLines(bytes.NewReader(file))
	must(s.t, err)
	if diff := trial.Disagreement(s.Service, mix, "news", lines, s.rows); diff != "" {
		s.t.Error(diff)
	}
	if want := map[bool]int{true: 3}[last.Failed > 0]; code != want || last.Rows != int64(s.rows) {
		s.t.Errorf("ended with %d and %d rows: %s", code, last.Rows, last.Words)
	}
	for _, name := range []string{s.results, s.results + ".job.json"} {
		info, err := os.Lstat(name)
		must(s.t, err)
		if info.Mode() != 0o600 {
			s.t.Errorf("%s is %v", name, info.Mode())
		}
	}
}

// trace runs the program under strace, which meddles with some of the calls that change the job's files, as strace's
// option inject has it, and returns what tells of all of them afterwards.
func (s *fileScene) trace(calls, meddle string) (told func() string) {
	file := filepath.Join(s.t.TempDir(), "calls")
	s.Under = []string{"strace", "-f", "-qq", "-o", file, "-P", s.results, "-P", s.results + ".partial", "-P", s.results + ".job.json",
		"-e", "trace=" + calls, "-e", "inject=" + calls + ":" + meddle}
	return func() string {
		text, err := os.ReadFile(file)
		must(s.t, err)
		return string(text)
	}
}

// F02: killed at the system calls by which a job changes its files, from the first of each kind on until there are no more, each
// time in a job of its own. strace counts the calls of each thread, so that one round may leave some out; the more seeds are asked
// for, the more rounds there are.
func TestKilledAtEverySystemCall(t *testing.T) {
	t.Parallel()
	for calls, least := range map[string]int{"openat": 1, "pwrite64": 3, "fsync": 3, "renameat": 1, "ftruncate": 1, "close": 1} {
		t.Run(calls, func(t *testing.T) {
			t.Parallel()
			places := make(map[int]bool)
			for range 1 + *seeds/10 {
				for n := 1; killedAt(t, calls, n, places); n++ {
				}
			}
			reached(t, "places were met", len(places), least)
		})
	}
}

// killedAt has a job of three batches killed at the nth of some system calls that a thread makes, and run again to its end. It
// reports whether there was such a call, and notes the place that it had among those of all threads.
func killedAt(t *testing.T, calls string, n int, places map[int]bool) bool {
	t.Helper()
	s := newFileScene(t, iidtest.Config{Fates: trial.Mixed.Fate}, 300)
	s.Env = []string{"GOMAXPROCS=1"} // fewer threads
	told := s.trace(calls, fmt.Sprint("signal=KILL:when=", n))
	code, last := s.Run(s.args()...)
	switch code {
	case trial.Killed:
		places[strings.Count(told(), calls+"(")] = true
	case 3: // some rows have failed, as the service would have it
	default:
		t.Fatalf("ended with %d: %s", code, last.Words)
	}
	s.Under, s.Env = nil, nil
	s.finish(trial.Mixed)
	return code == trial.Killed
}

// F09: a crash loop. Each start gets a third of a second, in which a call fits, and the job is done after some.
func TestCrashLoop(t *testing.T) {
	t.Parallel()
	s := newFileScene(t, iidtest.Config{Fates: trial.Final.Fate, Latency: iidtest.Latency{Fixed: 30 * time.Millisecond}}, 4000)
	s.Joins = func(it *os.Process) { time.AfterFunc(300*time.Millisecond, func() { it.Kill() }) }
	s.Leaves = func(*os.Process) {}
	starts, code := 0, trial.Killed
	for ; code == trial.Killed && starts < 100; starts++ {
		code, _ = s.Run(s.args()...)
	}
	s.Joins = nil
	s.finish(trial.Final)
	reached(t, "starts", starts, 2)
}

// F10: a job goes on with another rate, batch size and concurrency, and refuses what would make it another job, by name.
func TestChangedFlags(t *testing.T) {
	t.Parallel()
	s := newScene(t, trial.Mixed)
	s.At(3, func(it *os.Process) { it.Kill() })
	if code, _ := s.Run(s.args()...); code != trial.Killed {
		t.Fatalf("ended with %d", code)
	}
	s.At(0, nil)
	s.exec(`create table others as table users`)
	for flag, value := range map[string]string{"--topic": "sport", "--table": "others", "--token-column": "id"} {
		code, last := s.Run(s.args(flag, value)...)
		if code != 64 && code != 65 || !strings.Contains(last.Words, strings.TrimPrefix(flag, "--")) && !strings.Contains(last.Words, value) {
			t.Errorf("%s %s: ended with %d: %s", flag, value, code, last.Words)
		}
	}
	s.finish("--batch-size", "77", "--concurrency", "3", "--rate", "100000", "--attempts", "3")
}

// F61: the disk of the result file is full. The job says so and is not done; it goes on when there is room.
func TestResultFileOnAFullDisk(t *testing.T) {
	t.Parallel()
	s := newFileScene(t, iidtest.Config{Fates: trial.Mixed.Fate}, 5000)
	// A limit on the size of files, as a shell can set it, ends like a full disk.
	s.Under = []string{"bash", "-c", `ulimit -f 200; exec "$@"`, "limited"}
	code, last := s.Run(s.args()...)
	if code != 69 || last.Rows >= 5000 {
		t.Errorf("ended with %d and %d rows: %s", code, last.Rows, last.Words)
	}
	reached(t, "results were recorded before", last.Rows, 1)
	s.Under = nil
	s.finish(trial.Mixed)
}

// F61: the disk of the result file fails, at each kind of call that changes it. The job says so and is not done; what it has
// recorded stands there, in whole lines, and it goes on when the disk is well.
func TestResultFileOnABadDisk(t *testing.T) {
	t.Parallel()
	for call, from := range map[string]string{
		"openat": "1", "ftruncate": "1", "pwrite64": "3", "fsync": "4", "renameat": "1", "pwrite64,fsync,ftruncate": "4+",
	} {
		t.Run(call, func(t *testing.T) {
			t.Parallel()
			s := newFileScene(t, iidtest.Config{Fates: trial.Mixed.Fate}, 3000)
			calls := s.trace(call, "error=EIO:when="+from)
			code, last := s.Run(s.args()...)
			if code != 69 || !strings.Contains(last.Words, s.results) || !strings.Contains(last.Words, "input/output error") {
				t.Errorf("ended with %d: %s", code, last.Words)
			}
			reached(t, "calls failed", strings.Count(calls(), "(INJECTED)"), 1)
			if file, _ := os.ReadFile(s.results + ".partial"); len(file) > 0 {
				lines, err := trial.CSVLines(bytes.NewReader(file))
				if err != nil || int64(len(lines)) < last.Rows || !bytes.HasSuffix(file, []byte("\n")) {
					t.Errorf("%d lines of %d rows are there: %v", len(lines), last.Rows, err)
				}
			}
			s.Under = nil
			s.finish(trial.Mixed)
		})
	}
}

// F61: results are written to a full device, and to a pipe that nobody reads any more: the exit code is not 0, and the
// database has everything still.
func TestExportFails(t *testing.T) {
	t.Parallel()
	s := newScene(t, trial.Final)
	s.finish()
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	must(t, err)
	defer full.Close()
	read, write, err := os.Pipe()
	must(t, err)
	read.Close()
	defer write.Close()
	for name, out := range map[string]io.Writer{"a full device": full, "a closed pipe": write} {
		cmd := exec.Command("bulksub", "jobs", "results", "it")
		cmd.Env, cmd.Stdout = append(os.Environ(), s.Env...), out
		if err := cmd.Run(); err == nil {
			t.Errorf("%s is no failure", name)
		}
	}
	if out, err := s.tool("jobs", "results", "it"); err != nil || strings.Count(out, "\n") != rows+1 {
		t.Errorf("%v: %d lines", err, strings.Count(out, "\n"))
	}
}

// F60: the input is replaced between two runs, by other tokens or by fewer: the next run refuses, and says why.
func TestReplacedInput(t *testing.T) {
	t.Parallel()
	s := newFileScene(t, iidtest.Config{Fates: trial.Mixed.Fate}, 3000)
	s.At(5, func(it *os.Process) { it.Kill() })
	if code, _ := s.Run(s.args()...); code != trial.Killed {
		t.Fatalf("ended with %d", code)
	}
	s.At(0, nil)
	before, err := os.ReadFile(s.tokens)
	must(t, err)
	info, err := os.Stat(s.tokens)
	must(t, err)
	for name, text := range map[string][]byte{
		"other":   bytes.Replace(before, []byte("APA91b"), []byte("APA91c"), 1),
		"shorter": before[:len(before)/2],
		"longer":  append(bytes.Clone(before), "one-more\n"...),
	} {
		must(t, os.WriteFile(s.tokens, text, 0o600))
		if code, last := s.Run(s.args()...); code != 64 || !strings.Contains(last.Words, "input") {
			t.Errorf("%s: ended with %d: %s", name, code, last.Words)
		}
	}
	must(t, os.WriteFile(s.tokens, before, 0o600))
	must(t, os.Chtimes(s.tokens, info.ModTime(), info.ModTime()))
	s.finish(trial.Mixed)
}
