package main

import (
	"context"
	"encoding/csv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/rogpeppe/go-internal/testscript"
)

// readCSVResults reads a result file as lines of row, token, topic, status and
// code.
func readCSVResults(ts *testscript.TestScript, file string) []string {
	records, err := csv.NewReader(strings.NewReader(ts.ReadFile(file))).ReadAll()
	ts.Check(err)
	var lines []string
	for _, record := range records[1:] {
		lines = append(lines, strings.Join(record[:5], ","))
	}
	return lines
}

// readResults reads the same from the ledger.
func readResults(ts *testscript.TestScript, pool *pgxpool.Pool, job string) []string {
	rows, _ := pool.Query(context.Background(), `
		select concat_ws(',', row_key, token, topic, status, coalesce(code, '')) from bulksub.results where job = $1`, job)
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	ts.Check(err)
	return lines
}
