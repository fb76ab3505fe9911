package source

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/bulksub/bulksub/pipeline"
)

// FuzzCSV: a file is refused as a whole, or each of its records is a row; and
// the rows are those that encoding/csv finds.
func FuzzCSV(f *testing.F) {
	for _, seed := range []string{
		"token\na\n", "\ufefftoken\r\n\"a\r\nb\"\r\n", "id,token\n1\n\n2,b\n", "token\r", "token,token\n", "\"", "t\x00o", "\xff\xfe",
		"token\n\"a", "\n\n\r\ntoken\n\r\n", gzipped(f, "token\na\n"), zstded(f, "token\na\n"), rawZstd(20, "token\na\n"), "\x1f\x8b\x08",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		in, err := open(t, write(t, "in.csv", string(text)), "token")
		if err != nil {
			if _, ok := errors.AsType[*InputError](err); !ok {
				t.Fatalf("%v is no InputError", err)
			}
			return
		}
		got := allRows(t, in)
		if in.Count() != int64(len(got)) {
			t.Fatalf("Count = %d, and there are %d rows", in.Count(), len(got))
		}
		if again := allRows(t, in); !slices.EqualFunc(again, got, sameRow) {
			t.Fatalf("read again: %s", difference(again, got))
		}
		if bytes.HasPrefix(text, gzipMagic) || bytes.HasPrefix(text, zstdMagic) {
			return
		}
		if want := byTheBook(t, text); !slices.EqualFunc(got, want, sameRow) {
			t.Fatalf("encoding/csv disagrees: %s", difference(got, want))
		}
	})
}

// byTheBook reads a file that was accepted with encoding/csv alone.
func byTheBook(t *testing.T, text []byte) (all []pipeline.Row) {
	r := csv.NewReader(bytes.NewReader(bytes.TrimPrefix(text, []byte("\ufeff"))))
	r.FieldsPerRecord = -1
	records, err := r.ReadAll()
	if err != nil {
		t.Fatalf("encoding/csv refuses what was accepted: %v", err)
	}
	at := slices.IndexFunc(records[0], func(name string) bool { return strings.TrimSpace(name) == "token" })
	for i, record := range records[1:] {
		row := pipeline.Row{Key: strconv.Itoa(i + 1)}
		if at < len(record) {
			row.Token = record[at]
		} else {
			row.Flaw = fmt.Sprintf("the row has %d fields, the token is in field %d", len(record), at+1)
		}
		all = append(all, row)
	}
	return all
}
