package main

import (
	"cmp"
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

// read is something that the program, or a person, asks of the results.
type read struct {
	name string
	sql  func(shape) string
	each bool // is asked of a segment
	all  bool // is repeated until nothing is left to delete
}

var reads = []read{
	{name: "all rows", sql: fixed(`select count(row_key), count(token) from kept.rows where job_id = 1`)},
	{name: "status counts of job", sql: fixed(`select status, count(*) from kept.rows where job_id = 1 group by status`)},
	{name: "not_found of job", sql: fixed(`select count(row_key), count(token) from kept.rows where job_id = 1 and status = 'not_found'`)},
	{name: "one key", sql: fixed(`select row_key, token, status from kept.rows where job_id = 1 and row_key = '60001'`)},
	{name: "page of 5000", each: true, sql: fixed(`select row_key, token, topic, status from kept.rows where job_id = 1 and segment = $1 and row_key > '1' order by row_key limit 5000`)},
	{name: "keys of segment", each: true, sql: func(s shape) string {
		return cmp.Or(s.keys, `select row_key from kept.rows where job_id = 1 and segment = $1`)
	}},
	{name: "counts of segment", each: true, sql: func(s shape) string {
		return cmp.Or(s.count, `select status, count(*) from kept.rows where job_id = 1 and segment = $1 group by status`)
	}},
	{name: "prune page", each: true, sql: fixed(`select row_key, token from kept.rows where job_id = 1 and segment = $1 and status = 'not_found' and row_key > '1' order by row_key limit 1000`)},
	{name: "forget failed", each: true, sql: func(s shape) string { return s.forget }},
	{name: "purge", all: true, sql: func(s shape) string { return s.purge }},
}

func fixed(sql string) func(shape) string { return func(shape) string { return sql } }

// time is how long it takes; of what is asked of a segment, the mean of all segments.
func (r read) time(ctx context.Context, conn *pgx.Conn, s shape, o options) (time.Duration, error) {
	began, times := time.Now(), 0
	for segment := 1; ; segment++ {
		var args []any
		if r.each {
			args = append(args, segment)
		}
		rows, err := conn.Query(ctx, r.sql(s), args...)
		if err != nil {
			return 0, err
		}
		for rows.Next() {
		}
		if rows.Close(); rows.Err() != nil {
			return 0, rows.Err()
		}
		times++
		if r.all && rows.CommandTag().RowsAffected() > 0 || r.each && segment*perSegment < o.rows {
			continue
		}
		if !r.each {
			times = 1
		}
		return time.Since(began) / time.Duration(times), nil
	}
}
