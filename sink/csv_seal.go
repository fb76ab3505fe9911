package sink

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
)

// seal is what the results of a finished job were like. It stands in
// OUT.job.json behind what was asked.
type seal struct {
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
}

// header is OUT.job.json, locked.
type header struct {
	file *os.File
	end  int64 // of what was asked
	seal *seal // nil: no whole one is there
}

// parseHeader reads what was asked, and the seal. One that is cut short is as
// good as none: the results have not got their name yet.
func parseHeader(text []byte) (asked jobHeader, end int64, sealed *seal, err error) {
	d := json.NewDecoder(bytes.NewReader(text))
	if err := d.Decode(&asked); err != nil {
		return asked, 0, nil, err
	}
	end = d.InputOffset()
	if d.Decode(&sealed) != nil {
		sealed = nil
	}
	return asked, end, sealed, nil
}

// write puts the seal behind what was asked, which it leaves as it is.
func (h *header) write(s seal) error {
	text, err := json.Marshal(s)
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
	case before == nil || *before == now:
		return nil
	case before.Bytes != now.Bytes:
		difference = fmt.Sprintf("it has %d bytes, and had %d when the job finished", now.Bytes, before.Bytes)
	}
	return &ResultsError{Path: c.path, Foreign: true, Problem: difference +
		": somebody changed it. Restore it, or name another file with --results to do everything again"}
}
