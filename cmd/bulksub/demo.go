package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/spf13/cobra"

	"github.com/bulksub/bulksub/iidclient/iidtest"
	"github.com/bulksub/bulksub/internal/pgcluster"
	"github.com/bulksub/bulksub/internal/postgres"
)

type demoFlags struct {
	tokens      int
	dir         string
	postgres    bool
	databaseURL string
}

func demoCommand() *cobra.Command {
	var f demoFlags
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Show everything on this machine: needs nothing, calls nobody outside",
		Long: `Start the stand-in service in this process, make realistic tokens, and subscribe them.

With --postgres, do it through a throw-away database, if PostgreSQL is installed: a table, its results,
pruning, and the undoing of that. With --database-url, do it through your database, which gets the
tables of schema bulksub, and a schema bulksub_demo.`,
		Args: noWords,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.tokens < 1 {
				return usagef("--tokens is %d; it can be 1 or more", f.tokens)
			}
			return runDemo(cmd, f)
		},
	}
	cmd.Flags().IntVar(&f.tokens, "tokens", 200_000, "how many tokens to make")
	cmd.Flags().StringVar(&f.dir, "dir", "", "`DIRECTORY` for the files (default: a new one among the temporary files)")
	cmd.Flags().BoolVar(&f.postgres, "postgres", false, "through a throw-away PostgreSQL")
	cmd.Flags().StringVar(&f.databaseURL, "database-url", "", "through the Postgres at `URL`; $DATABASE_URL is left alone")
	cmd.Flags().SetAnnotation("database-url", commandLineOnly, nil)
	return cmd
}

// demo runs real commands against a stand-in.
type demo struct {
	cmd     *cobra.Command
	flags   demoFlags
	service *iidtest.Running
	login   string // the credentials file
}

// demoMix is a few per cent of everything that happens to tokens.
var demoMix = iidtest.Mix{Dead: 0.03, Invalid: 0.01, Transient: 0.02}

func runDemo(cmd *cobra.Command, f demoFlags) error {
	service, err := iidtest.Start(iidtest.Config{
		Fates:   demoMix.Fate,
		Latency: iidtest.Latency{Fixed: 20 * time.Millisecond, Jitter: 40 * time.Millisecond},
	})
	if err != nil {
		return err
	}
	defer service.Close()
	if f.dir == "" {
		if f.dir, err = os.MkdirTemp("", "bulksub-demo-"); err != nil {
			return err
		}
	} else if err := os.MkdirAll(f.dir, 0o700); err != nil {
		return &configError{err}
	}
	d := &demo{cmd: cmd, flags: f, service: service, login: filepath.Join(f.dir, "service-account.json")}
	if err := writeNew(d.login, service.CredentialsJSON(service.URL)); err != nil {
		return &configError{err}
	}
	d.say("A stand-in for Google's service listens at %s.", service.URL)
	switch {
	case f.databaseURL != "":
		return d.throughDatabase(f.databaseURL)
	case f.postgres:
		return d.throughCluster()
	default:
		return d.throughFiles()
	}
}

func (d *demo) say(format string, args ...any) {
	fmt.Fprintf(d.cmd.OutOrStdout(), format+"\n", args...)
}

// run shows a command and runs it, as if it had been typed.
func (d *demo) run(args ...string) error {
	d.say("\n$ bulksub %s\n", strings.Join(d.quoted(args), " "))
	root := newRoot(terminal{in: d.cmd.InOrStdin(), out: d.cmd.OutOrStdout(), err: d.cmd.ErrOrStderr()}, func(string) (string, bool) { return "", false })
	root.SetArgs(args)
	err := root.ExecuteContext(d.cmd.Context())
	if errors.Is(err, errFailedRows) {
		return nil
	}
	return err
}

// writeNew writes a file for its owner alone, where there is none yet.
func writeNew(path string, text []byte) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(text)
	return errors.Join(err, file.Close())
}

// quoted writes words as a shell reads them, but for a given database's URL, which
// may hold a password.
func (d *demo) quoted(words []string) []string {
	shell := make([]string, len(words))
	for i, w := range words {
		if shell[i] = w; w == d.flags.databaseURL && w != "" {
			shell[i] = `"$DATABASE_URL"`
		} else if strings.ContainsAny(w, " \t'\"$&?*;|<>()") {
			shell[i] = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
		}
	}
	return shell
}

