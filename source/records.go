package source

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"strconv"
	"strings"

	"github.com/bulksub/bulksub/pipeline"
)

// fileSegmentRows is how many rows a segment of a file has.
const fileSegmentRows = 50_000

// File is a source of the records of a file, plain or compressed with gzip or zstd:
// see [OpenCSV] and [OpenJSONLines]. A row's key is the number of its record, from 1.
//
// A segment is a range of row numbers: it can be found in a compressed file and
// in one with line breaks inside quotes, and it needs no index.
type File struct {
	name    string
	file    *os.File
	info    os.FileInfo
	reading Reading
	format  format
	rows    int64
	digest  string
	groups  groups       // if the rows are to come so
	cursor  recordReader // where the last segment ended; nil: at the start
	at      int64        // the number of the record that it read last
}

var _ pipeline.Source = (*File)(nil)

// recordReader reads the records of a file one after the other.
type recordReader interface {
	// next reads the next record; the error is io.EOF behind the last one, and an
	// [*InputError] if there is none that can be read.
	next() (record, error)
}

// record is what is read of a row: the token, and then the further columns that are
// wanted. The fields are good until the next record is read.
type record struct {
	fields []string
	flaw   string // why there is no token; "": there is
	size   int    // bytes of the text that all fields are parts of; 0: each is its own
}

// own is a field of the record that keeps little else in memory.
func (r record) own(field string) string {
	if r.size > 2*len(field) {
		return strings.Clone(field)
	}
	return field
}

// format begins to read the records in a file of that name.
type format func(name string, r io.Reader, columns []string) (recordReader, error)

// openFile opens the file at path ("-" is standard input) and reads it once from end to
// end.
func openFile(ctx context.Context, path string, reading Reading, format format) (*File, error) {
	file, err := openInput(path)
	if err != nil {
		return nil, err
	}
	name := path
	if path == "-" {
		name = "standard input"
	}
	f := &File{name: name, file: file, reading: reading, format: format}
	if err := f.survey(ctx); err != nil {
		file.Close()
		return nil, err
	}
	return f, nil
}

