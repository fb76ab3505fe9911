package main

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/bulksub/bulksub/iidclient/iidtest"
	"github.com/bulksub/bulksub/internal/pgtest"
)

// scriptApps are the apps that the stand-in knows.
var scriptApps = []iidtest.App{
	{BundleID: "com.example.app"}, {BundleID: "com.example.app", Sandbox: true}, {BundleID: "com.example.other"},
}

// apnsFates is what becomes of an APNs token in its import, by its first byte. The
// others live.
var apnsFates = map[string]iidtest.Fate{
	"00": iidtest.Invalid,
	"01": iidtest.Unminted,
	"02": iidtest.Transient(1),
	"03": iidtest.Always(iidtest.CodeInternalServerError),
	"04": iidtest.Always(iidtest.UnknownCode),
}

// importResult is what must be recorded of an APNs token, but for its row and itself:
// topic, status, code and registration token.
func importResult(app iidtest.App, topic, token string) []string {
	switch fate := apnsFates[token[:2]]; {
	case fate == iidtest.Unminted:
		return []string{"", "failed", "OK, no registration token", ""}
	case fate == iidtest.Invalid:
		return []string{"", "invalid", fate.Code, ""}
	case fate.Code != "" && fate.Tries == 0:
		return []string{"", "failed", fate.Code, ""}
	}
	minted := iidtest.Minted(app.BundleID, app.Sandbox, token)
	if topic == "" {
		return []string{"", "ok", "", minted}
	}
	status, code := expected(minted)
	return []string{topic, status, code, minted}
}

// importDisagreement compares the results of APNs tokens 1 to n, the imports of the
// app and the subscribers of the topic ("": none) with what must become of each token. It
// is empty if all is well.
func importDisagreement(service *iidtest.Running, app iidtest.App, topic string, results []string, n int) string {
	var want, live, imports, imported []string
	for i := range n {
		token := iidtest.APNsToken(1, i)
		r := importResult(app, topic, token)
		want = append(want, strings.Join(append([]string{strconv.Itoa(i + 1), token}, r...), "|"))
		if r[3] != "" {
			imports = append(imports, token+" "+r[3])
		}
		if r[1] == "ok" && topic != "" {
			live = append(live, r[3])
		}
	}
	for _, one := range service.Imports() {
		if one.App == app {
			imported = append(imported, one.APNsToken+" "+one.RegistrationToken)
		}
	}
	if diff := firstDifference(results, want); diff != "" {
		return "results: " + diff
	}
	if diff := firstDifference(imported, imports); diff != "" {
		return "imports: " + diff
	}
	if diff := firstDifference(service.Subscribers(topic), live); diff != "" {
		return "subscribers: " + diff
	}
	return ""
}

// importLines reads a result file, as row, token, topic, status, code and registration token.
func importLines(path string) ([]string, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	records, err := csv.NewReader(file).ReadAll()
	if err != nil {
		return nil, err
	}
	var lines []string
	for _, r := range records[1:] {
		lines = append(lines, strings.Join(append(slices.Clone(r[:5]), r[6]), "|"))
	}
	return lines, nil
}

