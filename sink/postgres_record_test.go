package sink

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"pgregory.net/rapid"

	"github.com/bulksub/bulksub/internal/pgtest"
	"github.com/bulksub/bulksub/internal/postgres"
	"github.com/bulksub/bulksub/pipeline"
)

// TestCommitWithUnknownOutcome cuts each of a job's commits, before it reaches the
// server and after: every row is there once, and no segment is left behind.
func TestCommitWithUnknownOutcome(t *testing.T) {
	t.Parallel()
	for name, accident := range map[string]func(*pgxpool.Pool) pgtest.Accident{
		"before": func(*pgxpool.Pool) pgtest.Accident { return pgtest.CutBefore },
		"after":  func(*pgxpool.Pool) pgtest.Accident { return pgtest.CutAfter },
		"terminated": func(db *pgxpool.Pool) pgtest.Accident {
			return func(net.Conn, []byte) error {
				_, err := db.Exec(context.Background(), `select pg_terminate_backend(pid, 10000) from pg_stat_activity
					where application_name = 'victim' and datname = current_database() and state = 'idle in transaction'`)
				return err
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			db := pgtest.New(t)
			c, through := pgtest.NewCutter(t, db)
			p := newPostgres(t, through, "job")
			claim(t, p, 2)
			claim(t, p, 2)
			must(t, p.Close())
			p = newPostgres(t, through, "job")

			c.Arm(accident(db))
			first, second := claim(t, p, 2), claim(t, p, 2)
			c.Arm(accident(db))
			must(t, p.Record(t.Context(), append(results(first), results(second)...)))
			if c.Armed() {
				t.Fatal("no commit met an accident")
			}
			must(t, p.Finish(t.Context(), first))
			must(t, p.Finish(t.Context(), second))
			if got := recordedKeys(t, db); !slices.Equal(got, allRows) {
				t.Errorf("rows %v", got)
			}
			wantKeys(t, "left", work(t, p, 2, nil))
			must(t, p.Complete(t.Context()))
			if ask[string](t, db, `select state from bulksub.jobs`) != "done" {
				t.Error("a segment was left behind")
			}
		})
	}
}

// lostConn is lost when a COPY begins, and holds up the one who writes until the test has gone on.
type lostConn struct {
	net.Conn
	gone chan struct{}
}

func (c *lostConn) Write(b []byte) (int, error) {
	if len(b) < 5 || !bytes.HasPrefix(b[5:], []byte("PGCOPY")) {
		return c.Conn.Write(b)
	}
	c.Conn.Close()
	<-c.gone
	return len(b), nil
}

// TestNobodyReadsResultsAfterTheirRecord: they are something else by then, whatever the driver still sends.
func TestNobodyReadsResultsAfterTheirRecord(t *testing.T) {
	t.Parallel()
	db, gone := pgtest.New(t), make(chan struct{})
	p := newPostgres(t, pgtest.Through(t, db, func(conn net.Conn) net.Conn { return &lostConn{conn, gone} }), "job")
	p.retry.Patience = 0
	results := usual(claim(t, p, 1)) // more than goes out at a time
	if err := p.Record(t.Context(), results); err == nil {
		t.Error("recorded without a connection")
	}
	clear(results)
	close(gone)
	wantKeys(t, "recorded", recordedKeys(t, db))
}

// usual makes 1,000 results of tokens that are as long as most.
func usual(c *pipeline.Claim) (all []pipeline.Result) {
	for i := range 1_000 {
		r := result(c, strconv.Itoa(i), pipeline.OK)
		r.Token = strings.Repeat("t", 163)
		all = append(all, r)
	}
	return all
}

