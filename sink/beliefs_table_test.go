package sink

import (
	"cmp"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/bulksub/bulksub/internal/pgtest"
	"github.com/bulksub/bulksub/pipeline"
)

// beliefTable is the table in the doc comment of belief: what becomes of a state by an event.
func beliefTable(t *testing.T) (before, events []string, after map[[2]string]string) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "beliefs.go", nil, parser.ParseComments)
	must(t, err)
	var doc string
	for _, decl := range file.Decls {
		if d, ok := decl.(*ast.GenDecl); ok && d.Tok == token.TYPE && d.Specs[0].(*ast.TypeSpec).Name.Name == "belief" {
			doc = d.Doc.Text()
		}
	}
	_, table, found := strings.Cut(doc, "\n\tbefore ")
	table, _, ends := strings.Cut(table, "\n\n")
	if !found || !ends {
		t.Fatalf("no table in %q", doc)
	}
	lines := strings.Split(table, "\n")
	events, after = strings.Fields(lines[0]), make(map[[2]string]string)
	for _, line := range lines[1:] {
		cells := strings.Fields(line)
		if len(cells) != 1+len(events) {
			t.Fatalf("%d events, and %q", len(events), line)
		}
		before = append(before, cells[0])
		for i, e := range events {
			after[[2]string{cells[0], e}] = cells[1+i]
		}
	}
	return before, events, after
}

// beliefEvents make each event of the table happen to all tokens at once.
var beliefEvents = map[string]func(t *testing.T, p *Postgres, tokens []string){
	"announce": func(t *testing.T, p *Postgres, tokens []string) {
		must(t, p.Announce(t.Context(), add("news"), tokens))
	},
	"unanswered": func(t *testing.T, p *Postgres, tokens []string) {
		must(t, p.Ended(t.Context(), drop("news"), tokens, true))
	},
	"subscribed":   recorded(pipeline.Result{Fate: &pipeline.Fate{Status: pipeline.OK, Done: []pipeline.Action{add("news")}}}),
	"unsubscribed": recorded(pipeline.Result{Fate: &pipeline.Fate{Status: pipeline.OK, Done: []pipeline.Action{drop("news")}}}),
	"refused":      recorded(pipeline.Result{Fate: &pipeline.Fate{Op: pipeline.Subscribe, Topic: "news", Status: pipeline.Denied}}),
	"failed":       recorded(pipeline.Result{Fate: &pipeline.Fate{Op: pipeline.Unsubscribe, Topic: "news", Status: pipeline.Failed}}),
	"gone": func(t *testing.T, p *Postgres, tokens []string) {
		must(t, p.Record(t.Context(), []pipeline.Result{{Claim: p.held.all()[1], Key: "fine", Token: "fine", Fate: &pipeline.Fate{Status: pipeline.OK}}}))
		recorded(pipeline.Result{Fate: &pipeline.Fate{Topic: "else", Status: pipeline.NotFound}})(t, p, tokens)
	},
	"gone?": recorded(pipeline.Result{Fate: &pipeline.Fate{Topic: "else", Status: pipeline.NotFound}}),
}

// recorded records such a result for each token.
func recorded(r pipeline.Result) func(t *testing.T, p *Postgres, tokens []string) {
	return func(t *testing.T, p *Postgres, tokens []string) {
		t.Helper()
		var all []pipeline.Result
		for _, token := range tokens {
			r.Claim, r.Key, r.Token = p.held.all()[1], token, token
			all = append(all, r)
		}
		must(t, p.Record(t.Context(), all))
	}
}

// beliefsMade has each state of the table that has a row, in every way in which a row can be in it. A
// token tells its state and its since, and the rest tells tokens apart.
const beliefsMade = `
	insert into bulksub.subscriptions (topic, token, since, doubted, caller, earlier, job_id)
	select 'news', concat_ws('|', state, since, caller, earlier is null), since::timestamptz, doubted, (@callers::jsonb->>caller)::bigint, earlier, job
	from (values
		('held', '{epoch}'::text[], null::timestamptz, '{null}'::text[], null::timestamptz, 0),
		('new', '{-infinity}', clock_timestamp() + '1 minute', '{own}', null, @own_job),
		('own', '{epoch}', clock_timestamp() + '1 minute', '{own}', null, @own_job),
		('lasts', '{-infinity,epoch}', clock_timestamp() + '1 minute', '{other,nobody}', null, 0),
		('lasts', '{-infinity,epoch}', clock_timestamp() + '1 minute', '{other}', '-infinity', 0),
		('busy', '{-infinity,epoch}', clock_timestamp() - '1 minute'::interval, '{other,nobody}', null, @busy_job),
		('busy', '{-infinity,epoch}', clock_timestamp() - '1 minute'::interval, '{other}', '-infinity', @busy_job),
		('over', '{-infinity,epoch}', clock_timestamp() - '1 minute'::interval, '{other,nobody}', null, 0),
		('over', '{-infinity,epoch}', clock_timestamp() - '1 minute'::interval, '{other}', '-infinity', 0),
		('own/lasts', '{-infinity,epoch}', clock_timestamp() + '2 minutes', '{own}', clock_timestamp() + '1 minute', @own_job),
		('own/over', '{-infinity,epoch}', clock_timestamp() + '1 minute', '{own}', '-infinity', @own_job)
	) as made (state, sinces, doubted, callers, earlier, job), unnest(sinces) as since, unnest(callers) as caller`

