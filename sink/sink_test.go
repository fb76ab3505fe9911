package sink

import (
	"context"
	"encoding/csv"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/bulksub/bulksub/internal/pgtest"
	"github.com/bulksub/bulksub/pipeline"
)

// ledger is a sink that can say what is in it.
type ledger interface {
	pipeline.Sink
	Counts(context.Context) (pipeline.Counts, error)
}

// lasting is a ledger that outlives the process.
type lasting interface {
	ledger
	io.Closer
	Complete(context.Context) error
}

var asked = Asked{"command": "subscribe", "topic": "news", "table": "public.devices"}

var allRows = []string{"11", "12", "13", "21", "22", "23"}

func TestMemory(t *testing.T) {
	m := new(Memory)
	testSink(t, func() ledger { return m })
	if got := m.Results(); len(got) != 6 || got[5].Key != "23" || got[5].Token != "t23" {
		t.Errorf("results %+v", got)
	}
}

func TestCSV(t *testing.T) {
	testLasting(t, func(t *testing.T) opener {
		path := filepath.Join(t.TempDir(), "out.csv")
		return func(a Asked) (lasting, error) { return OpenCSV(path, a) }
	})
}

func TestPostgres(t *testing.T) {
	testLasting(t, func(t *testing.T) opener {
		pool := pgtest.New(t)
		return func(a Asked) (lasting, error) { return OpenPostgres(t.Context(), pool, "job", a, time.Minute) }
	})
}

// TestSinksKeepTheSameText: what a token was is told alike (P12).
func TestSinksKeepTheSameText(t *testing.T) {
	pool, path := pgtest.New(t), filepath.Join(t.TempDir(), "out.csv")
	file, ledger := newCSV(t, path), newPostgres(t, pool, "job")
	c := claim(t, ledger, 1)
	for i, text := range []string{"a\x00b", "\x00", "a\xffb\xfe\xfd", "\xc3", "\xed\xa0\x80", "é\u2028", `\N`, "a\tb\nc", `"`, " "} {
		r := pipeline.Result{Claim: c, Key: strconv.Itoa(i), Token: text, Fate: &pipeline.Fate{
			Topic: "news", Status: pipeline.Invalid, Code: text, RegistrationToken: text, Detail: `{"reason":"none"}`}}
		must(t, file.Record(t.Context(), []pipeline.Result{r}))
		must(t, ledger.Record(t.Context(), []pipeline.Result{r}))
	}
	written, err := os.Open(path + ".partial")
	must(t, err)
	defer written.Close()
	lines, err := csv.NewReader(written).ReadAll()
	must(t, err)
	rows, err := pool.Query(t.Context(), `
		select array[row_key, token, topic, status, code, attempts::text, registration_token, detail::text]
		from bulksub.results order by row_key`)
	must(t, err)
	kept, err := pgx.CollectRows(rows, pgx.RowTo[[]string])
	must(t, err)
	for i, row := range kept {
		if !slices.Equal(lines[i+1], row) {
			t.Errorf("the file has %q, the ledger %q", lines[i+1], row)
		}
	}
	if len(kept) != 10 || len(lines) != 11 {
		t.Errorf("%d rows and %d lines", len(kept), len(lines))
	}
}

// testSink is what every sink promises.
func testSink(t *testing.T, open func() ledger) {
	t.Helper()
	s := open()
	broken := errors.New("the input is gone")
	_, err := s.Claim(t.Context(), func(context.Context, pipeline.Segment) (pipeline.Segment, bool, error) {
		return pipeline.Segment{}, false, broken
	})
	if !errors.Is(err, broken) {
		t.Errorf("claiming from a broken source: %v", err)
	}
	for _, want := range []pipeline.Segment{segment(1), segment(2)} {
		c, err := s.Claim(t.Context(), plan(t, 2))
		must(t, err)
		if c.Segment != want || !c.Lease.Held() {
			t.Errorf("claimed %+v, held %t; want %+v", c.Segment, c.Lease.Held(), want)
		}
		for _, key := range keysOf(c.Segment) {
			if c.Recorded != nil && c.Recorded(key) {
				t.Errorf("row %s has a result before the first", key)
			}
			must(t, s.Record(t.Context(), []pipeline.Result{result(c, key, pipeline.OK)}))
		}
		must(t, s.Finish(t.Context(), c))
	}
	for range 2 {
		if c, err := s.Claim(t.Context(), plan(t, 2)); !errors.Is(err, pipeline.ErrNothingLeft) {
			t.Errorf("claimed %+v behind the last, %v", c, err)
		}
	}
	wantCounts(t, s, pipeline.Counts{pipeline.OK: 6})
}

