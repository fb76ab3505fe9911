package sink

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
)

// seal is what the results of a finished job were like. It stands in
// OUT.job.json behind what was asked.
type seal struct {
	Bytes  int64  `json:"bytes,omitempty"`
	SHA256 string `json:"sha256,omitempty"` // "": no whole seal is there
}

// jobHeader is OUT.job.json, locked.
type jobHeader struct {
	file *os.File
	end  int64 // of what was asked
	notes
}

// notes stand behind what was asked, and change.
type notes struct {
	API string `json:"api,omitempty"` // by which the job's calls go; "": not said yet
	seal
}

// parseJobHeader reads what was asked, and the notes. Notes that are cut short are as
// good as none: the results have not got their name yet.
func parseJobHeader(text []byte) (asked headerJSON, end int64, noted notes, err error) {
	d := json.NewDecoder(bytes.NewReader(text))
	if err := d.Decode(&asked); err != nil {
		return asked, 0, notes{}, err
	}
	end = d.InputOffset()
	if d.Decode(&noted) != nil {
		noted = notes{}
	}
	return asked, end, noted, nil
}

// write puts the notes behind what was asked, which it leaves as it is.
func (h *jobHeader) write() error {
	text, err := json.Marshal(h.notes)
	if err != nil {
		return err
	}
	text = fmt.Appendf(nil, "\n%s\n", text)
	_, err = h.file.WriteAt(text, h.end)
	if err == nil {
		err = h.file.Truncate(h.end + int64(len(text)))
	}
	if err == nil {
		err = h.file.Sync()
	}
	if err != nil {
		return &ResultsError{Path: h.file.Name(), Problem: "the job's header cannot be written; the results are safe, run again when it can", Err: cause(err)}
	}
	return nil
}

// API is the name of the API by which the job's calls go, as SetAPI has noted it; "" if it
// has not.
func (c *CSV) API() string { return c.header.API }

// SetAPI notes it, for the runs to come.
func (c *CSV) SetAPI(_ context.Context, name string) error {
	c.header.API = name
	return c.header.write()
}

// seal is what the results are like now.
func (c *CSV) seal() seal {
	return seal{Bytes: c.size, SHA256: fmt.Sprintf("%x", c.digest.Sum(nil))}
}

// intact reports an error if finished results are not whole, or not as their seal
// says. A file without a seal is taken as it is.
func (c *CSV) intact(whole bool) error {
	before, now := c.header.seal, c.seal()
	difference := "it is as long as when the job finished, and says something else"
	switch {
	case !whole:
		return damaged(c.path)
	case before.SHA256 == "" || before == now:
		return nil
	case before.Bytes != now.Bytes:
		difference = fmt.Sprintf("it has %d bytes, and had %d when the job finished", now.Bytes, before.Bytes)
	}
	return &ResultsError{Path: c.path, Foreign: true, Problem: difference +
		": somebody changed it. Restore it, or name another file with --results to do everything again"}
}
