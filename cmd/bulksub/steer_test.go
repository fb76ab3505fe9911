package main

import (
	"bufio"
	"bytes"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/bulksub/bulksub/internal/pgtest"
)

// ear waits for a word.
type ear struct {
	word  string
	heard chan struct{}
}

func (e *ear) Write(text []byte) (int, error) {
	if bytes.Contains(text, []byte(e.word)) {
		select {
		case e.heard <- struct{}{}:
		default:
		}
	}
	return len(text), nil
}

// jobs says something to the jobs of a database.
func jobs(t *testing.T, db *pgxpool.Pool, args ...string) {
	cmd := exec.Command("bulksub", append([]string{"jobs"}, args...)...)
	cmd.Env = append(os.Environ(), "DATABASE_URL="+db.Config().ConnString(), "GORACE="+raceExitsAtOnce)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("jobs %v: %v\n%s", args, err, out)
	}
}

// leaseEnd is when the first lease that is held runs out.
func leaseEnd(t *testing.T, db *pgxpool.Pool) (end time.Time) {
	t.Helper()
	if err := db.QueryRow(t.Context(), `select min(lease_end) from bulksub.segments where not done and owner is not null`).Scan(&end); err != nil {
		t.Fatal(err)
	}
	return end
}

// A job that runs is paused: its segments stay with it and no call goes, though the
// rate is lifted. It goes on, and is cancelled: what is in flight is recorded, and
// it is not run again before it may go on.
func TestPauseContinueCancel(t *testing.T) {
	t.Parallel()
	const rows = 30_000
	p, db := newProgram(t, scriptFate), pgtest.New(t)
	fillTable(t, db, rows)
	args := []string{"subscribe", "--topic", "news", "--table", "users", "--job", "it", "--rate", "2000", "--concurrency", "2", "--attempts", "2",
		"--database-url", db.Config().ConnString()}
	p.At(3, func(*os.Process) {
		jobs(t, db, "pause", "it")
		jobs(t, db, "set", "it", "--rate", "0")
	})
	said, ended := &ear{word: "msg=paused", heard: make(chan struct{}, 1)}, make(chan struct{})
	var code int
	var s summary
	go func() {
		defer close(ended)
		code, s = p.heard(said, args...)
	}()
	select {
	case <-said.heard:
	case <-ended:
		t.Fatalf("ended with %d before it was paused: %+v", code, s)
	}
	before, lease := len(p.Service.Calls()), leaseEnd(t, db)
	for beat := time.Tick(100 * time.Millisecond); !leaseEnd(t, db).After(lease); {
		select {
		case <-beat:
		case <-ended:
			t.Fatalf("ended with %d in the pause: %+v", code, s)
		}
	}
	if n := len(p.Service.Calls()); n > before+2 || n > rows/1000/2 {
		t.Errorf("%d calls, %d of them in a pause", n, n-before)
	}

	p.Each(sync.OnceFunc(func() { jobs(t, db, "cancel", "it") }))
	jobs(t, db, "set", "it", "--rate", "1000")
	jobs(t, db, "continue", "it")
	<-ended
	if code != exitBrake || s.State != stateCancelled || s.Rows < 900*(s.Requests-1) || s.Rows >= rows {
		t.Fatalf("ended with %d: %+v", code, s)
	}
	calls := len(p.Service.Calls())
	if code, _ := p.run(args...); code != exitBrake || len(p.Service.Calls()) != calls {
		t.Errorf("a cancelled job is run again: %d", code)
	}
	jobs(t, db, "continue", "it")
	jobs(t, db, "set", "it", "--rate", "0")
	if code, s := p.run("resume", "it", "--attempts", "2", "--database-url", db.Config().ConnString()); code != exitFailedRows || s.Rows != rows {
		t.Fatalf("resumed, it ended with %d: %+v", code, s)
	}
	p.wantResults("news", place{results: func() ([]string, error) { return sqlLines(db, "it") }}, rows)
}

// A job whose rate would take hours, longer than any test may, ends at another one, which its
// metrics tell.
func TestSetRateWhileItRuns(t *testing.T) {
	t.Parallel()
	p, db, address := newProgram(t, scriptFate), pgtest.New(t), freeAddress(t)
	fillTable(t, db, 10_000)
	var mu sync.Mutex
	var ceilings []string
	p.Each(func() {
		mu.Lock()
		defer mu.Unlock()
		ceilings = append(ceilings, ceilingShown(t, address))
	})
	p.At(1, func(*os.Process) { jobs(t, db, "set", "it", "--rate", "100000") })
	code, s := p.run("subscribe", "--topic", "news", "--table", "users", "--job", "it", "--rate", "1", "--attempts", "1", "--metrics-listen", address,
		"--database-url", db.Config().ConnString())
	if code != exitFailedRows || s.Rows != 10_000 {
		t.Errorf("ended with %d: %+v", code, s)
	}
	if first, last := ceilings[0], ceilings[len(ceilings)-1]; first != "1" || last != "100000" {
		t.Errorf("the ceiling was shown as %s and then as %s", first, last)
	}
}

// ceilingShown is the ceiling that a run tells of.
func ceilingShown(t *testing.T, address string) string {
	resp, err := http.Get("http://" + address + "/metrics")
	if err != nil {
		t.Error(err)
		return ""
	}
	defer resp.Body.Close()
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		if value, ok := strings.CutPrefix(lines.Text(), "bulksub_rate_ceiling_tokens_per_second "); ok {
			return value
		}
	}
	return ""
}

// All processes of a job are cancelled at once.
func TestCancelEndsAllProcesses(t *testing.T) {
	t.Parallel()
	p, db := newProgram(t, scriptFate), pgtest.New(t)
	fillTable(t, db, 130_000)
	p.At(4, func(*os.Process) { jobs(t, db, "cancel", "it") })
	codes := p.together(3, "subscribe", "--topic", "news", "--table", "users", "--job", "it", "--rate", "2000", "--database-url", db.Config().ConnString())
	for _, code := range codes {
		if code != exitBrake {
			t.Errorf("ended with %v", codes)
		}
	}
}