type opener func(Asked) (lasting, error)

// testLasting is what a sink promises to the next process. place returns what
// opens the same job again and again.
func testLasting(t *testing.T, place func(*testing.T) opener) {
	begin := func(t *testing.T) func() lasting {
		open := place(t)
		return func() lasting {
			s, err := open(asked)
			must(t, err)
			t.Cleanup(func() { s.Close() })
			return s
		}
	}
	t.Run("contract", func(t *testing.T) {
		s := begin(t)()
		testSink(t, func() ledger { return s })
		must(t, s.Complete(t.Context()))
		must(t, s.Complete(t.Context()))
		wantCounts(t, s, pipeline.Counts{pipeline.OK: 6})
	})
	t.Run("an unfinished job goes on where it was", func(t *testing.T) {
		open := begin(t)
		s := open()
		for range 2 {
			c, err := s.Claim(t.Context(), plan(t, 2))
			must(t, err)
			rows := keysOf(c.Segment)
			must(t, s.Record(t.Context(), []pipeline.Result{result(c, rows[0], pipeline.NotFound), result(c, rows[2], pipeline.OK)}))
		}
		must(t, s.Close())
		s = open()
		wantCounts(t, s, pipeline.Counts{pipeline.OK: 2, pipeline.NotFound: 2})
		wantKeys(t, "left", work(t, s, 2, nil), "12", "22")
		must(t, s.Complete(t.Context()))
		wantCounts(t, s, pipeline.Counts{pipeline.OK: 4, pipeline.NotFound: 2})
	})
	t.Run("failed rows of an unfinished job are asked again", func(t *testing.T) {
		open := begin(t)
		s := open()
		c, err := s.Claim(t.Context(), plan(t, 2))
		must(t, err)
		must(t, s.Record(t.Context(), []pipeline.Result{result(c, "11", pipeline.Failed), result(c, "12", pipeline.OK)}))
		must(t, s.Close())
		wantKeys(t, "left", work(t, open(), 2, nil), "11", "13", "21", "22", "23")
	})
	t.Run("failed rows of a finished job, and no others, are open again", func(t *testing.T) {
		open := begin(t)
		for again, fates := range []map[string]pipeline.Status{
			{"12": pipeline.Failed, "23": pipeline.Failed, "21": pipeline.Malformed}, {"12": pipeline.Failed}, {"12": pipeline.Invalid},
		} {
			s := open()
			left := [][]string{allRows, {"12", "23"}, {"12"}}[again]
			wantKeys(t, "left", work(t, s, 2, fates), left...)
			must(t, s.Complete(t.Context()))
			must(t, s.Close())
		}
		wantCounts(t, open(), pipeline.Counts{pipeline.OK: 4, pipeline.Malformed: 1, pipeline.Invalid: 1})
	})
	t.Run("of a clean job nothing is left", func(t *testing.T) {
		open := begin(t)
		s := open()
		wantKeys(t, "all", work(t, s, 2, map[string]pipeline.Status{"11": pipeline.Denied}), allRows...)
		must(t, s.Complete(t.Context()))
		must(t, s.Close())
		for range 2 {
			s = open()
			wantKeys(t, "left", work(t, s, 2, nil))
			must(t, s.Complete(t.Context()))
			wantCounts(t, s, pipeline.Counts{pipeline.OK: 5, pipeline.Denied: 1})
			must(t, s.Close())
		}
	})
	t.Run("counts are the caller's own", func(t *testing.T) {
		s := begin(t)()
		counts, err := s.Counts(t.Context())
		must(t, err)
		counts[pipeline.OK] = 7
		wantCounts(t, s, pipeline.Counts{})
	})
	t.Run("another job is refused", func(t *testing.T) {
		open := place(t)
		s, err := open(asked)
		must(t, err)
		must(t, s.Close())
		for key, was := range asked {
			other := maps.Clone(asked)
			other[key] = "other"
			wantMismatch(t, open, other, key+` was "`+was+`", is now "other"`)
		}
		more := maps.Clone(asked)
		more["query"] = "select 1"
		wantMismatch(t, open, more, `query was not given, is now "select 1"`)
		delete(more, "query")
		delete(more, "topic")
		wantMismatch(t, open, more, `topic was "news", is now not given`)
	})
}

func wantMismatch(t *testing.T, open opener, a Asked, difference string) {
	t.Helper()
	s, err := open(a)
	if err == nil {
		s.Close()
	}
	mismatch, ok := errors.AsType[*MismatchError](err)
	if !ok {
		t.Fatalf("opened as %v: %v", a, err)
	}
	wantText(t, mismatch.Error(), difference, "choose another name")
}
