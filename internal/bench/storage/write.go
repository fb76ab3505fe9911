package main

import (
	"bytes"
	"context"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"github.com/bulksub/bulksub/internal/pgcluster"
)

const perSegment = 50_000

// write writes the results as a job does: each transaction locks its segment first.
func write(ctx context.Context, cluster *pgcluster.Cluster, s shape, o options) (c cost, err error) {
	conns := make([]*pgx.Conn, max(1, s.writers))
	for i := range conns {
		if conns[i], err = pgx.Connect(ctx, cluster.URL("postgres")); err != nil {
			return c, err
		}
		defer conns[i].Close(ctx)
	}
	pg := postmaster(ctx, conns[0])
	var from string
	if err := conns[0].QueryRow(ctx, `select pg_current_wal_lsn()::text`).Scan(&from); err != nil {
		return c, err
	}
	server, client, began := treeCPU(pg), ownCPU(), time.Now()
	var group errgroup.Group
	for i, conn := range conns {
		group.Go(func() error {
			for segment := i; segment*perSegment < o.rows; segment += len(conns) {
				if err := fill(ctx, conn, s, segment+1, min(perSegment, o.rows-segment*perSegment), o.commit); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return c, err
	}
	rows := float64(o.rows)
	c.rate = rows / time.Since(began).Seconds()
	c.server, c.client = (treeCPU(pg)-server)*1e6/rows, (ownCPU()-client)*1e6/rows
	err = conns[0].QueryRow(ctx, `select (pg_current_wal_lsn() - $1::pg_lsn) / $2::float8`, from, rows).Scan(&c.wal)
	return c, err
}

func fill(ctx context.Context, conn *pgx.Conn, s shape, segment, rows, commit int) error {
	var buf []byte
	copies := max(1, s.perTx)
	for first := 0; first < rows; {
		err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, `select fence from kept.segments where number = $1 for update`, segment); err != nil {
				return err
			}
			for n := 0; n < copies && first < rows; n++ {
				size := min(commit, rows-first)
				buf = s.encode(buf[:0], segment, first, size)
				if _, err := conn.PgConn().CopyFrom(ctx, bytes.NewReader(buf), s.into); err != nil {
					return err
				}
				first += size
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func ownCPU() float64 {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}
