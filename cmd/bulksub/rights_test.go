package main

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"os/exec"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/bulksub/bulksub/internal/pgtest"
)

// A user who is given what doctor says is missing, and nothing else, can do the job; and each
// command is given less than all of them together.
func TestDoctorsRightsAreEnough(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		source string // rights on the source, which are the user's own affair
		args   string
		never  string // a right that the command has no use for
	}{
		"subscribe": {"select on users", "subscribe --topic news --table users", "bulksub.planned"},
		"delete":    {"select, delete on users", "subscribe --topic news --table users --prune delete --prune-max 100%", "bulksub.tokens"},
		"mark":      {"select, update (pruned_at) on users", "info --table users --prune mark --prune-max 100%", "insert on bulksub.subscriptions"},
		"synced":    {"select on users", "unsubscribe --topic synced --table users", "bulksub.planned"},
		"sync":      {"select on users", "sync --topic synced --table users --max-remove 100%", "bulksub.tokens"},
		"import":    {"select, update (fcm_token) on devices", "import --bundle-id a.b --table devices --write-column fcm_token", "bulksub.plans"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, db := newProgram(t, scriptFate), pgtest.New(t)
			fillTable(t, db, 100)
			must := func(sql string) {
				t.Helper()
				if _, err := db.Exec(t.Context(), sql); err != nil {
					t.Fatal(err)
				}
			}
			role := "bulksub_" + strings.ToLower(rand.Text())
			must(`alter table users add pruned_at timestamptz; create table devices (id int primary key, token text, fcm_token text);
				insert into devices select n, lpad(to_hex(n), 64, 'f') from generate_series(1, 100) n;
				insert into bulksub.synced (topic, kind, service) values ('synced', 'k', '` + p.Service.URL + `'); create role ` + role + `; grant ` + test.source + ` to ` + role)
			defer db.Exec(t.Context(), `drop owned by `+role+`; drop role `+role)
			args := append(strings.Fields(test.args), "--database-url", db.Config().ConnString()+"&options=-crole%3D"+role)
			grants := grantAll(t, p, db, role, args)
			if strings.Contains(grants, test.never) || !strings.Contains(grants, "bulksub.records") {
				t.Errorf("granted was %s", grants)
			}
			if out, code := p.output(append(args, "--rate", "0", "--attempts", "1", "--quiet")...); code != exitDone && code != exitFailedRows {
				t.Errorf("ended with %d: %s", code, out)
			}
		})
	}
}

// grantAll gives the role what doctor says it lacks, until it says so no more.
func grantAll(t *testing.T, p *program, db *pgxpool.Pool, role string, args []string) (grants string) {
	t.Helper()
	for range 5 {
		lacking := p.lacking(args)
		if lacking == "" {
			return grants
		}
		for grant := range strings.SplitSeq(lacking, "; ") {
			if _, err := db.Exec(t.Context(), grant+" to "+role); err != nil {
				t.Fatalf("%s: %v", lacking, err)
			}
		}
		grants += lacking + "; "
	}
	t.Fatalf("there is always more to grant: %s", grants)
	return grants
}

// lacking is what doctor says is to be granted in schema bulksub.
func (p *program) lacking(args []string) string {
	p.t.Helper()
	out, _ := p.output(append([]string{"doctor", "--json"}, args...)...)
	for line := range bytes.Lines(out) {
		var f finding
		if err := json.Unmarshal(line, &f); err != nil {
			p.t.Fatalf("%v: %s", err, out)
		}
		if at := strings.Index(f.Detail, "grant "); f.State == "wrong" && at >= 0 {
			return f.Detail[at:]
		} else if f.State == "wrong" {
			p.t.Fatalf("%s", out)
		}
	}
	return ""
}

// output runs the program and returns what it says on standard output, and its exit code.
func (p *program) output(args ...string) ([]byte, int) {
	p.t.Helper()
	cmd := exec.Command("bulksub", append(args, "--endpoint", p.Service.URL, "--credentials", p.Login)...)
	out, err := cmd.Output()
	if _, ok := errors.AsType[*exec.ExitError](err); !ok && err != nil {
		p.t.Fatal(err)
	}
	return out, cmd.ProcessState.ExitCode()
}
