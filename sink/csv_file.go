package sink

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/bulksub/bulksub/pipeline"
)

const ownerOnly = 0o600

// headerJSON is what stands first in OUT.job.json.
type headerJSON struct {
	Bulksub int   `json:"bulksub"` // the version of this format
	Asked   Asked `json:"asked"`
}

// openJobHeader opens and locks the job's header, and writes it if the job is new.
func openJobHeader(path string, asked Asked) (*jobHeader, error) {
	name := path + ".job.json"
	file, err := openResults(name)
	if err != nil {
		return nil, err
	}
	held, err := lock(file)
	if held || err != nil {
		file.Close()
		return nil, unlockable(path, held, err)
	}
	h := &jobHeader{file: file}
	fresh, err := h.agree(path, asked)
	if err == nil && fresh != nil {
		err = begin(h.file, path, fresh)
	}
	if err != nil {
		file.Close()
		return nil, err
	}
	return h, nil
}

func unlockable(path string, held bool, err error) error {
	if held {
		return &HeldError{Job: path}
	}
	return &ResultsError{Path: path, Problem: "the job's header cannot be locked; name a file on a local disk with --results", Err: err}
}

// jobHeaderText is what stands in the header of a job that was asked so.
func jobHeaderText(asked Asked) ([]byte, error) {
	text, err := json.MarshalIndent(headerJSON{Bulksub: 1, Asked: asked}, "", "  ")
	return append(text, '\n'), err
}

// agree compares what the header says with what is asked now. fresh is what is to be
// written there yet: the job is new, or was killed as it wrote that.
func (h *jobHeader) agree(path string, asked Asked) (fresh []byte, err error) {
	text, err := io.ReadAll(io.LimitReader(h.file, 1<<20))
	if err != nil {
		return nil, &ResultsError{Path: h.file.Name(), Problem: "the job's header cannot be read", Err: cause(err)}
	}
	if fresh, err = jobHeaderText(asked); err != nil {
		return nil, err
	}
	if len(text) < len(fresh) && bytes.HasPrefix(fresh, text) {
		h.end = int64(len(bytes.TrimSpace(fresh)))
		return fresh, nil
	}
	before, end, noted, err := parseJobHeader(text)
	if err != nil || before.Bulksub != 1 {
		return nil, &ResultsError{Path: h.file.Name(), Foreign: true, Problem: "this is not the header of a bulksub job; move it away or name another file with --results"}
	}
	if found := before.Asked.differences(asked); len(found) > 0 {
		return nil, &MismatchError{Job: path, Differences: found}
	}
	h.end, h.notes = end, noted
	return nil, nil
}

// unclaimed reports a [*ResultsError] if there are results without a header: somebody
// else's file.
func unclaimed(path string) error {
	for _, name := range []string{path, path + ".partial"} {
		if exists(name) {
			return &ResultsError{Path: name, Foreign: true, Problem: "there is a file already that no bulksub job wrote; move it away or name another file with --results"}
		}
	}
	return nil
}

// begin writes the header of a new job.
func begin(file *os.File, path string, text []byte) error {
	if err := unclaimed(path); err != nil {
		os.Remove(file.Name())
		return err
	}
	_, err := file.WriteAt(text, 0)
	if err == nil {
		err = file.Sync()
	}
	if err != nil {
		os.Remove(file.Name())
		return &ResultsError{Path: file.Name(), Problem: "the job's header cannot be written; make room or name another file with --results", Err: cause(err)}
	}
	return syncDir(filepath.Dir(path))
}

// openResults opens a file of ours for reading and writing, or creates it. It
// follows no link: what a link leads to is not ours.
func openResults(name string) (*os.File, error) {
	info, err := os.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		file, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, ownerOnly)
		return file, unwritable(name, err)
	case err != nil:
		return nil, unwritable(name, err)
	case !info.Mode().IsRegular():
		return nil, irregular(name)
	}
	file, err := os.OpenFile(name, os.O_RDWR, 0)
	return file, unwritable(name, err)
}

func irregular(name string) error {
	return &ResultsError{Path: name, Foreign: true, Problem: "this is not a regular file; name another one with --results"}
}

func unwritable(name string, err error) error {
	if err == nil {
		return nil
	}
	return &ResultsError{Path: name, Problem: "the file cannot be written", Err: cause(err)}
}

// cause drops the path that the os package put in front of an error.
func cause(err error) error {
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		return pe.Err
	}
	return err
}

func exists(name string) bool {
	_, err := os.Lstat(name)
	return err == nil
}

