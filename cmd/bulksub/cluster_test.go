package main

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sourcegraph/conc/pool"

	"github.com/bulksub/bulksub/iidclient/iidtest"
	"github.com/bulksub/bulksub/internal/pgtest"
)

// together runs the program in several processes at once, and returns their exit
// codes.
func (p *program) together(n int, args ...string) []int {
	runs := pool.NewWithResults[int]()
	for range n {
		runs.Go(func() int {
			code, _ := p.run(args...)
			return code
		})
	}
	return runs.Wait()
}

// TestOneRateForAll: processes on one job share its rate (P5). A busy machine may
// hold each of them up by a batch between the grant and the call.
func TestOneRateForAll(t *testing.T) {
	const rows, rate, batch, processes = 130_000, 20_000, 1000, 3
	for _, command := range []string{"subscribe", "sync"} {
		t.Run(command, func(t *testing.T) {
			p, db := newProgram(t, scriptFate), pgtest.New(t)
			fillTable(t, db, rows)
			codes := p.together(processes, command, "--topic", "news", "--table", "users", "--job", "it", "--rate", "20000", "--attempts", "2",
				"--database-url", db.Config().ConnString())
			if slices.ContainsFunc(codes, func(code int) bool { return code != exitFailedRows }) {
				t.Errorf("ended with %v", codes)
			}
			if most := p.service.PeakOps(time.Second); most > rate+processes*batch {
				t.Errorf("%d token operations within a second", most)
			}
			var live []string
			for i := range rows {
				if status, _ := expected(iidtest.Token(1, i)); status == "ok" {
					live = append(live, iidtest.Token(1, i))
				}
			}
			if diff := firstDifference(p.service.Subscribers("news"), live); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestBrakeSeesAllProcesses: one process alone sees mostly rejects, the job as a
// whole has few.
func TestBrakeSeesAllProcesses(t *testing.T) {
	p, db := newProgram(t, func(token string) iidtest.Fate {
		if strings.HasPrefix(token, "rejected") {
			return iidtest.Invalid
		}
		return iidtest.Live
	}), pgtest.New(t)
	_, err := db.Exec(t.Context(), `
		create table users (id bigint primary key, token text);
		insert into users select n, case when n > 110000 then 'rejected' else 'taken' end || n from generate_series(1, 150000) n`)
	if err != nil {
		t.Fatal(err)
	}
	codes := p.together(3, "subscribe", "--topic", "news", "--table", "users", "--job", "it", "--rate", "0", "--database-url", db.Config().ConnString())
	if !slices.Equal(codes, []int{0, 0, 0}) {
		t.Errorf("ended with %v", codes)
	}
}

// TestProcessesPruneTogether: what several processes prune at the end of one job is
// pruned once, and each tells of all of it.
func TestProcessesPruneTogether(t *testing.T) {
	const rows = 120_000
	p, db := newProgram(t, scriptFate), pgtest.New(t)
	fillTable(t, db, rows)
	runs := pool.NewWithResults[summary]()
	for range 3 {
		runs.Go(func() summary {
			_, s := p.run("subscribe", "--topic", "news", "--table", "users", "--job", "it", "--rate", "0", "--attempts", "1", "--prune", "delete",
				"--database-url", db.Config().ConnString())
			return s
		})
	}
	for _, s := range runs.Wait() {
		if s.Rows != rows || s.NotFound == 0 || s.Pruned != s.NotFound {
			t.Errorf("%+v", s)
		}
	}
	var archived, left, gone int64
	err := db.QueryRow(t.Context(), `
		select (select count(*) from bulksub.pruned), (select count(*) from users),
			(select count(*) from bulksub.results where status = 'not_found')`).Scan(&archived, &left, &gone)
	if err != nil || archived != gone || left != rows-gone {
		t.Errorf("%d archived, %d left, %d gone: %v", archived, left, gone, err)
	}
}
