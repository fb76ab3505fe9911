package main

import (
	"bufio"
	"context"
	"encoding/csv"
	"encoding/json"
	"io"
	"iter"
	"slices"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/spf13/cobra"

	"github.com/bulksub/bulksub/pipeline"
	"github.com/bulksub/bulksub/sink"
)

func resultsCommand() *cobra.Command {
	var l ledgerFlags
	var statuses []string
	var format string
	var spreadsheet bool
	cmd := &cobra.Command{
		Use:     "results JOB",
		Short:   "Write the results of a job to standard output",
		Example: "  bulksub jobs results spring-news --status failed,invalid --format jsonl",
		Args:    oneJob,
		RunE: func(cmd *cobra.Command, args []string) error {
			wanted, err := knownStatuses(statuses)
			if err != nil {
				return err
			}
			write, ok := map[string]func(io.Writer, iter.Seq2[pipeline.Result, error]) error{"csv": writeCSV, "jsonl": writeJSONLines}[format]
			switch {
			case !ok:
				return usagef("--format is %q; it can be csv or jsonl", format)
			case spreadsheet && format != "csv":
				return usagef("--spreadsheet is for --format csv")
			case spreadsheet:
				write = writeSpreadsheet
			}
			return withJob(cmd, l, args[0], func(ctx context.Context, pool *pgxpool.Pool, j sink.Job) error {
				return write(cmd.OutOrStdout(), sink.Results(ctx, pool, j, wanted))
			})
		},
	}
	l.addDatabase(cmd.Flags())
	cmd.Flags().StringSliceVar(&statuses, "status", nil, "only results with this `STATUS`; several with commas between")
	cmd.Flags().StringVar(&format, "format", "csv", "`csv|jsonl`: a header and a line each, or a JSON object each")
	cmd.Flags().BoolVar(&spreadsheet, "spreadsheet", false, "an apostrophe before each cell that a spreadsheet would take for a formula")
	return cmd
}

func knownStatuses(words []string) (statuses []pipeline.Status, err error) {
	for _, word := range words {
		s := pipeline.Status(word)
		if !slices.Contains(pipeline.Statuses, s) {
			return nil, usagef("--status is %q; it can be one of %v", word, pipeline.Statuses)
		}
		statuses = append(statuses, s)
	}
	return statuses, nil
}

func writeCSV(to io.Writer, results iter.Seq2[pipeline.Result, error]) error {
	return writeCells(to, results, func(cell string) string { return cell })
}

func writeSpreadsheet(to io.Writer, results iter.Seq2[pipeline.Result, error]) error {
	return writeCells(to, results, plainCell)
}

func writeCells(to io.Writer, results iter.Seq2[pipeline.Result, error], cell func(string) string) error {
	w, fields := csv.NewWriter(to), make([]string, 0, len(sink.Header))
	w.Write(sink.Header)
	for r, err := range results {
		if err == nil {
			fields = sink.AppendFields(fields[:0], &r)
			for i := range fields {
				fields[i] = cell(fields[i])
			}
			err = w.Write(fields)
		}
		if err != nil {
			w.Flush()
			return err
		}
	}
	w.Flush()
	return w.Error()
}

// writeJSONLines writes objects with the names of the CSV's header. What a CSV
// leaves empty is not there.
func writeJSONLines(to io.Writer, results iter.Seq2[pipeline.Result, error]) error {
	w := bufio.NewWriter(to)
	lines := json.NewEncoder(w)
	lines.SetEscapeHTML(false)
	for r, err := range results {
		if err == nil {
			err = lines.Encode(resultLine{r.Key, r.Token, r.Topic, r.Status, r.Code, r.Attempts, r.RegistrationToken, json.RawMessage(r.Detail)})
		}
		if err != nil {
			w.Flush()
			return err
		}
	}
	return w.Flush()
}

type resultLine struct {
	Row               string          `json:"row"`
	Token             string          `json:"token"`
	Topic             string          `json:"topic"`
	Status            pipeline.Status `json:"status"`
	Code              string          `json:"code,omitempty"`
	Attempts          int             `json:"attempts"`
	RegistrationToken string          `json:"registration_token,omitempty"`
	Detail            json.RawMessage `json:"detail,omitempty"`
}
