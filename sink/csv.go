package sink

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/csv"
	"errors"
	"fmt"
	"hash"
	"io"
	"maps"
	"os"
	"path/filepath"
	"strconv"

	"github.com/bulksub/bulksub/pipeline"
)

// Header is the first line of a result file.
var Header = []string{"row", "token", "topic", "status", "code", "attempts", "registration_token", "detail"}

// CSV is a sink in a file. While the job runs, results are appended to
// OUT.partial, which is renamed to OUT at the end; OUT.job.json says what was
// asked and, at the end, how long OUT is and its SHA-256. It is locked as long as a
// process is at work. All are readable by their owner alone, for they hold tokens.
// The rows' keys must be numbers.
//
// It is for one process at a time.
type CSV struct {
	path   string
	header *jobHeader
	file   *os.File  // OUT.partial; nil once the job is done
	size   int64     // of the results that are on the disk
	digest hash.Hash // of those
	before intervals // the rows that had a result when the file was opened
	counts pipeline.Counts
	last   pipeline.Segment
	lines  bytes.Buffer // room for those of a record
}

var _ pipeline.Sink = (*CSV)(nil)

// ResultsError is a result file that cannot be used or written.
type ResultsError struct {
	Path    string
	Problem string // what is wrong, and what to do
	Foreign bool   // the file is not ours to touch
	Err     error
}

func (e *ResultsError) Error() string {
	if e.Err == nil {
		return e.Path + ": " + e.Problem
	}
	return fmt.Sprintf("%s: %s: %v", e.Path, e.Problem, e.Err)
}
func (e *ResultsError) Unwrap() error { return e.Err }

