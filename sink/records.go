package sink

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"iter"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"

	"github.com/bulksub/bulksub/pipeline"
)

const copyRecords = `copy bulksub.records (job_id, segment, fence, first, status, results, keys, tokens, topics, codes, attempts, registration_tokens, details)
	from stdin (format binary)`

const (
	// pageful is how many bytes of results a record takes: with all else in it, it fills a page of 8 KiB and stays in
	// it. What is longer, PostgreSQL cuts up and keeps apart (TOAST), which takes it a third longer.
	pageful = 7925
	// mostInRecord bounds the results with short tokens; 46 with usual ones fill the page.
	mostInRecord = 64
)

// separator stands between the texts of a list.
const separator = "\x1e"

// bundle is what becomes one row of bulksub.records: results that share a claim and a status, or one of whose key
// or token the separator is part.
type bundle struct {
	first   int64
	results []*pipeline.Result
	size    size
	differ  bool // the results do not all share one fate
}

// add adds the result if it fits. One alone always does, though a large one is kept apart.
func (l *bundle) add(r *pipeline.Result) bool {
	n := len(l.results)
	grown := l.size.with(r, n > 0 && l.results[n-1].Fate == r.Fate)
	if n > 0 && (grown.bytes() > pageful || n == mostInRecord) {
		return false
	}
	l.results, l.size = append(l.results, r), grown
	l.differ = l.differ || l.results[0].Fate != r.Fate
	return true
}

// takes reports whether results of this claim and status belong into it.
func (l *bundle) takes(r *pipeline.Result) bool {
	return l.results[0].Claim == r.Claim && l.results[0].Status == r.Status
}

// fates are results whose fates are those of all: the first one, if all share it.
func (l *bundle) fates() []*pipeline.Result {
	if l.differ {
		return l.results
	}
	return l.results[:1]
}

// parted goes through the texts of a list of so many.
func parted(list string, n int) iter.Seq[string] {
	if n == 1 {
		return slices.Values([]string{list})
	}
	return strings.SplitSeq(list, separator)
}

// recordWriter writes the results of this process into bulksub.records.
type recordWriter struct {
	written int64  // results that Record was given: it numbers what is written
	buffer  []byte // of the last COPY, for the next
}

func (w *recordWriter) copyIn(ctx context.Context, tx pgx.Tx, job int64, results []pipeline.Result) error {
	from := &copyBinary{job: job, packer: packer{results: results, first: w.written}, text: []byte(copyHeader), buffer: w.buffer}
	defer func() { w.buffer = from.retire() }()
	_, err := tx.Conn().PgConn().CopyFrom(ctx, from, copyRecords)
	return err
}

// copyBinary reads bundles in COPY's binary format (PostgreSQL documentation, COPY, "Binary
// Format"), one at a time: numbers are big-endian, and a field follows its length.
//
// When the connection is lost, pgconn.CopyFrom returns while a goroutine of its own may still
// read. After retire it gets nothing more: the results and the buffer are used for something else by then.
type copyBinary struct {
	mu      sync.Mutex
	job     int64
	packer  packer
	text    []byte // written and not yet read
	buffer  []byte // for the next bundle
	ended   bool
	retired bool
}

// retire ends the reading, and returns the buffer.
func (c *copyBinary) retire() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.retired = true
	return c.buffer
}

var errRetired = errors.New("the copy is over")

// copyHeader is the signature, no flags, and no extension.
const copyHeader = "PGCOPY\n\xff\r\n\x00\x00\x00\x00\x00\x00\x00\x00\x00"

// Read implements [io.Reader]. It fills p, since each reading is sent by itself.
func (c *copyBinary) Read(p []byte) (n int, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.retired {
		return 0, errRetired
	}
	for n < len(p) && c.more() {
		taken := copy(p[n:], c.text)
		c.text, n = c.text[taken:], n+taken
	}
	if n == 0 && len(p) > 0 {
		return 0, io.EOF
	}
	return n, nil
}

// more writes the next text when all has been read, and reports whether there is any.
func (c *copyBinary) more() bool {
	if len(c.text) > 0 {
		return true
	}
	if next := c.packer.next(); next != nil {
		c.buffer = appendBundle(c.buffer[:0], c.job, next)
		c.text = c.buffer
		c.packer.reuse(next)
		return true
	}
	if c.ended {
		return false
	}
	c.text, c.ended = []byte{0xff, 0xff}, true
	return true
}

const recordColumns = 13

