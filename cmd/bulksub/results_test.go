package main

import (
	"strings"

	"github.com/bulksub/bulksub/iidclient/iidtest"
	"github.com/bulksub/bulksub/internal/trial"
)

// What the tests of the program share with those under faults.
var (
	writeTokens     = trial.WriteTokens
	fillTable       = trial.FillTable
	firstDifference = trial.FirstDifference
	csvLines        = trial.CSVLines
	sqlLines        = trial.SQLLines
)

// expected is what must become of a token that looks real.
func expected(token string) (status, code string) { return trial.Expected(scriptMix, token) }

// disagreement compares the results of tokens 1 to n (as lines of row, token,
// topic, status and code) and the topic's subscribers with what must become of
// each token. It is empty if all is well.
func disagreement(service *iidtest.Running, topic string, results []string, n int) string {
	return trial.Disagreement(service, scriptMix, topic, results, n)
}

// arrived makes of the results of a migration those of its first half: a row that is ok
// names the topic that it has left.
func arrived(lines []string, from, to string) {
	for i := range lines {
		lines[i] = strings.Replace(lines[i], ","+from+",ok,", ","+to+",ok,", 1)
	}
}
