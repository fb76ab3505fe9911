package sink

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/bulksub/bulksub/internal/liveness"
	"github.com/bulksub/bulksub/internal/pgtest"
	"github.com/bulksub/bulksub/pipeline"
)

// asAddress turns this test binary into a process that says where it runs and ends.
const asAddress = "SINK_TEST_ADDRESS"

func TestMain(m *testing.M) {
	if os.Getenv(asAddress) != "" {
		fmt.Print(liveness.Here())
		return
	}
	pgtest.Main(m)
}

// deadProcess is the address of a process that has ended.
func deadProcess(t *testing.T) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), asAddress+"=1")
	address, err := cmd.Output()
	if err != nil || len(address) == 0 {
		t.Fatalf("the address of a child: %q, %v", address, err)
	}
	return string(address)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// blocked asks whether somebody waits for a lock of any kind.
const blocked = `select exists (select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock')`

// transaction begins one that is rolled back with the test, and runs the statements in it.
func transaction(t *testing.T, db *pgxpool.Pool, statements ...string) pgx.Tx {
	t.Helper()
	tx, err := db.Begin(t.Context())
	must(t, err)
	t.Cleanup(func() { tx.Rollback(context.Background()) })
	for _, sql := range statements {
		mustExec(t, tx, sql)
	}
	return tx
}

// waiting asks whether somebody waits for an advisory lock.
const waiting = `select exists (select from pg_locks
	where locktype = 'advisory' and not granted and database = (select oid from pg_database where datname = current_database()))`

// plan cuts n segments, with the bounds b1, b2, …
func plan(t *testing.T, n int) pipeline.Plan {
	return func(_ context.Context, after pipeline.Segment) (pipeline.Segment, bool, error) {
		if after != (pipeline.Segment{}) && after != segment(after.Number) {
			t.Errorf("asked for what follows %+v", after)
		}
		return segment(after.Number + 1), after.Number < n, nil
	}
}

func segment(number int) pipeline.Segment {
	return pipeline.Segment{Number: number, Bounds: fmt.Sprintf("b%d", number)}
}

// keysOf lists the rows of a segment: 11, 12, 13 in the first one.
func keysOf(s pipeline.Segment) (keys []string) {
	for i := range 3 {
		keys = append(keys, strconv.Itoa(10*s.Number+i+1))
	}
	return keys
}

func result(c *pipeline.Claim, key string, status pipeline.Status) pipeline.Result {
	return pipeline.Result{Claim: c, Key: key, Token: "t" + key, Fate: &pipeline.Fate{Topic: "news", Status: status, Attempts: 1}}
}

// open lists the rows of the claim that have no result.
func open(c *pipeline.Claim) []string {
	return slices.DeleteFunc(keysOf(c.Segment), func(k string) bool { return c.Recorded != nil && c.Recorded(k) })
}

// work carries every row that has no result to the sink, and returns their keys.
// The rows are ok, but for those that fates names.
func work(t *testing.T, s pipeline.Sink, segments int, fates map[string]pipeline.Status) (done []string) {
	t.Helper()
	for {
		c, err := s.Claim(t.Context(), plan(t, segments))
		if errors.Is(err, pipeline.ErrNothingLeft) {
			return done
		}
		must(t, err)
		var results []pipeline.Result
		for _, key := range open(c) {
			status := pipeline.OK
			if fate, ok := fates[key]; ok {
				status = fate
			}
			results = append(results, result(c, key, status))
			done = append(done, key)
		}
		if len(results) > 0 {
			must(t, s.Record(t.Context(), results))
		}
		must(t, s.Finish(t.Context(), c))
	}
}

func wantKeys(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if slices.Sort(got); !slices.Equal(got, want) {
		t.Errorf("%s: rows %v, want %v", what, got, want)
	}
}

func wantCounts(t *testing.T, s ledger, want pipeline.Counts) {
	t.Helper()
	got, err := s.Counts(t.Context())
	must(t, err)
	maps.DeleteFunc(got, func(_ pipeline.Status, n int64) bool { return n == 0 })
	if !maps.Equal(got, want) {
		t.Errorf("counts %v, want %v", got, want)
	}
}

func wantText(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("%q does not say %q", text, part)
		}
	}
}
