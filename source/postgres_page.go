package source

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/bulksub/bulksub/internal/postgres"
	"github.com/bulksub/bulksub/pipeline"
)

// page reads the next rows of the range into the room, and says where they end.
func (p *Postgres) page(ctx context.Context, b bounds, room []pipeline.Row) (page []pipeline.Row, last []string, err error) {
	above, args := p.compare(">", b.After, nil)
	below, args := p.compare("<=", b.To, args)
	if above != "" {
		below = above + " and " + below
	}
	what, by := []string{asText(p.relation.Key), asText(p.relation.Token)}, []string{}
	for _, c := range p.relation.Further {
		what = append(what, asText(c))
	}
	for _, o := range p.order {
		by = append(by, o.sql)
	}
	sql := fmt.Sprintf("%s order by %s limit %d", p.relation.Select(strings.Join(what, ", "), below), strings.Join(by, ", "), p.pageRows)
	err = p.retry.Do(ctx, func(ctx context.Context, _ bool) error {
		rows, err := p.pool.Query(ctx, sql, append([]any{pgx.QueryResultFormats{pgx.TextFormatCode}}, args...)...)
		if err == nil {
			page, last, err = p.collect(rows, room)
		}
		return p.relation.Explain(err)
	})
	if err != nil {
		return nil, nil, p.lost(err)
	}
	return page, last, nil
}

// asText is a column as a cast to text shows it, in rows of the text format: there an integer needs no cast, which makes
// a text of it and then another one.
func asText(c postgres.Column) string {
	if integer(c) {
		return c.SQL()
	}
	return c.SQL() + "::text"
}

func integer(c postgres.Column) bool {
	return slices.Contains([]string{"bigint", "integer", "smallint"}, c.Type)
}

func (p *Postgres) collect(rows pgx.Rows, room []pipeline.Row) (page []pipeline.Row, last []string, err error) {
	defer rows.Close()
	c := collector{tasks: p.tasks, page: room}
	for rows.Next() {
		c.take(rows.RawValues())
	}
	if c.join(); c.twice {
		return nil, nil, p.relation.Flaw("the key column %q is not unique: two rows share a value", p.relation.Key.Name)
	}
	if n := len(c.page); n > 0 {
		last = append(slices.Clone(c.fields[:len(p.order)-1]), c.page[n-1].Key)
	}
	return c.page, last, rows.Err()
}

// together is how many bytes the keys and tokens of neighbours share, a size that the allocator has: to make a string for
// each row takes longer than to read it, and of a longer one a row that stays behind would keep too much in memory.
const together = 1408

// collector makes rows of what the server sends.
type collector struct {
	tasks  Tasks
	page   []pipeline.Row
	text   []byte   // of the rows to be made: key and token by turns
	taken  []values // those rows
	fields []string // of the last row that was made
	twice  bool     // two rows have the same key
}

// values are what the server sent of a row.
type values struct {
	key, token int  // bytes of the text
	null       bool // there is no token
	fields     []string
}

// take reads a row; what is sent is good until the next one.
func (c *collector) take(sent [][]byte) {
	key, token := sent[0], sent[1]
	if len(c.text)+len(key)+len(token) > together {
		c.join()
	}
	c.text = append(append(c.text, key...), token...)
	fields := make([]string, len(sent)-2)
	for i, field := range sent[2:] {
		fields[i] = string(field)
	}
	c.taken = append(c.taken, values{len(key), len(token), token == nil, fields})
}

// join makes rows of what was taken, which share a string.
func (c *collector) join() {
	text := string(c.text)
	for i := range c.taken {
		v := &c.taken[i]
		key, token := text[:v.key], text[v.key:v.key+v.token]
		text = text[len(key)+len(token):]
		row := c.tasks.row(key, token, v.fields)
		if v.null {
			row.Flaw = "null"
		}
		c.twice = c.twice || len(c.page) > 0 && c.page[len(c.page)-1].Key == key
		c.page, c.fields = append(c.page, row), v.fields
	}
	c.text, c.taken = c.text[:0], c.taken[:0]
}