// importRows reads the same from the ledger.
func importRows(pool *pgxpool.Pool, job string) ([]string, error) {
	rows, _ := pool.Query(context.Background(), `
		select concat_ws('|', row_key, token, topic, status, coalesce(code, ''), coalesce(registration_token, ''))
		from bulksub.results where job = $1`, job)
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

func writeAPNs(path string, n int) error {
	var b strings.Builder
	b.WriteString("device,token\n")
	for i := range n {
		fmt.Fprintf(&b, "%d,%s\n", i+1, iidtest.APNsToken(1, i))
	}
	return os.WriteFile(path, []byte(b.String()), 0o600)
}

func fillDevices(pool *pgxpool.Pool, table string, n int) error {
	ctx := context.Background()
	if _, err := pool.Exec(ctx, "create table "+table+" (id bigint primary key, apns_token text, fcm_token text)"); err != nil {
		return err
	}
	_, err := pool.CopyFrom(ctx, pgx.Identifier{table}, []string{"id", "apns_token"}, pgx.CopyFromSlice(n, func(i int) ([]any, error) {
		return []any{int64(i + 1), iidtest.APNsToken(1, i)}, nil
	}))
	return err
}

// apns writes APNs tokens: `apns csv FILE N` or `apns sql TABLE N`.
func (s *script) apns(ts *testscript.TestScript, _ bool, args []string) {
	if args[0] == "sql" {
		ts.Check(fillDevices(s.pool, args[1], number(ts, args[2])))
		return
	}
	ts.Check(writeAPNs(ts.MkAbs(args[1]), number(ts, args[2])))
}

// imported compares the results of APNs tokens 1 to N with what must become of them,
// and the stand-in's memory with both: `imported csv FILE APP N [TOPIC]` or
// `imported sql JOB APP N [TOPIC]`, where APP may end in /sandbox.
func (s *script) imported(ts *testscript.TestScript, _ bool, args []string) {
	id, sandbox := strings.CutSuffix(args[2], "/sandbox")
	topic := strings.Join(args[4:], "")
	var lines []string
	var err error
	if args[0] == "sql" {
		lines, err = importRows(s.pool, args[1])
	} else {
		lines, err = importLines(ts.MkAbs(args[1]))
	}
	ts.Check(err)
	if diff := importDisagreement(s.service, iidtest.App{BundleID: id, Sandbox: sandbox}, topic, lines, number(ts, args[3])); diff != "" {
		ts.Fatalf("%s", diff)
	}
}

func TestEmulatorApps(t *testing.T) {
	config, err := emulatorFlags{apps: []string{"com.example.app", "com.example.app/sandbox", "com.example.other"}}.config()
	if err != nil || !slices.Equal(config.Import.Apps, scriptApps) {
		t.Errorf("%v, %v", config.Import.Apps, err)
	}
}

// An import that is killed at any call goes on by itself, records nothing twice, and
// keeps what it gave with the results (P1, P2).
func TestKilledImportsGoOn(t *testing.T) {
	const rows, kills = 6000, 10
	app := iidtest.App{BundleID: "com.example.app"}
	db, file := pgtest.New(t), filepath.Join(t.TempDir(), "apns.csv")
	if err := errors.Join(fillDevices(db, "devices", rows), writeAPNs(file, rows)); err != nil {
		t.Fatal(err)
	}
	for name, to := range map[string]place{
		"csv": {[]string{"--csv", file}, func() ([]string, error) { return importLines(file + ".results.csv") }},
		"table": {
			[]string{"--table", "devices", "--token-column", "apns_token", "--write-column", "fcm_token", "--job", "it", "--database-url", db.Config().ConnString()},
			func() ([]string, error) {
				wantKept(t, db)
				return importRows(db, "it")
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newProgram(t, scriptFate)
			draw := rand.New(rand.NewPCG(2, uint64(len(name))))
			args := append([]string{"import", "--bundle-id", app.BundleID, "--topic", "news", "--rate", "0", "--concurrency", "4", "--attempts", "2"}, to.args...)
			p.KillRepeatedly(kills, func() int64 { return 1 + draw.Int64N(20) }, args...)
			if code, s := p.run(args...); code != exitFailedRows || s.Rows != rows {
				t.Fatalf("the last run ended with %d: %+v", code, s)
			}
			got, err := to.results()
			if err != nil {
				t.Fatal(err)
			}
			if diff := importDisagreement(p.Service, app, "news", got, rows); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// wantKept compares what the rows and bulksub.tokens have with the results.
func wantKept(t *testing.T, db *pgxpool.Pool) {
	t.Helper()
	var ok, other, unkept int
	err := db.QueryRow(t.Context(), `
		select count(*) filter (where r.status = 'ok'),
			count(*) filter (where d.fcm_token is distinct from case when r.status = 'ok' then r.registration_token end),
			count(*) filter (where (r.status = 'ok') <> (k.token is not null))
		from devices d join bulksub.results r on r.row_key = d.id::text
		left join bulksub.tokens k on k.token = r.registration_token`).Scan(&ok, &other, &unkept)
	if err != nil || ok == 0 || other > 0 || unkept > 0 {
		t.Errorf("of %d rows that are ok, %d hold another token and %d are not kept: %v", ok, other, unkept, err)
	}
}
