package source

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bulksub/bulksub/pipeline"
)

// endless is a text that goes on with the same words for ever, and counts what
// is read of it.
type endless struct {
	head, words string
	read        int64
}

func (e *endless) Read(p []byte) (n int, err error) {
	for n < len(p) {
		text := e.words
		if at := e.read + int64(n); at < int64(len(e.head)) {
			text = e.head[at:]
		}
		n += copy(p[n:], text)
	}
	e.read += int64(n)
	return n, nil
}

// allocated is how many bytes f allocates.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

const tooLong = "the record after row 1 is longer than 64 KiB: a quote that is never closed, or not a file of tokens"

func TestEndlessRecordIsRefusedEarly(t *testing.T) {
	for name, in := range map[string]*endless{
		"line":                       {head: "token\na\n", words: "xxxxxxx"},
		"open quote":                 {head: "token\na\n\"b\n", words: "c\nd\r\n"},
		"open quote, blank lines":    {head: "token\na\n\"b\n", words: "\n"},
		"quotes":                     {head: "token\na\n\"b\n", words: `""`},
		"fields":                     {head: "token\na\n", words: "x,"},
		"after very many blank rows": {head: "token\na\n" + strings.Repeat("\n", 1_000_000), words: "x"},
	} {
		t.Run(name, func(t *testing.T) {
			var err error
			used := allocated(func() {
				var r *csvReader
				if r, err = newCSVReader("in.csv", in); err == nil {
					if _, err = r.next(); err == nil {
						_, err = r.next()
					}
				}
			})
			if flaw, ok := errors.AsType[*InputError](err); !ok || flaw.Problem != tooLong {
				t.Errorf("error %v", err)
			}
			if most := int64(len(in.head) + maxRecord + 64<<10); in.read > most {
				t.Errorf("%d bytes were read, want %d at most", in.read, most)
			}
			if used > 16<<20 {
				t.Errorf("%d bytes were allocated", used)
			}
		})
	}
}

func TestSparseGigabyteIsRefused(t *testing.T) {
	path := write(t, "in.csv", "token\na\n")
	if err := os.Truncate(path, 4<<30); err != nil {
		t.Fatal(err)
	}
	used := allocated(func() {
		if got := refusal(t, path); got.Problem != tooLong {
			t.Errorf("error %v", got)
		}
	})
	if used > 16<<20 {
		t.Errorf("%d bytes were allocated", used)
	}
}

// A file of any length takes the memory of a record.
func TestCSVMemoryIsFlat(t *testing.T) {
	in := &endless{head: "token\n", words: strings.Repeat("x", 160) + "\n"}
	r, err := newCSVReader("in.csv", in)
	if err != nil {
		t.Fatal(err)
	}
	read := func(rows int64) func() {
		return func() {
			for end := r.row + rows; r.row < end; {
				if _, err := r.next(); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	read(1000)()
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	read(300_000)()
	runtime.GC()
	runtime.ReadMemStats(&after)
	if after.HeapAlloc > before.HeapAlloc+1<<20 {
		t.Errorf("the heap grew from %d to %d bytes over %d bytes of input", before.HeapAlloc, after.HeapAlloc, in.read)
	}
}

const changed = ": the file was written to while it was read; run again with a file that stays as it is"

func TestCSVChangedAfterTheSurvey(t *testing.T) {
	for name, change := range map[string]func(t *testing.T, path string){
		"appended to": func(t *testing.T, path string) {
			f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			f.WriteString("c\n")
			f.Close()
		},
		"overwritten": func(t *testing.T, path string) {
			if err := os.WriteFile(path, []byte("token\nx\ny\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chtimes(path, time.Time{}, time.Unix(1, 0)); err != nil {
				t.Fatal(err)
			}
		},
		"cut": func(t *testing.T, path string) {
			if err := os.Truncate(path, 8); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := write(t, "in.csv", "token\na\nb\n")
			before, err := open(t, path, "token")
			if err != nil {
				t.Fatal(err)
			}
			during, err := open(t, path, "token")
			if err != nil {
				t.Fatal(err)
			}
			segment := cut(t, before)[0]
			var last error
			for row, err := range during.Rows(t.Context(), segment) {
				if row.Key == "1" {
					change(t, path)
				}
				last = err
			}
			if last == nil || last.Error() != path+changed {
				t.Errorf("changed while a segment was read: %v", last)
			}
			if keys, err := readError(t.Context(), before, segment); len(keys) > 0 || err == nil || err.Error() != path+changed {
				t.Errorf("changed before a segment was read: rows %v, %v", keys, err)
			}
		})
	}
}

// A file that another one takes the place of is read to its end as it was.
func TestCSVReplacedAfterTheSurvey(t *testing.T) {
	path := write(t, "in.csv", "token\na\nb\n")
	in, err := open(t, path, "token")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(write(t, "other.csv", "token\nx\n"), path); err != nil {
		t.Fatal(err)
	}
	testSource(t, in, tokens("a", "b"))
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	testSource(t, in, tokens("a", "b"))
}

// A file may be shorter than it was and look as old.
func TestCSVShorterThanItWas(t *testing.T) {
	in := mustOpen(t, "token\na\nb\n")
	in.rows = 5
	keys, err := readError(t.Context(), in, cut(t, in)[0])
	if want := in.name + ": the file ends after row 2, it had 5 when the run began"; !slices.Equal(keys, []string{"1", "2"}) || err == nil || err.Error() != want {
		t.Errorf("rows %v, %v; want %s", keys, err, want)
	}
	if _, err := readError(t.Context(), in, pipeline.Segment{Number: 2, Bounds: "4-5"}); err == nil {
		t.Error("a segment behind the end was read")
	}
	in.rows = 2
	testSource(t, in, tokens("a", "b"))
}

func TestCSVEndsWithTheContext(t *testing.T) {
	path := write(t, "in.csv", "token\n"+strings.Repeat("a\n", fileSegmentRows+1))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	in, err := open(t, path, "token")
	if err != nil {
		t.Fatal(err)
	}
	read := 0
	for _, err = range in.Rows(ctx, cut(t, in)[0]) {
		if read++; read == 10 {
			cancel()
		}
	}
	if !errors.Is(err, context.Canceled) || read > 10+chunkCheck {
		t.Errorf("%d rows and %v after the context had ended at row 10", read, err)
	}
	if _, err := OpenCSV(ctx, path, Reading{Token: "token"}); !errors.Is(err, context.Canceled) {
		t.Errorf("OpenCSV: %v, want context.Canceled", err)
	}
}

func TestClosedCSV(t *testing.T) {
	in := mustOpen(t, "token\na\n")
	segment := cut(t, in)[0]
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := readError(t.Context(), in, segment); !errors.Is(err, os.ErrClosed) {
		t.Errorf("%v, want os.ErrClosed", err)
	}
}

// A copy of standard input leaves nothing behind, and says so when there is no
// room for it.
func TestSpool(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	f, err := spool(strings.NewReader("token\n"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left in %s: %v, %v", dir, left, err)
	}
	broken := errors.New("the other side is gone")
	if _, err := spool(io.MultiReader(strings.NewReader("token\n"), failing{broken})); !errors.Is(err, broken) {
		t.Errorf("%v, want %v", err, broken)
	}
	t.Setenv("TMPDIR", filepath.Join(dir, "none"))
	if _, err := spool(strings.NewReader("")); !errors.Is(err, os.ErrNotExist) || !strings.HasPrefix(err.Error(), "a temporary copy of the input: ") {
		t.Errorf("without a directory for it: %v", err)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }
