package sink

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/bulksub/bulksub/pipeline"
)

// InspectCSV tells what [OpenCSV] would find, with its errors, and changes nothing. counts
// are of the results that are there, nil if the job would be new; done says that it
// has ended.
func InspectCSV(path string, asked Asked) (counts pipeline.Counts, done bool, err error) {
	header, err := readJobHeader(path, asked)
	if header == nil || err != nil {
		return nil, false, err
	}
	c := &CSV{path: path, header: header, counts: make(pipeline.Counts)}
	defer c.Close()
	done, err = c.find(openToRead)
	if errors.Is(err, fs.ErrNotExist) {
		return c.counts, false, nil
	}
	return c.counts, done, err
}

// readJobHeader is [openJobHeader] without a change; nil: the job would be new.
func readJobHeader(path string, asked Asked) (*jobHeader, error) {
	name := path + ".job.json"
	if !exists(name) {
		return nil, newHere(path)
	}
	file, err := openToRead(name)
	if err != nil {
		return nil, err
	}
	h := &jobHeader{file: file}
	if fresh, err := h.examine(path, asked); fresh || err != nil {
		file.Close()
		return nil, err
	}
	return h, nil
}

// examine reports whether the header is still to be written.
func (h *jobHeader) examine(path string, asked Asked) (fresh bool, err error) {
	if held, err := lock(h.file); held || err != nil {
		return false, unlockable(path, held, err)
	}
	text, err := h.agree(path, asked)
	if err == nil && text != nil {
		return true, unclaimed(path)
	}
	return false, err
}

// newHere reports a [*ResultsError] if no new job can have its results there.
func newHere(path string) error {
	if err := unclaimed(path); err != nil {
		return err
	}
	dir := filepath.Dir(path)
	info, err := os.Stat(dir)
	if err == nil && !info.IsDir() {
		err = fs.ErrNotExist
	}
	if err == nil {
		err = mayWrite(dir)
	}
	return unwritable(path, err)
}

// openToRead opens a file as [openResults] does, which must be one that can be written, and
// writes nothing.
func openToRead(name string) (*os.File, error) {
	info, err := os.Lstat(name)
	switch {
	case err != nil:
		return nil, unwritable(name, err)
	case !info.Mode().IsRegular():
		return nil, irregular(name)
	}
	if err := mayWrite(name); err != nil {
		return nil, unwritable(name, err)
	}
	file, err := os.Open(name)
	return file, unwritable(name, err)
}