// survey counts the rows and takes the digest of the file.
func (f *File) survey(ctx context.Context) error {
	var err error
	if f.info, err = f.file.Stat(); err != nil {
		return &InputError{Input: f.name, Problem: "the file cannot be examined", Err: cause(err)}
	}
	if _, err := f.file.Seek(0, io.SeekStart); err != nil {
		return &InputError{Input: f.name, Problem: unreadable, Err: cause(err)}
	}
	digest := sha256.New()
	reader, err := f.records(io.TeeReader(f.file, digest))
	if err != nil {
		return err
	}
	f.groups.index = make(map[string]int)
	for ctx.Err() == nil {
		var r record
		if r, err = reader.next(); err != nil {
			break
		}
		f.rows++
		if f.reading.Grouped {
			f.groups.add(r.fields[1])
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if !errors.Is(err, io.EOF) {
		return err
	}
	f.groups.order()
	f.digest = hex.EncodeToString(digest.Sum(nil))
	return nil
}

// Count is the number of rows.
func (f *File) Count() int64 { return f.rows }

// Digest is the SHA-256 of the file as it lies on the disk: what it is, wherever
// it lies and whatever it is called.
func (f *File) Digest() string { return f.digest }

// Close closes the file.
func (f *File) Close() error { return f.file.Close() }

// Next cuts the next 50,000 rows.
func (f *File) Next(_ context.Context, after pipeline.Segment) (pipeline.Segment, bool, error) {
	first := int64(after.Number)*fileSegmentRows + 1
	last := min(first+fileSegmentRows-1, f.rows)
	return pipeline.Segment{Number: after.Number + 1, Bounds: fmt.Sprintf("%d-%d", first, last)}, first <= f.rows, nil
}

// Rows streams the rows of a segment. Segments in ascending order are one pass
// over the file.
func (f *File) Rows(ctx context.Context, s pipeline.Segment) iter.Seq2[pipeline.Row, error] {
	if f.reading.Grouped {
		return f.grouped(ctx, s)
	}
	return func(yield func(pipeline.Row, error) bool) {
		last, err := f.seek(ctx, s)
		for err == nil && f.at < last {
			var r record
			if r, err = f.advance(ctx); err == nil && !yield(f.row(r), nil) {
				return
			}
		}
		if err == nil {
			err = f.unchanged()
		}
		if err != nil {
			f.cursor = nil
			yield(pipeline.Row{}, err)
		}
	}
}

// chunkCheck is how many rows pass between two looks at the context.
const chunkCheck = 1024

// advance reads the next record of a file that had one when it was surveyed.
func (f *File) advance(ctx context.Context) (record, error) {
	if f.at%chunkCheck == 0 && ctx.Err() != nil {
		return record{}, ctx.Err()
	}
	r, err := f.cursor.next()
	switch {
	case err == nil:
		f.at++
	case errors.Is(err, io.EOF):
		err = &InputError{Input: f.name, Problem: fmt.Sprintf("the file ends after row %d, it had %d when the run began", f.at, f.rows)}
	}
	return r, err
}

// seek brings the cursor before the segment's first row.
func (f *File) seek(ctx context.Context, s pipeline.Segment) (last int64, err error) {
	first, last, err := parseBounds(s.Bounds)
	if err != nil {
		return 0, err
	}
	if err := f.unchanged(); err != nil {
		return 0, err
	}
	if f.cursor == nil || f.at >= first {
		if err := f.rewind(); err != nil {
			return 0, err
		}
	}
	for f.at < first-1 {
		if _, err := f.advance(ctx); err != nil {
			return 0, err
		}
	}
	return last, nil
}

// rewind brings the cursor to the start.
func (f *File) rewind() error {
	_, err := f.file.Seek(0, io.SeekStart)
	if err != nil {
		return &InputError{Input: f.name, Problem: unreadable, Err: cause(err)}
	}
	f.at = 0
	f.cursor, err = f.records(f.file)
	return err
}

// records begins to read what r holds.
func (f *File) records(r io.Reader) (recordReader, error) {
	plain, err := decompressed(r)
	if err != nil {
		return nil, &InputError{Input: f.name, Problem: unreadable, Err: err}
	}
	return f.format(f.name, plain, append([]string{f.reading.Token}, f.reading.Columns...))
}

// unchanged reports an error if somebody wrote to the file since it was surveyed.
func (f *File) unchanged() error {
	now, err := f.file.Stat()
	if err != nil {
		return &InputError{Input: f.name, Problem: "the file cannot be examined", Err: cause(err)}
	}
	if now.Size() != f.info.Size() || !now.ModTime().Equal(f.info.ModTime()) {
		return &InputError{Input: f.name, Problem: "the file was written to while it was read; run again with a file that stays as it is"}
	}
	return nil
}

// row makes a row from the record that was read last.
func (f *File) row(r record) pipeline.Row {
	key, token := strconv.FormatInt(f.at, 10), r.own(r.fields[0])
	if r.flaw != "" {
		return pipeline.Row{Key: key, Token: token, Flaw: r.flaw}
	}
	fields := make([]string, len(r.fields)-1)
	for i, text := range r.fields[1:] {
		fields[i] = r.own(text)
	}
	return f.reading.Tasks.row(key, token, fields)
}

func parseBounds(bounds string) (first, last int64, err error) {
	low, high, ok := strings.Cut(bounds, "-")
	if ok {
		first, err = strconv.ParseInt(low, 10, 64)
	}
	if ok && err == nil {
		last, err = strconv.ParseInt(high, 10, 64)
	}
	if !ok || err != nil {
		return 0, 0, fmt.Errorf("the segment bounds %q are not a range of rows: was the job made from another kind of source?", bounds)
	}
	return first, last, nil
}
