package postgres

import (
	"context"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// room is how many connections of a pool may be in use at once. The pool's own bound cannot be
// changed while it is open, so room stands at its door, which pgxpool opens to tracers only.
type room struct {
	seats chan struct{} // that are free

	mu   sync.Mutex
	most int
	debt int // seats that are taken away when they come free
}

var (
	_ pgxpool.AcquireTracer = (*room)(nil)
	_ pgxpool.ReleaseTracer = (*room)(nil)
	_ pgx.QueryTracer       = (*room)(nil)
)

func newRoom(most int) *room {
	r := &room{seats: make(chan struct{}, MostConnections)}
	r.allow(most)
	return r
}

// allow changes how many seats there are, and reports whether there are fewer.
func (r *room) allow(most int) (fewer bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	fewer = most < r.most
	for ; r.most < most; r.most++ {
		r.free()
	}
	for ; r.most > most; r.most-- {
		select {
		case <-r.seats:
		default:
			r.debt++
		}
	}
	return fewer
}

func (r *room) free() {
	if r.debt > 0 {
		r.debt--
		return
	}
	r.seats <- struct{}{}
}

// seated marks the context of an acquisition that has a seat.
type seated struct{}

// TraceAcquireStart waits for a seat.
func (r *room) TraceAcquireStart(ctx context.Context, _ *pgxpool.Pool, _ pgxpool.TraceAcquireStartData) context.Context {
	select {
	case <-r.seats:
		return context.WithValue(ctx, seated{}, true)
	case <-ctx.Done():
		return ctx
	}
}

// TraceAcquireEnd gives the seat back if there is no connection to sit on.
func (r *room) TraceAcquireEnd(ctx context.Context, _ *pgxpool.Pool, data pgxpool.TraceAcquireEndData) {
	if data.Err != nil && ctx.Value(seated{}) != nil {
		r.TraceRelease(nil, pgxpool.TraceReleaseData{})
	}
}

// TraceRelease gives the seat back.
func (r *room) TraceRelease(*pgxpool.Pool, pgxpool.TraceReleaseData) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.free()
}

// TraceQueryStart does nothing.
func (*room) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	return ctx
}

// TraceQueryEnd does nothing.
func (*room) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

// Allow changes how many connections of a pool of [Connect] may be in use at once, 1 to
// [MostConnections]; those that there are too many of are closed as they come free. It does
// nothing if the URL has said how many there may be.
func Allow(pool *pgxpool.Pool, most int) {
	if r, ok := pool.Config().ConnConfig.Tracer.(*room); ok && r.allow(most) {
		pool.Reset()
	}
}

// Aside asks what cannot wait: on a connection of the pool, or, if none comes free in time, on one
// of its own that is closed again.
func Aside(ctx context.Context, pool *pgxpool.Pool, wait time.Duration, ask func(Querier) error) error {
	soon, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	if conn, err := pool.Acquire(soon); err == nil {
		defer conn.Release()
		return ask(conn)
	}
	own, err := pgx.ConnectConfig(ctx, pool.Config().ConnConfig)
	if err != nil {
		return err
	}
	defer own.Close(context.WithoutCancel(ctx))
	return ask(own)
}