func appendBundle(b []byte, job int64, l *bundle) []byte {
	r := l.results[0]
	b = binary.BigEndian.AppendUint16(b, recordColumns)
	b = appendInt8(b, job)
	b = appendInt4(b, r.Claim.Segment.Number)
	b = appendInt8(b, r.Claim.Fence)
	b = appendInt8(b, l.first)
	b = appendText(b, string(r.Status))
	b = appendInt4(b, len(l.results))
	b = l.appendList(b, func(r *pipeline.Result) string { return r.Key })
	b = l.appendList(b, func(r *pipeline.Result) string { return r.Token })
	b = l.appendShared(b, func(r *pipeline.Result) string { return r.Topic })
	b = l.appendShared(b, func(r *pipeline.Result) string { return r.Code })
	b = l.appendAttempts(b)
	b = l.appendShared(b, func(r *pipeline.Result) string { return r.RegistrationToken })
	return l.appendDetails(b)
}

// Types of elements (pg_type.dat).
const (
	oidInt2 = 21
	oidText = 25
	oidJSON = 114
)

// appendList writes a list of all. It looks at them in one piece, and only where that finds something at each alone.
func (l *bundle) appendList(b []byte, column func(*pipeline.Result) string) []byte {
	at := len(b)
	b = l.join(appendLength(b, 0), column)
	if list := b[at+4:]; !utf8.Valid(list) || bytes.IndexByte(list, 0) >= 0 {
		b = l.join(b[:at+4], func(r *pipeline.Result) string { return storable(column(r)) })
	}
	binary.BigEndian.PutUint32(b[at:], uint32(len(b)-at-4))
	return b
}

func (l *bundle) join(b []byte, column func(*pipeline.Result) string) []byte {
	for i, r := range l.results {
		if i > 0 {
			b = append(b, separator...)
		}
		b = append(b, column(r)...)
	}
	return b
}

// appendTexts writes an array of all.
func (l *bundle) appendTexts(b []byte, column func(*pipeline.Result) string) []byte {
	return appendArray(b, oidText, len(l.results), func(b []byte) []byte {
		for _, r := range l.results {
			b = appendText(b, column(r))
		}
		return b
	})
}

// appendShared writes one element if all are the same, and NULL if all are empty.
func (l *bundle) appendShared(b []byte, column func(*pipeline.Result) string) []byte {
	shared := column(l.results[0])
	for _, r := range l.fates() {
		if column(r) != shared {
			return l.appendTexts(b, column)
		}
	}
	if shared == "" {
		return appendNull(b)
	}
	one := bundle{results: l.results[:1]}
	return one.appendTexts(b, column)
}

func (l *bundle) appendAttempts(b []byte) []byte {
	some := l.results[:1]
	for _, r := range l.fates() {
		if r.Attempts != some[0].Attempts {
			some = l.results
		}
	}
	return appendArray(b, oidInt2, len(some), func(b []byte) []byte {
		for _, r := range some {
			b = binary.BigEndian.AppendUint16(appendLength(b, 2), uint16(r.Attempts))
		}
		return b
	})
}

// appendDetails writes NULL if there is none.
func (l *bundle) appendDetails(b []byte) []byte {
	none := true
	for _, r := range l.fates() {
		none = none && r.Detail == ""
	}
	if none {
		return appendNull(b)
	}
	return appendArray(b, oidJSON, len(l.results), func(b []byte) []byte {
		for _, r := range l.results {
			if r.Detail == "" {
				b = appendNull(b)
			} else {
				b = appendText(b, r.Detail)
			}
		}
		return b
	})
}

// appendArray writes an array of one dimension: how many there are, whether there may be
// nulls, the type of the elements, their number, and the index of the first (array_recv in
// PostgreSQL's arrayfuncs.c).
func appendArray(b []byte, oid uint32, n int, elements func([]byte) []byte) []byte {
	at := len(b)
	b = appendLength(b, 0)
	for _, word := range []uint32{1, 1, oid, uint32(n), 1} {
		b = binary.BigEndian.AppendUint32(b, word)
	}
	b = elements(b)
	binary.BigEndian.PutUint32(b[at:], uint32(len(b)-at-4))
	return b
}

// appendText writes the storable text.
func appendText(b []byte, s string) []byte {
	s = storable(s)
	return append(appendLength(b, len(s)), s...)
}

func appendInt4(b []byte, n int) []byte {
	return binary.BigEndian.AppendUint32(appendLength(b, 4), uint32(n))
}

func appendInt8(b []byte, n int64) []byte {
	return binary.BigEndian.AppendUint64(appendLength(b, 8), uint64(n))
}

func appendNull(b []byte) []byte { return appendLength(b, -1) }

func appendLength(b []byte, n int) []byte { return binary.BigEndian.AppendUint32(b, uint32(int32(n))) }
