package source

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/bulksub/bulksub/pipeline"
)

var subscribe = []pipeline.Action{{Op: pipeline.Subscribe, Topic: "news"}}

// testSource checks what every [pipeline.Source] promises. want are the rows,
// actions left out, in the order of the source.
func testSource(t *testing.T, src pipeline.Source, want []pipeline.Row) {
	t.Helper()
	segments := cut(t, src)
	if again := cut(t, src); !slices.Equal(again, segments) {
		t.Fatalf("cut again, the segments are %v, and were %v", again, segments)
	}
	read := make(map[pipeline.Segment][]pipeline.Row)
	for _, s := range slices.Backward(segments) {
		read[s] = rows(t, src, s)
	}
	var all []pipeline.Row
	for _, s := range segments {
		testEarlyBreak(t, src, s, len(read[s]))
		if again := rows(t, src, s); !slices.EqualFunc(again, read[s], sameRow) {
			t.Errorf("segment %d, read again, has other rows: %s", s.Number, difference(again, read[s]))
		}
		all = append(all, read[s]...)
	}
	if !slices.EqualFunc(all, want, sameRow) {
		t.Errorf("the segments' rows are not the input's: %s", difference(all, want))
	}
	testCancel(t, src, segments)
}

// cut cuts all segments.
func cut(t *testing.T, src pipeline.Source) (segments []pipeline.Segment) {
	t.Helper()
	var last pipeline.Segment
	for {
		next, ok, err := src.Next(t.Context(), last)
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			return segments
		}
		if next.Number != last.Number+1 {
			t.Fatalf("segment %d follows %d", next.Number, last.Number)
		}
		segments, last = append(segments, next), next
	}
}

func rows(t *testing.T, src pipeline.Source, s pipeline.Segment) (all []pipeline.Row) {
	t.Helper()
	for row, err := range src.Rows(t.Context(), s) {
		if err != nil {
			t.Fatal(err)
		}
		if row.Flaw == "" && !slices.Equal(row.Actions, subscribe) {
			t.Fatalf("row %s has the actions %v", row.Key, row.Actions)
		}
		row.Actions = nil
		all = append(all, row)
	}
	return all
}

func allRows(t *testing.T, src pipeline.Source) (all []pipeline.Row) {
	t.Helper()
	for _, s := range cut(t, src) {
		all = append(all, rows(t, src, s)...)
	}
	return all
}

// readError reads until the sequence ends, which it must after an error, and
// returns the rows before it.
func readError(ctx context.Context, src pipeline.Source, s pipeline.Segment) (keys []string, err error) {
	for row, rowErr := range src.Rows(ctx, s) {
		if err != nil {
			return keys, fmt.Errorf("the sequence went on after: %w", err)
		}
		if err = rowErr; err == nil {
			keys = append(keys, row.Key)
		}
	}
	return keys, err
}

// testEarlyBreak leaves the segment in the middle. That nothing stays open is
// seen at the end of the test: a pool cannot close, or goroutines are left.
func testEarlyBreak(t *testing.T, src pipeline.Source, s pipeline.Segment, length int) {
	t.Helper()
	n := 0
	for _, err := range src.Rows(t.Context(), s) {
		if err != nil {
			t.Fatal(err)
		}
		if n++; n > length/2 {
			break
		}
	}
	if pg, ok := src.(*Postgres); ok && pg.pool.Stat().AcquiredConns() != 0 {
		t.Errorf("%d connections are not returned after a break", pg.pool.Stat().AcquiredConns())
	}
}

func testCancel(t *testing.T, src pipeline.Source, segments []pipeline.Segment) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, s := range segments {
		if keys, err := readError(ctx, src, s); !errors.Is(err, context.Canceled) || len(keys) > 0 {
			t.Errorf("segment %d with a context that has ended: %d rows, %v", s.Number, len(keys), err)
		}
	}
}

func sameRow(a, b pipeline.Row) bool { return a.Key == b.Key && a.Token == b.Token && a.Flaw == b.Flaw }

// difference describes how got is not want, in a line.
func difference(got, want []pipeline.Row) string {
	for i := range min(len(got), len(want)) {
		if !sameRow(got[i], want[i]) {
			return fmt.Sprintf("at %d, %.200q and not %.200q", i, fmt.Sprint(got[i]), fmt.Sprint(want[i]))
		}
	}
	return fmt.Sprintf("%d rows and not %d", len(got), len(want))
}

// numbered are n rows with their number as the key and a token made of it.
func numbered(n int) []pipeline.Row {
	all := make([]pipeline.Row, n)
	for i := range all {
		all[i] = pipeline.Row{Key: fmt.Sprint(i + 1), Token: fmt.Sprintf("token-%d", i+1)}
	}
	return all
}

func TestList(t *testing.T) {
	for n := range 3 {
		list := &List{Tasks: Always(subscribe...)}
		for _, row := range numbered(n) {
			list.Tokens = append(list.Tokens, row.Token)
		}
		testSource(t, list, numbered(n))
	}
}

// A job remembers its segments: those of one kind of source make no sense to
// another.
func TestForeignBounds(t *testing.T) {
	file := mustOpen(t, "token\nx\n")
	table := &Postgres{}
	for src, bounds := range map[pipeline.Source][]string{
		file:  {"", `{"after":null,"to":"9"}`, "1", "1-", "a-b"},
		table: {"", "1-50000", "5"},
	} {
		for _, b := range bounds {
			want := fmt.Sprintf("the segment bounds %q are not a range of %s: was the job made from another kind of source?", b, map[bool]string{true: "rows", false: "keys"}[src == file])
			if _, err := readError(t.Context(), src, pipeline.Segment{Number: 1, Bounds: b}); err == nil || err.Error() != want {
				t.Errorf("%T with %q: %v", src, b, err)
			}
		}
	}
	if _, _, err := table.Next(t.Context(), pipeline.Segment{Number: 1, Bounds: "1-5"}); err == nil {
		t.Error("a table was cut behind the segment of a file")
	}
}

func keysOf(all []pipeline.Row) []string {
	keys := make([]string, len(all))
	for i, row := range all {
		keys[i] = row.Key
	}
	return keys
}

// exactlyOnce reports keys that are missing, foreign or there twice.
func exactlyOnce(t *testing.T, got, want []string) {
	t.Helper()
	counts := make(map[string]int)
	for _, key := range want {
		counts[key]--
	}
	for _, key := range got {
		counts[key]++
	}
	maps.DeleteFunc(counts, func(_ string, n int) bool { return n == 0 })
	if len(counts) > 0 {
		t.Errorf("%d keys were read too often (positive) or not at all: %.300s", len(counts), fmt.Sprint(counts))
	}
}