// OpenCSV opens the job whose results are, or are to be, in the file at path. A
// new job begins if there is nothing there; an unfinished one goes on; a finished
// one with [pipeline.Failed] rows goes on with those; of a finished one nothing is
// left to claim. A file that no job of ours wrote, or a finished one that somebody
// has changed, is a [*ResultsError], a job that was asked something else a
// [*MismatchError], one at which another process works a [*HeldError]. Close it
// after use.
func OpenCSV(path string, asked Asked) (*CSV, error) {
	header, err := openJobHeader(path, asked)
	if err != nil {
		return nil, err
	}
	c := &CSV{path: path, header: header, counts: make(pipeline.Counts)}
	if err := c.open(); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

func (c *CSV) partial() string { return c.path + ".partial" }

// find opens what results there are and takes them in. It reports whether they are those
// of a job that has ended.
func (c *CSV) find(open func(name string) (*os.File, error)) (ended bool, err error) {
	name := c.partial()
	if !exists(name) && exists(c.path) {
		name, ended = c.path, true
	}
	if c.file, err = open(name); err != nil {
		return ended, err
	}
	whole, err := c.load()
	if err == nil && ended {
		err = c.intact(whole)
	}
	return ended, err
}

func (c *CSV) open() error {
	ended, err := c.find(openResults)
	if err != nil {
		return err
	}
	if c.counts[pipeline.Failed] > 0 {
		return c.forgetFailed()
	}
	if ended {
		c.file.Close()
		c.file = nil
		return nil
	}
	return c.mend()
}

// Finished reports whether the job has ended: nothing is left to claim.
func (c *CSV) Finished() bool { return c.file == nil }

// load takes in what is recorded. It reports whether that is the whole file.
func (c *CSV) load() (whole bool, err error) {
	c.before, c.counts = nil, make(pipeline.Counts)
	c.size = 0
	size, err := scan(c.file, func(r record) error {
		if c.size = r.end; r.row > 0 {
			if c.before.has(r.row) {
				return damaged(c.file.Name())
			}
			c.before.add(r.row)
			c.counts[r.status]++
		}
		return nil
	})
	if err != nil {
		return false, err
	}
	c.digest = sha256.New()
	_, err = io.Copy(c.digest, io.NewSectionReader(c.file, 0, c.size))
	return c.size == size, unwritable(c.file.Name(), err)
}

// mend makes the file ready to be appended to: without what was cut short, and
// with a header.
func (c *CSV) mend() error {
	if err := c.file.Truncate(c.size); err != nil {
		return c.broken(err)
	}
	if c.size > 0 {
		return nil
	}
	if err := c.append([]byte(headerLine)); err != nil {
		return err
	}
	return syncDir(filepath.Dir(c.path))
}

// Claim takes the next segment as it is cut; the rows know whether they are done.
func (c *CSV) Claim(ctx context.Context, plan pipeline.Plan) (*pipeline.Claim, error) {
	if c.Finished() {
		return nil, pipeline.ErrNothingLeft
	}
	next, more, err := plan(ctx, c.last)
	if err != nil {
		return nil, err
	}
	if !more {
		return nil, pipeline.ErrNothingLeft
	}
	c.last = next
	return &pipeline.Claim{Segment: next, Recorded: c.recorded}, nil
}

func (c *CSV) recorded(key string) bool {
	row, err := strconv.ParseInt(key, 10, 64)
	return err == nil && c.before.has(row)
}

// Record appends the results and waits for the disk.
func (c *CSV) Record(_ context.Context, results []pipeline.Result) error {
	c.lines.Reset()
	w, fields := csv.NewWriter(&c.lines), make([]string, 0, len(Header))
	for i := range results {
		w.Write(AppendFields(fields, &results[i]))
	}
	w.Flush()
	if err := c.append(c.lines.Bytes()); err != nil {
		return err
	}
	for i := range results {
		c.counts[results[i].Status]++
	}
	return nil
}

// AppendFields appends a result, as the fields of [Header].
func AppendFields(fields []string, r *pipeline.Result) []string {
	return append(fields, r.Key, storable(r.Token), r.Topic, string(r.Status), storable(r.Code), strconv.Itoa(r.Attempts),
		storable(r.RegistrationToken), storable(r.Detail))
}

// append adds whole lines to the file, or nothing.
func (c *CSV) append(lines []byte) error {
	if c.size > 0 {
		if err := c.untouched(); err != nil {
			return err
		}
	}
	_, err := c.file.WriteAt(lines, c.size)
	if err == nil {
		err = c.file.Sync()
	}
	if err != nil {
		return c.broken(errors.Join(cause(err), cause(c.file.Truncate(c.size))))
	}
	c.size += int64(len(lines))
	c.digest.Write(lines)
	return nil
}

func (c *CSV) broken(err error) error {
	return &ResultsError{Path: c.partial(), Problem: "the results cannot be written; what stands there is safe, run again when they can", Err: cause(err)}
}

// Finish does nothing: the rows know whether they are done.
func (c *CSV) Finish(context.Context, *pipeline.Claim) error { return nil }

// Counts counts the results, those of earlier runs included.
func (c *CSV) Counts(context.Context) (pipeline.Counts, error) { return maps.Clone(c.counts), nil }

// Complete gives the results their name: every row has one. It replaces the
// results of an earlier run of the job, and no other file. What they are like is
// noted first: a kill between the two leaves an OUT.partial, which is not compared.
func (c *CSV) Complete(context.Context) error {
	if c.Finished() {
		return nil
	}
	if err := errors.Join(c.untouched(), replaceable(c.path)); err != nil {
		return err
	}
	c.header.seal = c.seal()
	if err := c.header.write(); err != nil {
		return err
	}
	if err := os.Rename(c.partial(), c.path); err != nil {
		return c.broken(err)
	}
	c.file.Close()
	c.file = nil
	return syncDir(filepath.Dir(c.path))
}

// untouched reports an error if OUT.partial is no longer the file that we wrote.
func (c *CSV) untouched() error {
	ours, err := c.file.Stat()
	if err != nil {
		return c.broken(cause(err))
	}
	there, err := os.Lstat(c.partial())
	if err != nil || !os.SameFile(ours, there) || there.Size() != c.size {
		return &ResultsError{Path: c.partial(), Foreign: true, Problem: "somebody else wrote to it, or put another file in its place, while the job ran; restore it, or name another file with --results"}
	}
	return nil
}

// Close lets the next process at the job.
func (c *CSV) Close() error {
	if c.file != nil {
		c.file.Close()
	}
	return c.header.file.Close()
}
