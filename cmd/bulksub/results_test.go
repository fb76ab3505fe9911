package main

import (
	"context"
	"encoding/csv"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/bulksub/bulksub/iidclient/iidtest"
)

// expected is what must become of a token that looks real.
func expected(token string) (status, code string) {
	switch fate := scriptMix.Fate(token); {
	case fate.Code == "" || fate.Tries > 0:
		return "ok", ""
	case fate.Code == iidtest.CodeNotFound:
		return "not_found", fate.Code
	case fate.Code == iidtest.CodeInvalidArgument:
		return "invalid", fate.Code
	default:
		return "failed", fate.Code
	}
}

// disagreement compares the results of tokens 1 to n (as lines of row, token,
// topic, status and code) and the topic's subscribers with what must become of
// each token. It is empty if all is well.
func disagreement(service *iidtest.Running, topic string, results []string, n int) string {
	var want, live []string
	for i := range n {
		token := iidtest.Token(1, i)
		status, code := expected(token)
		want = append(want, strings.Join([]string{strconv.Itoa(i + 1), token, topic, status, code}, ","))
		if status == "ok" {
			live = append(live, token)
		}
	}
	if diff := firstDifference(results, want); diff != "" {
		return "results: " + diff
	}
	if diff := firstDifference(service.Subscribers(topic), live); diff != "" {
		return "subscribers: " + diff
	}
	return ""
}

// arrived makes of the results of a migration those of its first half: a row that is ok
// names the topic that it has left.
func arrived(lines []string, from, to string) {
	for i := range lines {
		lines[i] = strings.Replace(lines[i], ","+from+",ok,", ","+to+",ok,", 1)
	}
}

func firstDifference(got, want []string) string {
	slices.Sort(got)
	slices.Sort(want)
	for i := range max(len(got), len(want)) {
		switch {
		case i >= len(got):
			return fmt.Sprintf("%d, want %d; missing: %s", len(got), len(want), want[i])
		case i >= len(want):
			return fmt.Sprintf("%d, want %d; too many: %s", len(got), len(want), got[i])
		case got[i] != want[i]:
			return fmt.Sprintf("got %s, want %s", got[i], want[i])
		}
	}
	return ""
}

// csvLines reads a result file.
func csvLines(file io.Reader) ([]string, error) {
	records, err := csv.NewReader(file).ReadAll()
	if err != nil {
		return nil, err
	}
	var lines []string
	for _, record := range records[1:] {
		lines = append(lines, strings.Join(record[:5], ","))
	}
	return lines, nil
}

// sqlLines reads the results of a job from the ledger.
func sqlLines(db interface {
	Query(context.Context, string, ...any) (pgx.Rows, error)
}, job string) ([]string, error) {
	rows, _ := db.Query(context.Background(), `
		select concat_ws(',', row_key, token, topic, status, coalesce(code, '')) from bulksub.results where job = $1`, job)
	return pgx.CollectRows(rows, pgx.RowTo[string])
}
