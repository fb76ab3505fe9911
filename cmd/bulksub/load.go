package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/spf13/cobra"

	"github.com/bulksub/bulksub/internal/postgres"
	"github.com/bulksub/bulksub/migrations"
	"github.com/bulksub/bulksub/pipeline"
	"github.com/bulksub/bulksub/sink"
	"github.com/bulksub/bulksub/source"
)

func loadCommand() *cobra.Command {
	var l ledgerFlags
	var tokenColumn string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "load FILE",
		Short: "Load a CSV of tokens into bulksub.tokens",
		Long: `Load a CSV of tokens into bulksub.tokens, the table that is read by default. - is standard input;
.gz and .zst are read as they are.

Tokens that look like APNs tokens are not loaded: bulksub import turns them into registration tokens. A
token that is already there, or twice in the file, is stored once. After an interruption, load the same
file again: bulksub knows what was loaded.

The summary counts malformed rows as refused; the first of them are named on standard error.`,
		Example: "  bulksub load tokens.csv.gz --token-column fcm_token\n  bulksub subscribe --topic news",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usagef("name one file; - is standard input")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return withDatabase(cmd, l, func(ctx context.Context, pool *pgxpool.Pool) error {
				if err := migrations.Check(ctx, pool); err != nil {
					return err
				}
				return load(ctx, cmd, pool, args[0], tokenColumn, asJSON)
			})
		},
	}
	l.addDatabase(cmd.Flags())
	cmd.Flags().StringVar(&tokenColumn, "token-column", "token", "`NAME` of the column that holds the token")
	cmd.Flags().BoolVar(&asJSON, "json", false, "the summary as one JSON object")
	return cmd
}

// loaded counts what became of a file's rows.
type loaded struct {
	Rows    int64 `json:"rows"`
	New     int64 `json:"new"`
	Known   int64 `json:"known"`
	Refused int64 `json:"refused"` // malformed
}

func load(ctx context.Context, cmd *cobra.Command, pool *pgxpool.Pool, path, tokenColumn string, asJSON bool) error {
	o := jobOptions{input: inputFlags{csv: path}, asked: asking{kind: fcmTokens}}
	file, err := o.input.open(ctx, source.Reading{Token: tokenColumn, Tasks: source.Always()})
	if err != nil {
		return err
	}
	defer file.Close()
	in := &input{source: file}
	if err := in.checkKind(ctx, o); err != nil {
		return err
	}
	refused := &refusals{w: cmd.ErrOrStderr(), input: in.label(o)}
	var sum loaded
	err = sum.load(ctx, pool, file, refused)
	refused.end()
	if err != nil {
		return fmt.Errorf("%w; the first %s rows are loaded, load the file again to continue", err, thousands(sum.Rows))
	}
	return sum.print(cmd.OutOrStdout(), asJSON)
}

// refusals tells of the first rows that are refused: where they stand and why, and not what
// they hold, which may be most of a token.
type refusals struct {
	w     io.Writer
	input string
	n     int64
}

// mostTold is how many rows are told of one by one.
const mostTold = 5

func (r *refusals) add(key, why string) {
	if r.n++; r.n <= mostTold {
		fmt.Fprintf(r.w, "bulksub: %s, row %s is refused: %s\n", r.input, key, why)
	}
}

func (r *refusals) end() {
	if r.n > mostTold {
		fmt.Fprintf(r.w, "bulksub: %s more rows are refused\n", thousands(r.n-mostTold))
	}
}

// loadChunk is how many tokens go into a transaction.
const loadChunk = 10_000

func (l *loaded) load(ctx context.Context, pool *pgxpool.Pool, file *source.File, refused *refusals) error {
	chunk := make([]string, 0, loadChunk)
	put := func() error {
		fresh, err := sink.LoadTokens(ctx, pool, postgres.Retrier{Patience: time.Minute, Timeout: time.Minute}, chunk)
		if err != nil {
			return err
		}
		known := int64(len(chunk)) - fresh
		l.New, l.Known, l.Refused = l.New+fresh, l.Known+known, refused.n
		l.Rows, chunk = l.New+l.Known+l.Refused, chunk[:0]
		return nil
	}
	for segment, more, err := file.Next(ctx, pipeline.Segment{}); more || err != nil; segment, more, err = file.Next(ctx, segment) {
		if err != nil {
			return err
		}
		for row, err := range file.Rows(ctx, segment) {
			if err != nil {
				return err
			}
			if flaw := cmp.Or(row.Flaw, pipeline.TokenFlaw(row.Token)); flaw != "" {
				refused.add(row.Key, flaw)
			} else {
				chunk = append(chunk, row.Token)
			}
			if len(chunk) == loadChunk {
				if err := put(); err != nil {
					return err
				}
			}
		}
	}
	return put()
}

func (l *loaded) print(w io.Writer, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(w).Encode(l)
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(table, "rows\t%s\n  new\t%s\n  known\t%s\n  refused\t%s\n", thousands(l.Rows), thousands(l.New), thousands(l.Known), thousands(l.Refused))
	return table.Flush()
}
