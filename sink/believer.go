package sink

import (
	"math"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/bulksub/bulksub/internal/postgres"
	"github.com/bulksub/bulksub/pipeline"
)

// believer keeps bulksub.subscriptions true to what one process does to topics under sync. It notes
// a call before the call is made, and again when the call has no answer, and it reads the results that
// Record writes. What it does to a row of the table is said at [belief].
type believer struct {
	pool      *pgxpool.Pool
	retry     postgres.Retrier
	caller    caller
	underway  underway
	gathering gathering
	synced    atomic.Pointer[synced] // as of the last claim; nil: before the first
	someOK    bool                   // a row of the job is ok; false: none was when we last looked
}

var _ pipeline.Herald = (*Postgres)(nil)

func newBeliever(pool *pgxpool.Pool, retry postgres.Retrier, job int64, owner string) *believer {
	return &believer{
		pool:     pool,
		retry:    retry,
		caller:   newCaller(job, owner),
		underway: underway{calls: make(map[belief]int)},
	}
}

// caller is who makes the calls of this process, and which service it calls.
type caller struct {
	job      int64
	owner    string // as in the leases
	number   int64  // random, never 0: what bulksub.subscriptions calls this process
	service  string
	doubtFor time.Duration // how long after its announcement a call may still be carried out
}

const (
	// afterGivingUp is how long after its caller has given up, or died, the service may still carry out
	// a call. Google states no limit.
	afterGivingUp = time.Minute
	// usualDoubt is doubtFor where a call has the usual time limit.
	usualDoubt = pipeline.Fresh + time.Minute + afterGivingUp
)

// newCaller is a caller of no service yet, whose calls have the usual time limit.
func newCaller(job int64, owner string) caller {
	return caller{job: job, owner: owner, number: 1 + rand.Int64N(math.MaxInt64), doubtFor: usualDoubt}
}

// calling is the same caller with a service and a time limit of its calls.
func (c caller) calling(service string, longest time.Duration) caller {
	c.service, c.doubtFor = service, pipeline.Fresh+longest+afterGivingUp
	return c
}

// Calls says which service the job calls, and how long one call may take. Beliefs are about that
// service: the results of calls to another one do not change them. Call it before [Postgres.Stage] and the first Claim.
func (b *believer) Calls(service string, longest time.Duration) {
	b.caller = b.caller.calling(service, longest)
}