// TestRecordsFillPages: none is larger than a page, of which a part would be kept apart.
func TestRecordsFillPages(t *testing.T) {
	t.Parallel()
	shared := &pipeline.Fate{Op: pipeline.Subscribe, Topic: strings.Repeat("x", 20), Status: pipeline.OK, Code: "CODE", Attempts: 1}
	for name, test := range map[string]struct {
		change func(i int, r *pipeline.Result)
		most   int // records
	}{
		"usual":     {func(int, *pipeline.Result) {}, 22},
		"shared":    {func(_ int, r *pipeline.Result) { r.Fate = shared }, 22},
		"short":     {func(i int, r *pipeline.Result) { r.Token = "t" }, 16},
		"topics":    {func(i int, r *pipeline.Result) { r.Topic = fmt.Sprintf("topic-%d", i) }, 25},
		"parts":     {func(i int, r *pipeline.Result) { r.Topic = fmt.Sprintf("topic-of-a-long-name-%d", i/100) }, 24},
		"long, 2":   {func(i int, r *pipeline.Result) { r.Topic = strings.Repeat("x", 200-199*(i%2)) }, 36},
		"attempts":  {func(i int, r *pipeline.Result) { r.Attempts = 1 + i%3 }, 22},
		"late code": {func(i int, r *pipeline.Result) { r.Code = strings.Repeat("LATE", i%40/39) }, 23},
		"codes":     {func(i int, r *pipeline.Result) { r.Code = fmt.Sprintf("CODE_%d", i%7) }, 26},
		"imported":  {func(i int, r *pipeline.Result) { r.RegistrationToken = strings.Repeat("r", 163) }, 44},
		"given":     {func(i int, r *pipeline.Result) { r.RegistrationToken = fmt.Sprintf("given-%d", i) }, 26},
		"some":      {func(i int, r *pipeline.Result) { r.RegistrationToken = strings.Repeat("r", i%2*163) }, 34},
		"details":   {func(i int, r *pipeline.Result) { r.Detail = fmt.Sprintf(`{"application":"%d"}`, i) }, 28},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := pgtest.New(t)
			p := newPostgres(t, db, "job")
			results := usual(claim(t, p, 1))
			for i := range results {
				test.change(i, &results[i])
			}
			must(t, p.Record(t.Context(), results))
			if n := ask[int](t, db, `select count(*) from bulksub.records`); n > test.most {
				t.Errorf("%d records, want %d at most", n, test.most)
			}
			if n := ask[int](t, db, `select pg_relation_size(reltoastrelid) from pg_class where oid = 'bulksub.records'::regclass`); n > 0 {
				t.Errorf("%d bytes are kept apart", n)
			}
		})
	}
}

// TestRefusalIsCountedOnce: however often a commit without an answer is tried again.
func TestRefusalIsCountedOnce(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	c, through := pgtest.NewCutter(t, db)
	zombie, heir := newPostgres(t, through, "job"), newPostgres(t, db, "job")
	lost := claim(t, zombie, 1)
	mustExec(t, db, expire)
	claim(t, heir, 1)
	c.Arm(pgtest.CutAfter)
	must(t, zombie.Record(t.Context(), results(lost)))
	refused, dropped := value(t, zombie.metrics.refused), value(t, zombie.metrics.dropped)
	if c.Armed() || refused != 1 || int(dropped) != len(results(lost)) {
		t.Errorf("armed %v; %v refused, %v rows dropped", c.Armed(), refused, dropped)
	}
}

func value(t *testing.T, c prometheus.Counter) float64 {
	t.Helper()
	r := prometheus.NewPedanticRegistry()
	r.MustRegister(c)
	all, err := r.Gather()
	must(t, err)
	return all[0].GetMetric()[0].GetCounter().GetValue()
}

// TestRecordIsAllOrNothing: the last record of the transaction is there already.
func TestRecordIsAllOrNothing(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	p := newPostgres(t, db, "job")
	first, second := claim(t, p, 2), claim(t, p, 2)
	mustExec(t, db, `
		insert into bulksub.records (job_id, segment, fence, first, status, results, keys, tokens, attempts)
		values ($1, $2, $3, 3, 'ok', 1, '23', 't23', '{1}')`, p.job.ID, second.Segment.Number, second.Fence)
	if err := p.Record(t.Context(), append(results(first), results(second)...)); postgres.Code(err) != "23505" {
		t.Errorf("recorded twice: %v", err)
	}
	if got := recordedKeys(t, db); !slices.Equal(got, []string{"23"}) {
		t.Errorf("rows %v", got)
	}
}

