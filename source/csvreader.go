package source

import (
	"bufio"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// maxRecord is the largest CSV record that is read, quotes and line ends
// included: sixteen times the largest token.
const maxRecord = 64 << 10

var errRecordTooLong = errors.New("a record is longer than 64 KiB")

// csvReader reads records one after the other and counts them.
type csvReader struct {
	name   string
	text   *bufio.Reader
	csv    *csv.Reader // reads from text, and has no buffer of its own
	meter  *byteMeter  // below text
	header []string
	began  int64 // where the record that is being read begins
	blank  int   // how many empty lines were stepped over
	row    int64 // the number of the record read last; the first after the header is 1
}

// newCSVReader reads the header of what r holds.
func newCSVReader(name string, r io.Reader) (*csvReader, error) {
	meter := &byteMeter{r: r}
	text := bufio.NewReaderSize(meter, 32<<10)
	if err := checkEncoding(name, text); err != nil {
		return nil, err
	}
	c := &csvReader{name: name, text: text, csv: csv.NewReader(text), meter: meter}
	c.csv.FieldsPerRecord = -1
	c.csv.ReuseRecord = true
	meter.limit = func() int64 { return c.began + maxRecord + int64(text.Size()) }
	header, err := c.read()
	if errors.Is(err, io.EOF) {
		return nil, &InputError{Input: name, Problem: "the file is empty; it needs a header line that names the token column"}
	}
	if err != nil {
		return nil, err
	}
	c.header, c.row = slices.Clone(header), 0
	return c, nil
}

// next reads the next record. Its fields are valid until the call after it.
func (c *csvReader) next() ([]string, error) {
	record, err := c.read()
	if err == nil {
		c.row++
	}
	return record, err
}

func (c *csvReader) read() ([]string, error) {
	c.skipBlank()
	c.began = c.offset()
	record, err := c.csv.Read()
	if err == nil && c.offset()-c.began > maxRecord {
		err = errRecordTooLong
	}
	switch {
	case err == nil, errors.Is(err, io.EOF):
		return record, err
	case errors.Is(err, errRecordTooLong):
		return nil, &InputError{Input: c.name, Problem: fmt.Sprintf("the record after row %d is longer than 64 KiB: a quote that is never closed, or not a file of tokens", c.row)}
	}
	if parse, ok := errors.AsType[*csv.ParseError](err); ok {
		return nil, &InputError{Input: c.name, Line: parse.StartLine + c.blank, Problem: "the record that begins here is not CSV", Err: parse.Err}
	}
	return nil, &InputError{Input: c.name, Problem: fmt.Sprintf("the file cannot be read after row %d", c.row), Err: cause(err)}
}

// skipBlank steps over empty lines, which count for no record's length. It
// leaves errors to the read that follows.
func (c *csvReader) skipBlank() {
	for {
		head, _ := c.text.Peek(2)
		switch {
		case len(head) > 0 && head[0] == '\n':
			c.text.Discard(1)
		case string(head) == "\r\n":
			c.text.Discard(2)
		default:
			return
		}
		c.blank++
		c.began = c.offset()
	}
}

// offset is how far the text has been read.
func (c *csvReader) offset() int64 { return c.meter.n - int64(c.text.Buffered()) }

// column finds a column by its name in the header. flag tells how to name another,
// or nothing.
func (c *csvReader) column(name, flag string) (int, error) {
	at := -1
	for i, h := range c.header {
		if strings.TrimSpace(h) != name {
			continue
		}
		if at >= 0 {
			return 0, &InputError{Input: c.name, Line: 1, Problem: fmt.Sprintf("the header names the column %q twice", name)}
		}
		at = i
	}
	if at < 0 {
		return 0, &InputError{Input: c.name, Line: 1, Problem: fmt.Sprintf(
			"the header has no column %q; it has %s. Name one%s, or add a header line if there is none",
			name, columnNames(c.header), flag)}
	}
	return at, nil
}

// columnNames lists names shortened: in a file without a header they are data,
// and data may be a token.
func columnNames(header []string) string {
	const most, length = 20, 24
	names := make([]string, 0, len(header))
	for _, h := range header[:min(len(header), most)] {
		if runes := []rune(h); len(runes) > length {
			h = string(runes[:length/2]) + "…"
		}
		names = append(names, fmt.Sprintf("%q", h))
	}
	if len(header) > most {
		names = append(names, "…")
	}
	return strings.Join(names, ", ")
}

// byteMeter ends the input when a record has grown beyond all measure, so that
// the reader above it, which holds a whole record, stays small.
type byteMeter struct {
	r     io.Reader
	n     int64
	limit func() int64 // how many bytes may be read by now
}

func (m *byteMeter) Read(p []byte) (int, error) {
	if m.limit != nil && m.n > m.limit() {
		return 0, errRecordTooLong
	}
	n, err := m.r.Read(p)
	m.n += int64(n)
	return n, err
}
