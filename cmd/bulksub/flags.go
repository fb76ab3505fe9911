package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/bulksub/bulksub/iidclient"
)

// inputFlags say where tokens come from.
type inputFlags struct {
	csv, jsonl, table, query, where string
	tokenColumn, keyColumn          string
}

func (f *inputFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.csv, "csv", "", "tokens from a CSV `FILE` with a header line; - is standard input; .gz and .zst are read as they are")
	flags.StringVar(&f.jsonl, "jsonl", "", "tokens from a `FILE` with a JSON object on each line, whose keys are the columns (a.b is b in the object a)")
	flags.StringVar(&f.table, "table", "", "tokens from the table `NAME`; without any input, bulksub.tokens")
	flags.StringVar(&f.query, "query", "", "tokens from the rows of a `SQL` query")
	flags.StringVar(&f.where, "where", "", "only rows of the table or query for which the `SQL` condition holds")
	flags.StringVar(&f.tokenColumn, "token-column", "token", "`NAME` of the column that holds the token")
	flags.StringVar(&f.keyColumn, "key-column", "", "`NAME` of the column that identifies a row (default: the primary key, else the token)")
}

// ledgerFlags say where results go.
type ledgerFlags struct{ databaseURL, results, job string }

func (f *ledgerFlags) add(flags *pflag.FlagSet) {
	f.addDatabase(flags)
	flags.StringVar(&f.results, "results", "", "results into the CSV `FILE`, if there is no database (default: INPUT.results.csv)")
	flags.StringVar(&f.job, "job", "", "the job's `NAME`: the same name continues the same job (default: made from what is asked)")
}

func (f *ledgerFlags) addDatabase(flags *pflag.FlagSet) {
	flags.StringVar(&f.databaseURL, "database-url", "", "`URL` of the Postgres database that keeps jobs and results, and holds the table")
}

// serviceFlags say whom to call, as whom, and how fast.
type serviceFlags struct {
	api, project                         string
	endpoint, credentials, serverKeyFile string
	allowHTTP, concurrencyGiven          bool
	rate                                 float64
	concurrency, batchSize, attempts     int
	timeout, patience                    time.Duration
	maxRejected                          share
}

func (f *serviceFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.api, "api", "", "the API to call: `iid|fcm|auto`; fcm is the successor, auto asks both (default: the one that the job began with, else iid)")
	flags.StringVar(&f.project, "project", "", "`ID` of the project, for --api fcm (default: from the credentials)")
	flags.StringVar(&f.endpoint, "endpoint", iidclient.DefaultEndpoint, "`URL` of the service; one other than Google's is for both APIs")
	flags.BoolVar(&f.allowHTTP, "allow-http", false, "allow plain http to a stand-in on another machine; no real credential and no server key goes there")
	flags.StringVar(&f.credentials, "credentials", "", "Google credentials `FILE` (default: Application Default Credentials)")
	flags.StringVar(&f.serverKeyFile, "server-key-file", "", "`FILE` with a server key, the old key= form (Google has refused it since June 2024)")
	flags.Float64Var(&f.rate, "rate", 3000, "most token operations per second; with a database, for all processes of the project together; 0: no ceiling")
	flags.IntVar(&f.concurrency, "concurrency", 16, "calls at a time")
	flags.IntVar(&f.batchSize, "batch-size", iidclient.MaxBatch, "most tokens in a call")
	flags.IntVar(&f.attempts, "attempts", 5, "how often a token is asked about before it counts as failed")
	flags.DurationVar(&f.timeout, "timeout", time.Minute, "longest time for one call")
	flags.DurationVar(&f.patience, "patience", 15*time.Minute, "how long to wait for a service or a database that has gone away")
	f.maxRejected = 0.5
	flags.Var(&f.maxRejected, "max-rejected", "stop when more than this share of tokens is invalid or denied")
}

func (f *serviceFlags) check() error {
	switch {
	case !(f.rate >= 0) || math.IsInf(f.rate, 1):
		return usagef("--rate is %g; it can be 0 (no ceiling) or more", f.rate)
	case f.concurrency < 1 || f.concurrency > 1024:
		return usagef("--concurrency is %d; it can be 1 to 1024", f.concurrency)
	case f.batchSize < 1 || f.batchSize > iidclient.MaxBatch:
		return usagef("--batch-size is %d; it can be 1 to %d", f.batchSize, iidclient.MaxBatch)
	case f.attempts < 1 || f.attempts > 1000:
		return usagef("--attempts is %d; it can be 1 to 1000", f.attempts)
	case f.timeout < time.Second || f.timeout > 10*time.Minute:
		return usagef("--timeout is %v; it can be 1s to 10m", f.timeout)
	case f.patience < time.Second:
		return usagef("--patience is %v; it can be 1s or more", f.patience)
	case f.maxRejected == 0:
		return usagef("--max-rejected is 0%%; a single rejected token would stop the job")
	}
	return nil
}

// pruneFlags say what becomes of rows whose token is gone.
type pruneFlags struct {
	mode, column string
	max          share
	lagMiB       uint32
}

func (f *pruneFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.mode, "prune", "off", "what to do with rows whose token is gone: `off|mark|delete`; mark reads only unmarked rows")
	f.addLimits(flags)
}

func (f *pruneFlags) addLimits(flags *pflag.FlagSet) {
	flags.StringVar(&f.column, "prune-column", "pruned_at", "`NAME` of the timestamptz column that is marked")
	f.max = 0.2
	flags.Var(&f.max, "prune-max", "prune nothing when more than this share of rows would go")
	flags.Uint32Var(&f.lagMiB, "prune-lag", 0, "pause the prune while a connected standby has more than this many `MIB` of the log left to replay; 0: never")
}

// lag is how many bytes a standby may be behind.
func (f *pruneFlags) lag() int64 { return int64(f.lagMiB) << 20 }

func (f *pruneFlags) on() bool { return f.mode != "off" }

// outputFlags say what to show.
type outputFlags struct {
	json, quiet bool
	logFormat   string
}

func (f *outputFlags) add(flags *pflag.FlagSet) {
	flags.BoolVar(&f.json, "json", false, "the summary as one JSON object")
	flags.BoolVar(&f.quiet, "quiet", false, "no progress")
	flags.StringVar(&f.logFormat, "log-format", "text", "`text|json`: form of the lines on standard error")
}

// share is a part of a whole: "20%" or "0.2".
type share float64

var _ pflag.Value = (*share)(nil)

// String writes it as per cent.
func (s *share) String() string { return strconv.FormatFloat(100*float64(*s), 'g', -1, 64) + "%" }

// Type is how help calls it.
func (s *share) Type() string { return "SHARE" }

// Set reads it.
func (s *share) Set(text string) error {
	number, percent := strings.CutSuffix(strings.TrimSpace(text), "%")
	value, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	if percent {
		value /= 100
	}
	if err != nil || !(value >= 0 && value <= 1) {
		return fmt.Errorf("%q is not a share; write 20%% or 0.2", text)
	}
	*s = share(value)
	return nil
}
