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

// csvSegmentRows is how many rows a segment of a CSV has.
const csvSegmentRows = 50_000

// CSV is a source of the rows of a CSV file: comma-separated, UTF-8, with a
// header line, plain or compressed with gzip or zstd. A row's key is its number;
// the first row after the header is 1, and blank lines do not count.
//
// A segment is a range of row numbers: it can be found in a compressed file and
// in one with line breaks inside quotes, and it needs no index.
type CSV struct {
	name    string
	file    *os.File
	info    os.FileInfo
	reading Reading
	rows    int64
	digest  string
	groups  groups     // if the rows are to come so
	cursor  *csvReader // where the last segment ended; nil: at the start
}

var _ pipeline.Source = (*CSV)(nil)

// OpenCSV opens the file at path ("-" is standard input) and reads it once from end to end: a file that is damaged
// anywhere is refused here with an [*InputError], before the first call. Close
// it after use.
func OpenCSV(ctx context.Context, path string, reading Reading) (*CSV, error) {
	file, err := openInput(path)
	if err != nil {
		return nil, err
	}
	name := path
	if path == "-" {
		name = "standard input"
	}
	c := &CSV{name: name, file: file, reading: reading}
	if err := c.survey(ctx); err != nil {
		file.Close()
		return nil, err
	}
	return c, nil
}

// survey counts the rows and takes the digest of the file.
func (c *CSV) survey(ctx context.Context) error {
	var err error
	if c.info, err = c.file.Stat(); err != nil {
		return &InputError{Input: c.name, Problem: "the file cannot be examined", Err: cause(err)}
	}
	if _, err := c.file.Seek(0, io.SeekStart); err != nil {
		return &InputError{Input: c.name, Problem: unreadable, Err: cause(err)}
	}
	digest := sha256.New()
	reader, err := newCSVReader(c.name, io.TeeReader(c.file, digest))
	if err != nil {
		return err
	}
	places, err := c.columns(reader)
	if err != nil {
		return err
	}
	c.groups.index = make(map[string]int)
	for err == nil && ctx.Err() == nil {
		var record []string
		if record, err = reader.next(); err == nil && c.reading.Grouped {
			c.groups.add(field(record, places[1]))
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if !errors.Is(err, io.EOF) {
		return err
	}
	c.groups.order()
	c.rows, c.digest = reader.row, hex.EncodeToString(digest.Sum(nil))
	return nil
}

// Count is the number of rows.
func (c *CSV) Count() int64 { return c.rows }

// Digest is the SHA-256 of the file as it lies on the disk: what it is, wherever
// it lies and whatever it is called.
func (c *CSV) Digest() string { return c.digest }

// Close closes the file.
func (c *CSV) Close() error { return c.file.Close() }

// Next cuts the next 50,000 rows.
func (c *CSV) Next(_ context.Context, after pipeline.Segment) (pipeline.Segment, bool, error) {
	first := int64(after.Number)*csvSegmentRows + 1
	last := min(first+csvSegmentRows-1, c.rows)
	return pipeline.Segment{Number: after.Number + 1, Bounds: fmt.Sprintf("%d-%d", first, last)}, first <= c.rows, nil
}

// Rows streams the rows of a segment. Segments in ascending order are one pass
// over the file.
func (c *CSV) Rows(ctx context.Context, s pipeline.Segment) iter.Seq2[pipeline.Row, error] {
	if c.reading.Grouped {
		return c.grouped(ctx, s)
	}
	return func(yield func(pipeline.Row, error) bool) {
		last, places, err := c.seek(ctx, s)
		for err == nil && c.cursor.row < last {
			var record []string
			if record, err = c.advance(ctx); err == nil && !yield(c.parse(record, places), nil) {
				return
			}
		}
		if err == nil {
			err = c.unchanged()
		}
		if err != nil {
			c.cursor = nil
			yield(pipeline.Row{}, err)
		}
	}
}

// chunkCheck is how many rows pass between two looks at the context.
const chunkCheck = 1024

// advance reads the next record of a file that had one when it was surveyed.
func (c *CSV) advance(ctx context.Context) ([]string, error) {
	if c.cursor.row%chunkCheck == 0 && ctx.Err() != nil {
		return nil, ctx.Err()
	}
	record, err := c.cursor.next()
	if errors.Is(err, io.EOF) {
		err = &InputError{Input: c.name, Problem: fmt.Sprintf("the file ends after row %d, it had %d when the run began", c.cursor.row, c.rows)}
	}
	return record, err
}

// seek brings the cursor before the segment's first row.
func (c *CSV) seek(ctx context.Context, s pipeline.Segment) (last int64, places []int, err error) {
	first, last, err := parseBounds(s.Bounds)
	if err != nil {
		return 0, nil, err
	}
	if err := c.unchanged(); err != nil {
		return 0, nil, err
	}
	if c.cursor == nil || c.cursor.row >= first {
		if err := c.rewind(); err != nil {
			return 0, nil, err
		}
	}
	for c.cursor.row < first-1 {
		if _, err := c.advance(ctx); err != nil {
			return 0, nil, err
		}
	}
	places, err = c.columns(c.cursor)
	return last, places, err
}

// rewind brings the cursor to the start.
func (c *CSV) rewind() error {
	_, err := c.file.Seek(0, io.SeekStart)
	if err != nil {
		return &InputError{Input: c.name, Problem: unreadable, Err: cause(err)}
	}
	c.cursor, err = newCSVReader(c.name, c.file)
	return err
}

// columns finds the places of the token and of the further columns.
func (c *CSV) columns(reader *csvReader) ([]int, error) {
	token, err := reader.column(c.reading.Token, " with --token-column")
	if err != nil {
		return nil, err
	}
	places := []int{token}
	for _, name := range c.reading.Columns {
		place, err := reader.column(name, "")
		if err != nil {
			return nil, err
		}
		places = append(places, place)
	}
	return places, nil
}

// unchanged reports an error if somebody wrote to the file since it was surveyed.
func (c *CSV) unchanged() error {
	now, err := c.file.Stat()
	if err != nil {
		return &InputError{Input: c.name, Problem: "the file cannot be examined", Err: cause(err)}
	}
	if now.Size() != c.info.Size() || !now.ModTime().Equal(c.info.ModTime()) {
		return &InputError{Input: c.name, Problem: "the file was written to while it was read; run again with a file that stays as it is"}
	}
	return nil
}

// parse makes a row from a record, whose strings are the reader's until the next one.
func (c *CSV) parse(record []string, places []int) pipeline.Row {
	key := strconv.FormatInt(c.cursor.row, 10)
	if column := places[0]; column >= len(record) {
		return pipeline.Row{Key: key, Flaw: fmt.Sprintf("the row has %d fields, the token is in field %d", len(record), column+1)}
	}
	fields := make([]string, len(places)-1)
	for i, place := range places[1:] {
		fields[i] = strings.Clone(field(record, place))
	}
	return c.reading.Tasks.row(key, strings.Clone(record[places[0]]), fields)
}

// field is a field of a record, or "" where the record is too short.
func field(record []string, place int) string {
	if place >= len(record) {
		return ""
	}
	return record[place]
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