var headerLine = strings.Join(Header, ",") + "\n"

// record is a line of a result file. That of the header has no row.
type record struct {
	row        int64
	status     pipeline.Status
	fields     []string // until the next record is read
	start, end int64    // where it lies in the file
}

// scan visits every whole record of a result file, up to one that a kill cut
// short, and returns the file's size. What is broken before the end was not
// broken by us.
func scan(file *os.File, visit func(record) error) (size int64, err error) {
	size, err = checkHeaderLine(file)
	if err != nil || size < int64(len(headerLine)) {
		return size, err
	}
	reader := csv.NewReader(bufio.NewReaderSize(io.NewSectionReader(file, 0, size), 1<<16))
	reader.ReuseRecord, reader.FieldsPerRecord = true, len(Header)
	for at := int64(0); at < size; at = reader.InputOffset() {
		r, err := nextRecord(reader, at)
		if reader.InputOffset() == size && (err != nil || !endsLine(file, size)) && !unreadable(err) {
			return size, nil
		}
		if unreadable(err) {
			return size, unwritable(file.Name(), err)
		}
		if err != nil {
			return size, damaged(file.Name())
		}
		if err := visit(r); err != nil {
			return size, err
		}
	}
	return size, nil
}

func nextRecord(reader *csv.Reader, at int64) (r record, err error) {
	r.fields, err = reader.Read()
	r.start, r.end = at, reader.InputOffset()
	if err != nil || at == 0 {
		return r, err
	}
	r.status = pipeline.Status(r.fields[3])
	r.row, err = strconv.ParseInt(r.fields[0], 10, 64)
	return r, err
}

// unreadable tells what the disk said from what stands in the file.
func unreadable(err error) bool {
	_, said := errors.AsType[*fs.PathError](err)
	return said
}

func damaged(name string) error {
	return &ResultsError{Path: name, Foreign: true, Problem: "a line in it is not as bulksub wrote it; restore the file, or name another one with --results"}
}

// checkHeaderLine returns the file's size, or an error if it does not begin as our
// files do.
func checkHeaderLine(file *os.File) (size int64, err error) {
	head := make([]byte, len(headerLine))
	n, err := file.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return 0, unwritable(file.Name(), err)
	}
	if !strings.HasPrefix(headerLine, string(head[:n])) {
		return 0, &ResultsError{Path: file.Name(), Foreign: true, Problem: "this is not a result file; move it away or name another file with --results"}
	}
	info, err := file.Stat()
	if err != nil {
		return 0, unwritable(file.Name(), err)
	}
	return info.Size(), nil
}

// endsLine reports whether the file's last byte ends a line.
func endsLine(file *os.File, size int64) bool {
	var end [1]byte
	_, err := file.ReadAt(end[:], size-1)
	return err == nil && end[0] == '\n'
}

// forgetFailed makes a new OUT.partial of the results that are final, so that
// the failed rows are asked again.
func (c *CSV) forgetFailed() error {
	name := c.partial() + ".new"
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return c.broken(err)
	}
	file, err := openResults(name)
	if err != nil {
		return err
	}
	if err := copyFinal(c.file, file); err != nil {
		file.Close()
		return c.broken(err)
	}
	c.file.Close()
	c.file = file
	if err := os.Rename(name, c.partial()); err != nil {
		return c.broken(err)
	}
	if err := syncDir(filepath.Dir(c.path)); err != nil {
		return err
	}
	_, err = c.load()
	return err
}

// copyFinal copies the lines of the results that are final, byte for byte.
func copyFinal(from, to *os.File) error {
	w := bufio.NewWriterSize(to, 1<<16)
	_, err := scan(from, func(r record) error {
		if r.status == pipeline.Failed {
			return nil
		}
		_, err := io.Copy(w, io.NewSectionReader(from, r.start, r.end-r.start))
		return err
	})
	if err == nil {
		err = w.Flush()
	}
	if err != nil {
		return fmt.Errorf("the results that are final: %w", err)
	}
	return to.Sync()
}

// replaceable reports a [*ResultsError] if something stands at a path that is no
// result file.
func replaceable(name string) error {
	if !exists(name) {
		return nil
	}
	file, err := openResults(name)
	if err != nil {
		return err
	}
	defer file.Close()
	_, err = checkHeaderLine(file)
	return err
}

// syncDir makes a rename in a directory last.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return unwritable(dir, err)
	}
	defer d.Close()
	return unwritable(dir, d.Sync())
}