// TestResultsComeBack sends results through COPY that have anything in common, or nothing.
func TestResultsComeBack(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	p := newPostgres(t, db, "job")
	claims := []*pipeline.Claim{claim(t, p, 2), claim(t, p, 2)}
	few := func(words ...string) *rapid.Generator[string] { return rapid.SampledFrom(words) }
	rapid.Check(t, func(t *rapid.T) {
		if _, err := db.Exec(context.Background(), `truncate bulksub.records`); err != nil {
			t.Fatal(err)
		}
		want := make([]pipeline.Result, rapid.SampledFrom([]int{1, 2, 5, 30, 2500}).Draw(t, "results"))
		one := want[0]
		for i := range want {
			if i == 0 || rapid.IntRange(0, 9).Draw(t, "other") == 0 {
				one = pipeline.Result{
					Claim: rapid.SampledFrom(claims).Draw(t, "claim"),
					Token: few("", "t", "u\x1e", "\x1e").Draw(t, "token"),
					Fate: &pipeline.Fate{
						Topic:             few("", "news", "other").Draw(t, "topic"),
						Status:            rapid.SampledFrom(pipeline.Statuses[:3]).Draw(t, "status"),
						Code:              few("", "C", "D").Draw(t, "code"),
						Attempts:          rapid.IntRange(0, 2).Draw(t, "attempts"),
						RegistrationToken: few("", "r", "s").Draw(t, "registration token"),
						Detail:            few("", `{"a": 1}`, "null").Draw(t, "detail"),
					},
				}
			}
			want[i] = one
			want[i].Key = fmt.Sprintf("%04d", i)
		}
		if err := p.Record(context.Background(), want); err != nil {
			t.Fatal(err)
		}
		var got []pipeline.Result
		for r, err := range Results(context.Background(), db, p.job, nil) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, r)
		}
		slices.SortFunc(got, func(a, b pipeline.Result) int { return strings.Compare(a.Key, b.Key) })
		for i := range want {
			want[i].Claim = nil
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("%d results came back, of %d:\n%+v\n%+v", len(got), len(want), got, want)
		}
	})
}

// TestTextComesBack sends any text through COPY.
func TestTextComesBack(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	p := newPostgres(t, db, "job")
	c := claim(t, p, 1)
	exact := []string{`\N`, `\.`, "\\", "a\tb", "a\nb", "a\rb", `\\t`, "\v\f\b", "é\u2028", "\x7f", "' \"", `C:\new`}
	check := func(t rapid.TB, in string) {
		_, err := db.Exec(context.Background(), `truncate bulksub.records`)
		if err != nil {
			t.Fatal(err)
		}
		r := pipeline.Result{Claim: c, Key: in, Token: in, Fate: &pipeline.Fate{Topic: in, Status: pipeline.Invalid, Code: in, RegistrationToken: in}}
		beside := []string{"before", "", "after"} // of the same record, if that can be
		all := []pipeline.Result{r, r, r, r}
		for i, key := range beside {
			all[i].Key, all[i].Token = "beside"+strconv.Itoa(i), key
		}
		if err := p.Record(context.Background(), all); err != nil {
			t.Fatalf("record %q: %v", in, err)
		}
		rows, _ := db.Query(context.Background(), `select token from bulksub.results where row_key like 'beside_' order by row_key`)
		if got, err := pgx.CollectRows(rows, pgx.RowTo[string]); err != nil || !slices.Equal(got, beside) {
			t.Fatalf("beside %q: %q, %v", in, got, err)
		}
		var key, token, topic string
		var code, registration, detail *string
		err = db.QueryRow(context.Background(), `select row_key, token, topic, code, registration_token, detail from bulksub.results where row_key not like 'beside_'`).
			Scan(&key, &token, &topic, &code, &registration, &detail)
		want := strings.ToValidUTF8(strings.ReplaceAll(in, "\x00", "\ufffd"), "\ufffd")
		if err != nil || key != want || token != want || topic != want || detail != nil {
			t.Fatalf("%q came back as %q, %q, %q, %v, %v", in, key, token, topic, detail, err)
		}
		if (code == nil) != (in == "") || code != nil && (*code != want || *registration != want) {
			t.Fatalf("%q came back as %v, %v", in, code, registration)
		}
	}
	for _, in := range append(exact, "", "\x1e", "a\x1eb\x1e", "\x00", "\x00\x1e", "a\xffb\xfe\xfd", "\xc3") {
		check(t, in)
	}
	alphabet := rapid.SliceOfN(rapid.OneOf(rapid.SampledFrom([]byte("\\Nt.\t\n\r\x00\x1e\xff\xc3\xa9a")), rapid.Byte()), 0, 12)
	rapid.Check(t, func(t *rapid.T) { check(t, string(alphabet.Draw(t, "text"))) })
}

func TestDetailIsKeptWordForWord(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	p := newPostgres(t, db, "job")
	c := claim(t, p, 1)
	for i, detail := range []string{`{"b":1, "a":1.50,"a":2}`, `"\u0000 \ud800"`, `1e999999`, `null`} {
		r := result(c, fmt.Sprint(i), pipeline.OK)
		r.Detail = detail
		must(t, p.Record(t.Context(), []pipeline.Result{r}))
		if got := ask[string](t, db, `select detail::text from bulksub.results where row_key = $1`, r.Key); got != detail {
			t.Errorf("%s came back as %s", detail, got)
		}
	}
}
