package main

import (
	"context"
	"net/http"
	"net/url"
	"sync/atomic"

	firebase "firebase.google.com/go/v4"
	"firebase.google.com/go/v4/messaging"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/errgroup"
	"google.golang.org/api/option"
)

// rows are what a call takes.
type rows struct {
	ids    []int64
	tokens []string
}

// subscribeBySDK is the program that many would write: one query reads the table, goroutines call the SDK with 1,000
// tokens each, and what came of them is inserted with one statement. It says how many were subscribed.
func subscribeBySDK(ctx context.Context, e env) error {
	client, err := newSDK(ctx, e.endpoint)
	if err != nil {
		return err
	}
	config, err := pgxpool.ParseConfig(e.database)
	if err != nil {
		return err
	}
	config.MaxConns = int32(min(e.callers, 16) + 1)
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return err
	}
	defer pool.Close()
	var done atomic.Int64
	batches := make(chan rows)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return readTable(ctx, pool, e.rows, batches) })
	for range e.callers {
		group.Go(func() error {
			for batch := range batches {
				ok, err := subscribe(ctx, client, pool, batch)
				if err != nil {
					return err
				}
				done.Add(int64(ok))
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return say(map[string]int64{"ok": done.Load()})
}

// newSDK is the SDK's client with a transport like its own, but for where its calls go.
func newSDK(ctx context.Context, endpoint string) (*messaging.Client, error) {
	to, err := url.Parse(endpoint)
	if err != nil {
		return nil, err
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = 100
	app, err := firebase.NewApp(ctx, &firebase.Config{ProjectID: "bulksub-stand-in"}, option.WithHTTPClient(&http.Client{Transport: detour{to, transport}}))
	if err != nil {
		return nil, err
	}
	return app.Messaging(ctx)
}

// detour sends calls to the stand-in.
type detour struct {
	to *url.URL
	by http.RoundTripper
}

func (d detour) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.URL.Scheme, r.URL.Host = d.to.Scheme, d.to.Host
	r.Header.Set("Authorization", "Bearer any")
	return d.by.RoundTrip(r)
}

func readTable(ctx context.Context, pool *pgxpool.Pool, limit int, batches chan<- rows) error {
	defer close(batches)
	found, err := pool.Query(ctx, `select id, token from bench limit $1`, limit)
	if err != nil {
		return err
	}
	defer found.Close()
	var batch rows
	for found.Next() {
		var id int64
		var token string
		if err := found.Scan(&id, &token); err != nil {
			return err
		}
		batch.ids, batch.tokens = append(batch.ids, id), append(batch.tokens, token)
		if len(batch.ids) == perCall {
			select {
			case batches <- batch:
			case <-ctx.Done():
				return ctx.Err()
			}
			batch = rows{}
		}
	}
	if len(batch.ids) > 0 {
		batches <- batch
	}
	return found.Err()
}

func subscribe(ctx context.Context, client *messaging.Client, pool *pgxpool.Pool, batch rows) (ok int, err error) {
	res, err := client.SubscribeToTopic(ctx, batch.tokens, "bench")
	if err != nil {
		return 0, err
	}
	status := make([]string, len(batch.ids))
	for i := range status {
		status[i] = "ok"
	}
	for _, e := range res.Errors {
		status[e.Index] = e.Reason
	}
	_, err = pool.Exec(ctx, `insert into done (id, token, topic, status) select id, token, 'bench', status from unnest($1::bigint[], $2::text[], $3::text[]) as d (id, token, status)`,
		batch.ids, batch.tokens, status)
	return res.SuccessCount, err
}
