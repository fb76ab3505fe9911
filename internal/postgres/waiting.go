package postgres

import (
	"context"
	"time"
)

// troubling is how long a try fails before anybody is told of it.
const troubling = 5 * time.Second

type waiting struct{}

// TellWaits returns a context under which every [Retrier] that has failed for five seconds or more
// tells each further failure before it waits. tell is called by many goroutines.
func TellWaits(ctx context.Context, tell func(err error)) context.Context {
	return context.WithValue(ctx, waiting{}, tell)
}

// tellWait tells that what has failed since then has failed again.
func tellWait(ctx context.Context, since time.Time, err error) {
	if tell, ok := ctx.Value(waiting{}).(func(error)); ok && time.Since(since) >= troubling {
		tell(err)
	}
}
