package source

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// OpenJSONLines opens the file at path ("-" is standard input) that has a JSON object on
// each line, plain or compressed. The first object is row 1, and blank lines do not count.
// A column is a key of the object, and "keys.auth" the key auth of the object under keys;
// a field that is no string is taken as it is spelt, but a token must be one. Other
// keys are not looked at. The file is read once from end to end: one that is damaged
// anywhere, or has a line that is no object or longer than 64 KiB, is refused here
// with an [*InputError], before the first call. Close it after use.
func OpenJSONLines(ctx context.Context, path string, reading Reading) (*File, error) {
	return openFile(ctx, path, reading, readJSONLines)
}

// jsonLines reads one object after the other.
type jsonLines struct {
	name    string
	text    *bufio.Reader // no longer than a record may be
	columns []string
	fields  []string
	line    int   // the number of the line read last
	row     int64 // the number of the object read last
}

func readJSONLines(name string, r io.Reader, columns []string) (recordReader, error) {
	text := bufio.NewReaderSize(r, maxRecord)
	if err := checkEncoding(name, text); err != nil {
		return nil, err
	}
	return &jsonLines{name: name, text: text, columns: columns, fields: make([]string, len(columns))}, nil
}

func (j *jsonLines) next() (record, error) {
	for {
		line, err := j.text.ReadSlice('\n')
		ended := errors.Is(err, io.EOF)
		j.line++
		switch {
		case ended && len(line) == 0:
			return record{}, io.EOF
		case errors.Is(err, bufio.ErrBufferFull):
			return record{}, j.refuse("the line is longer than 64 KiB; it needs to be one JSON object", nil)
		case err != nil && !ended:
			return record{}, &InputError{Input: j.name, Problem: fmt.Sprintf("the file cannot be read after row %d", j.row), Err: cause(err)}
		}
		if line = bytes.TrimSpace(line); len(line) > 0 {
			return j.read(line)
		}
	}
}

// refuse makes an error about the line read last.
func (j *jsonLines) refuse(problem string, err error) error {
	return &InputError{Input: j.name, Line: j.line, Problem: problem, Err: err}
}

func (j *jsonLines) read(line []byte) (record, error) {
	var whole json.RawMessage
	if err := json.Unmarshal(line, &whole); err != nil {
		return record{}, j.refuse("this is not JSON; each line needs to be one object", err)
	}
	if whole[0] != '{' {
		return record{}, j.refuse("this is JSON, but no object; each line needs to be one", nil)
	}
	j.row++
	r := record{fields: j.fields}
	for i, column := range j.columns {
		value, flaw := lookUp(whole, column)
		r.fields[i] = scalar(value)
		if i == 0 {
			flaw = cmp.Or(flaw, tokenFlaw(column, value))
		}
		r.flaw = cmp.Or(r.flaw, flaw)
	}
	return r, nil
}

// lookUp finds a key, or a key of an object under a key. A key that is there twice means
// one thing to one reader and another to the next: it is a flaw.
func lookUp(object json.RawMessage, column string) (value json.RawMessage, flaw string) {
	key, rest, nested := strings.Cut(column, ".")
	d := json.NewDecoder(bytes.NewReader(object))
	if open, _ := d.Token(); open != json.Delim('{') {
		return nil, ""
	}
	found := false
	for d.More() {
		name, _ := d.Token()
		var field json.RawMessage
		if d.Decode(&field) != nil || name != key {
			continue
		}
		if found {
			return nil, fmt.Sprintf("the key %q is there twice", key)
		}
		value, found = field, true
	}
	if nested {
		return lookUp(value, rest)
	}
	return value, ""
}

// scalar is a string, nothing for null, and what else there is as it is spelt.
func scalar(value json.RawMessage) (text string) {
	if json.Unmarshal(value, &text) != nil {
		return string(value)
	}
	return text
}

// tokenFlaw says why a value is no token. encoding/json puts U+FFFD where a string is
// not valid UTF-8 or has half a surrogate pair, which would be another token.
func tokenFlaw(column string, value json.RawMessage) string {
	switch {
	case value == nil:
		return fmt.Sprintf("the line has no %q", column)
	case string(value) == "null":
		return "null"
	case value[0] != '"':
		return fmt.Sprintf("%q is no string", column)
	case strings.ContainsRune(scalar(value), utf8.RuneError):
		return "not valid UTF-8"
	}
	return ""
}