func (d *demo) throughFiles() error {
	path := filepath.Join(d.flags.dir, "tokens.csv")
	if err := d.writeTokens(path); err != nil {
		return err
	}
	d.say("%s tokens are in %s; some of them are dead, invalid or in trouble.", thousands(int64(d.flags.tokens)), path)
	err := d.run("subscribe", "--topic", "news", "--csv", path, "--credentials", d.login, "--endpoint", d.service.URL, "--rate", "0")
	if err != nil {
		return err
	}
	d.say("\nThe stand-in counts %s subscribers of news. Its memory ends here; the files stay.", thousands(int64(d.service.Count("news"))))
	d.say("\nNext:")
	d.say("  head -3 %s.results.csv", path)
	d.say("  bulksub subscribe --topic news --csv %s --dry-run --credentials %s", path, d.login)
	d.say("  bulksub demo --postgres                     the same through a database, with pruning and its undoing")
	d.say("  bulksub subscribe --topic TOPIC --csv FILE --credentials SERVICE-ACCOUNT.json   your own tokens, for real")
	return nil
}

func (d *demo) writeTokens(path string) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return &configError{err}
	}
	defer file.Close()
	w := bufio.NewWriter(file)
	w.WriteString("user,token\n")
	for i := range d.flags.tokens {
		w.WriteString(strconv.Itoa(i + 1))
		w.WriteByte(',')
		w.WriteString(iidtest.Token(1, i))
		w.WriteByte('\n')
	}
	if err := w.Flush(); err != nil {
		return &configError{err}
	}
	return file.Close()
}

func (d *demo) throughCluster() error {
	cluster, err := pgcluster.Start(d.cmd.Context())
	if err != nil {
		return err
	}
	defer cluster.Stop()
	d.say("A throw-away PostgreSQL runs until the end of the demo.")
	return d.throughDatabase(cluster.URL("postgres"))
}

func (d *demo) throughDatabase(url string) error {
	if err := d.run("db", "migrate", "--database-url", url); err != nil {
		return err
	}
	pool, err := postgres.Connect(d.cmd.Context(), url, postgres.MostConnections)
	if err != nil {
		return err
	}
	defer pool.Close()
	if err := d.fillTable(d.cmd.Context(), pool); err != nil {
		return fmt.Errorf("fill the demo's table: %w", err)
	}
	d.say("\n%s tokens are in the table %s; some of them are dead, invalid or in trouble.", thousands(int64(d.flags.tokens)), demoTable)
	name := "demo-" + strconv.FormatInt(time.Now().Unix(), 36)
	steps := [][]string{
		{"subscribe", "--topic", "news", "--table", demoTable, "--job", name, "--prune", "delete", "--database-url", url,
			"--credentials", d.login, "--endpoint", d.service.URL, "--rate", "0"},
		{"unprune", name, "--database-url", url},
	}
	for _, step := range steps {
		if err := d.run(step...); err != nil {
			return err
		}
		var rows int64
		if err := pool.QueryRow(d.cmd.Context(), "select count(*) from "+demoTable).Scan(&rows); err != nil {
			return err
		}
		d.say("\nThe table has %s rows, and the stand-in counts %s subscribers of news.", thousands(rows), thousands(int64(d.service.Count("news"))))
	}
	if d.flags.databaseURL != "" {
		d.say("\nNext:")
		d.say("  psql \"$DATABASE_URL\" -c \"select status, count(*) from bulksub.results where job = '%s' group by status\"", name)
		d.say("  psql \"$DATABASE_URL\" -c 'drop schema bulksub_demo cascade'     when you have seen enough")
	} else {
		d.say("\nNext:\n  bulksub demo --database-url URL             the same in a database that stays")
	}
	return nil
}

const demoTable = "bulksub_demo.users"

func (d *demo) fillTable(ctx context.Context, pool *pgxpool.Pool) error {
	_, err := pool.Exec(ctx, `
		create schema if not exists bulksub_demo;
		drop table if exists bulksub_demo.users;
		create table bulksub_demo.users (id bigint primary key, token text not null, name text)`)
	if err != nil {
		return err
	}
	_, err = pool.CopyFrom(ctx, pgx.Identifier{"bulksub_demo", "users"}, []string{"id", "token", "name"},
		pgx.CopyFromSlice(d.flags.tokens, func(i int) ([]any, error) {
			return []any{int64(i + 1), iidtest.Token(1, i), fmt.Sprintf("user %d", i+1)}, nil
		}))
	if err != nil {
		return err
	}
	_, err = pool.Exec(ctx, "analyze bulksub_demo.users")
	return err
}
