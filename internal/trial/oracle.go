package trial

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

// Mixed is a mix of every kind of token. Some are asked about twice, and some fail for good.
var Mixed = iidtest.Mix{Dead: 0.05, Invalid: 0.02, Transient: 0.03, Unknown: 0.01}

// Final is a mix of tokens that the first answer judges: each batch is one call, and one commit.
var Final = iidtest.Mix{Dead: 0.05, Invalid: 0.02, TooMany: 0.01}

// Expected is what must become of a token of a mix: the status, and the service's word.
func Expected(mix iidtest.Mix, token string) (status, code string) {
	switch fate := mix.Fate(token); {
	case fate.Code == "" || fate.Tries > 0:
		return "ok", ""
	case fate.Code == iidtest.CodeNotFound:
		return "not_found", fate.Code
	case fate.Code == iidtest.CodeInvalidArgument:
		return "invalid", fate.Code
	case fate.Code == iidtest.CodeTooManyTopics:
		return "too_many_topics", fate.Code
	default:
		return "failed", fate.Code
	}
}

// Disagreement compares the results of tokens 1 to n (as lines of row, token, topic, status and code) and the topic's
// subscribers with what must become of each token (I1, I2, I7). It is empty if all is well.
func Disagreement(service *iidtest.Running, mix iidtest.Mix, topic string, results []string, n int) string {
	var want, live []string
	for i := range n {
		token := iidtest.Token(1, i)
		status, code := Expected(mix, token)
		want = append(want, strings.Join([]string{strconv.Itoa(i + 1), token, topic, status, code}, ","))
		if status == "ok" {
			live = append(live, token)
		}
	}
	if diff := FirstDifference(results, want); diff != "" {
		return "results: " + diff
	}
	if diff := FirstDifference(service.Subscribers(topic), live); diff != "" {
		return "subscribers: " + diff
	}
	return ""
}

// FirstDifference compares two sets of lines, which it sorts.
func FirstDifference(got, want []string) string {
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

// CSVLines reads a result file, as lines for [Disagreement].
func CSVLines(file io.Reader) ([]string, error) {
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

// SQLLines reads the results of a job from the ledger, as lines for [Disagreement].
func SQLLines(db interface {
	Query(context.Context, string, ...any) (pgx.Rows, error)
}, job string) ([]string, error) {
	rows, _ := db.Query(context.Background(), `
		select concat_ws(',', row_key, token, topic, status, coalesce(code, '')) from bulksub.results where job = $1`, job)
	return pgx.CollectRows(rows, pgx.RowTo[string])
}
