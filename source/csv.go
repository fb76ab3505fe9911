package source

import (
	"context"
	"fmt"
	"io"
)

// OpenCSV opens the CSV file at path ("-" is standard input): comma-separated, UTF-8, with
// a header line, plain or compressed. The first row after the header is 1, and blank
// lines do not count. The file is read once from end to end: one that is damaged
// anywhere is refused here with an [*InputError], before the first call. Close it after
// use.
func OpenCSV(ctx context.Context, path string, reading Reading) (*File, error) {
	return openFile(ctx, path, reading, readCSV)
}

func readCSV(name string, r io.Reader, columns []string) (recordReader, error) {
	c, err := newCSVReader(name, r)
	if err != nil {
		return nil, err
	}
	rows := &csvRows{csvReader: c, fields: make([]string, len(columns))}
	flag := " with --token-column"
	for _, name := range columns {
		place, err := c.column(name, flag)
		if err != nil {
			return nil, err
		}
		rows.places, flag = append(rows.places, place), ""
	}
	return rows, nil
}

// csvRows reads the columns that are wanted.
type csvRows struct {
	*csvReader
	places []int
	fields []string
}

func (c *csvRows) next() (record, error) {
	all, err := c.csvReader.next()
	if err != nil {
		return record{}, err
	}
	for i, place := range c.places {
		c.fields[i] = ""
		if place < len(all) {
			c.fields[i] = all[place]
		}
	}
	r := record{fields: c.fields}
	for _, field := range all {
		r.size += len(field)
	}
	if place := c.places[0]; place >= len(all) {
		r.flaw = fmt.Sprintf("the row has %d fields, the token is in field %d", len(all), place+1)
	}
	return r, nil
}
