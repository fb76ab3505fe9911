package sink

import (
	"bufio"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"github.com/bulksub/bulksub/pipeline"
)

const ownerOnly = 0o600

// jobHeader is what stands in OUT.job.json.
type jobHeader struct {
	Bulksub int   `json:"bulksub"` // the version of this format
	Asked   Asked `json:"asked"`
}

// openHeader opens and locks the job's header, and writes it if the job is new.
func openHeader(path string, asked Asked) (*os.File, error) {
	name := path + ".job.json"
	file, err := openResults(name)
	if err != nil {
		return nil, err
	}
	if err := lock(file); err != nil {
		file.Close()
		return nil, &HeldError{Job: path}
	}
	if err := agree(file, path, asked); err != nil {
		file.Close()
		return nil, err
	}
	return file, nil
}

// agree compares what the header says with what is asked now.
func agree(file *os.File, path string, asked Asked) error {
	text, err := io.ReadAll(io.LimitReader(file, 1<<20))
	if err != nil {
		return &ResultsError{Path: file.Name(), Problem: "the job's header cannot be read", Err: cause(err)}
	}
	if len(text) == 0 {
		return begin(file, path, asked)
	}
	var before jobHeader
	if err := json.Unmarshal(text, &before); err != nil || before.Bulksub != 1 {
		return &ResultsError{Path: file.Name(), Foreign: true, Problem: "this is not the header of a bulksub job; move it away or name another file with --results"}
	}
	if found := before.Asked.differences(asked); len(found) > 0 {
		return &MismatchError{Job: path, Differences: found}
	}
	return nil
}

// begin writes the header of a new job. Results without a header are somebody
// else's file.
func begin(file *os.File, path string, asked Asked) error {
	for _, name := range []string{path, path + ".partial"} {
		if exists(name) {
			os.Remove(file.Name())
			return &ResultsError{Path: name, Foreign: true, Problem: "there is a file already that no bulksub job wrote; move it away or name another file with --results"}
		}
	}
	text, err := json.MarshalIndent(jobHeader{Bulksub: 1, Asked: asked}, "", "  ")
	if err == nil {
		_, err = file.WriteAt(append(text, '\n'), 0)
	}
	if err == nil {
		err = file.Sync()
	}
	if err != nil {
		return &ResultsError{Path: file.Name(), Problem: "the job's header cannot be written", Err: cause(err)}
	}
	return nil
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
		return nil, &ResultsError{Path: name, Foreign: true, Problem: "this is not a regular file; name another one with --results"}
	}
	file, err := os.OpenFile(name, os.O_RDWR, 0)
	return file, unwritable(name, err)
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

// scan reads every whole record of a result file, up to one that a kill cut
// short, and returns where the last of them ends.
func scan(file *os.File, each func(row int64, record []string) error) (end int64, err error) {
	size, err := checkHeader(file)
	if err != nil || size < int64(len(headerLine)) {
		return 0, err
	}
	reader := csv.NewReader(bufio.NewReaderSize(io.NewSectionReader(file, 0, size), 1<<16))
	reader.ReuseRecord, reader.FieldsPerRecord = true, len(Header)
	for record, err := reader.Read(); err == nil; record, err = reader.Read() {
		if at := reader.InputOffset(); end > 0 {
			row, err := strconv.ParseInt(record[0], 10, 64)
			if err != nil || at == size && !endsLine(file, size) {
				return end, nil
			}
			if err := each(row, record); err != nil {
				return end, err
			}
		}
		end = reader.InputOffset()
	}
	return end, nil
}

// checkHeader returns the file's size, or an error if it does not begin as our
// files do.
func checkHeader(file *os.File) (size int64, err error) {
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
	return c.load()
}

func copyFinal(from, to *os.File) error {
	buffered := bufio.NewWriterSize(to, 1<<16)
	w := csv.NewWriter(buffered)
	w.Write(Header)
	_, err := scan(from, func(_ int64, record []string) error {
		if pipeline.Status(record[3]) == pipeline.Failed {
			return nil
		}
		return w.Write(record)
	})
	w.Flush()
	if err == nil {
		err = errors.Join(w.Error(), buffered.Flush())
	}
	if err != nil {
		return fmt.Errorf("the results that are final: %w", err)
	}
	return to.Sync()
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