// makeBeliefs makes all of them, for a topic under sync and two jobs that are at work.
func makeBeliefs(t *testing.T, db *pgxpool.Pool) (own, busy *Postgres) {
	t.Helper()
	mustExec(t, db, `insert into bulksub.synced (topic, kind) values ('news', 'k')`)
	own, busy = newPostgres(t, db, "own"), newPostgres(t, db, "busy")
	claim(t, own, 1)
	claim(t, busy, 1)
	mustExec(t, db, beliefsMade, pgx.StrictNamedArgs{
		"callers": map[string]int64{"own": own.caller.number, "other": busy.caller.number, "nobody": 0}, "own_job": own.job.ID, "busy_job": busy.job.ID})
	return own, busy
}

// beliefSeen is what a row says.
type beliefSeen struct {
	State  string
	Since  string // "-infinity", "epoch", or "now" for what is later
	Future bool   // doubted is
	Broken bool   // the columns contradict each other
}

const beliefsSeen = `
	select token, case
			when doubted is null then 'held'
			when caller = @own and earlier is null then case since when '-infinity' then 'new' else 'own' end
			when caller = @own then case earlier when '-infinity' then 'own/over' else 'own/lasts' end
			when doubted > clock_timestamp() then 'lasts'
			when job_id = @busy_job then 'busy'
			else 'over'
		end, case since when '-infinity' then '-infinity' when 'epoch' then 'epoch' else 'now' end,
		coalesce(doubted > clock_timestamp(), false),
		doubted is null and (earlier is not null or since = '-infinity') or doubted is not null and caller is null or caller = 0 and earlier is not null
	from bulksub.subscriptions where topic = 'news'`

func seeBeliefs(t *testing.T, db *pgxpool.Pool, own, busy *Postgres) map[string]beliefSeen {
	t.Helper()
	seen := make(map[string]beliefSeen)
	var token string
	var b beliefSeen
	rows, _ := db.Query(t.Context(), beliefsSeen, pgx.StrictNamedArgs{"own": own.caller.number, "busy_job": busy.job.ID})
	_, err := pgx.ForEachRow(rows, []any{&token, &b.State, &b.Since, &b.Future, &b.Broken}, func() error {
		seen[token] = b
		return nil
	})
	must(t, err)
	return seen
}

// TestBeliefTable walks through the table in the doc comment of belief: each cell is one test.
func TestBeliefTable(t *testing.T) {
	t.Parallel()
	states, events, after := beliefTable(t)
	if len(states) != 9 || len(events) != len(beliefEvents) {
		t.Fatalf("states %v, events %v", states, events)
	}
	for _, event := range events {
		t.Run(event, func(t *testing.T) {
			t.Parallel()
			db := pgtest.New(t)
			own, busy := makeBeliefs(t, db)
			before := seeBeliefs(t, db, own, busy)
			tokens := append(slices.Sorted(maps.Keys(before)), "none")
			beliefEvents[event](t, own, tokens)
			now := seeBeliefs(t, db, own, busy)
			for _, state := range states {
				t.Run(state, func(t *testing.T) {
					ways := 0
					for _, token := range tokens {
						if made, _, _ := strings.Cut(token, "|"); made == state {
							ways++
							wantBelief(t, token, event, before[token], now[token], after[[2]string{state, event}])
						}
					}
					if ways == 0 {
						t.Error("no belief is in that state")
					}
				})
			}
		})
	}
}

// wantBelief compares what has become of a belief, and what the text below the table says of its times.
func wantBelief(t *testing.T, token, event string, before, now beliefSeen, state string) {
	t.Helper()
	made, _, _ := strings.Cut(token, "|")
	if cmp.Or(before.State, "none") != made {
		t.Errorf("%s was %+v", token, before)
	}
	var want beliefSeen
	if state != "none" {
		want = beliefSeen{State: state, Since: cmp.Or(before.Since, "-infinity")}
		if event == "subscribed" {
			want.Since = "now"
		}
		switch state {
		case "lasts", "own/lasts", "own/over":
			want.Future = true
		case "new", "own":
			want.Future = event != "failed"
		}
	}
	if now != want {
		t.Errorf("%s: %s makes %+v of it, want %+v", token, event, now, want)
	}
}

// TestWhatASyncMakesOfABelief: what is in doubt is sent again if it is wanted and taken back if not, but for
// what a job at work will tell of.
func TestWhatASyncMakesOfABelief(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	own, busy := makeBeliefs(t, db)
	seen := seeBeliefs(t, db, own, busy)
	for _, atWork := range []bool{true, false} {
		all, nothing := Difference{Wanted: int64(len(seen))}, Difference{}
		for _, b := range seen {
			job := slices.Contains([]string{"new", "own", "own/lasts", "own/over", "busy"}, b.State)
			switch {
			case b.State == "held", atWork && job && b.Since != "-infinity":
				all.Believed++
			case atWork && job:
				all.Add++
			default:
				all.Believed, all.Assert = all.Believed+1, all.Assert+1
				if b.Since == "-infinity" {
					nothing.Doubted++
				}
			}
		}
		all.Batches, nothing.Batches = 1, 1
		nothing.Believed, nothing.Remove = all.Believed, all.Believed
		for query, want := range map[string]Difference{`select token, topic from bulksub.subscriptions`: all, some("news", 1, 0): nothing} {
			s := wish(t, db, "news", query)
			s.AllowEmpty = true
			d, err := Compare(t.Context(), db, asked, s, "", time.Minute)
			must(t, err)
			wantDifference(t, d, want)
		}
		must(t, own.Close())
		must(t, busy.Close())
	}
}
