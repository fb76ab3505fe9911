package iidtest

import (
	"math"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// Quota is a token bucket over token operations: a batch of 1,000 costs 1,000,
// as bulksub assumes of the real service, which has never said what its unit
// is. A call of the successor API costs 1. The zero value is no quota.
type Quota struct {
	// Rate is the number of token operations that come back per second.
	Rate float64
	// Burst is the size of the bucket, full at the start. A call with more
	// tokens than Burst never passes, unless PerToken. Default: one second's
	// worth, but at least MaxBatch.
	Burst int
	// PerToken accepts what is left and answers RESOURCE_EXHAUSTED for the
	// tokens above it, the last of the batch. Default: the whole call is
	// refused with 429 when not all of it fits; that costs nothing.
	PerToken bool
	// RetryAfter is sent along with a 429, rounded up to seconds. Default: no
	// such header.
	RetryAfter time.Duration
}

func (q Quota) burst() float64 {
	if q.Burst > 0 {
		return float64(q.Burst)
	}
	return max(q.Rate, MaxBatch)
}

// refusal is the answer to a call above the quota. With PerToken the call
// succeeds, and there is none.
func (q Quota) refusal() *Answer {
	a := jsonError(http.StatusTooManyRequests, CodeResourceExhausted)
	if q.RetryAfter > 0 {
		a.Header.Set("Retry-After", seconds(q.RetryAfter))
	}
	return &a
}

func seconds(d time.Duration) string {
	return strconv.FormatInt(int64(math.Ceil(d.Seconds())), 10)
}

type bucket struct {
	quota Quota
	mu    sync.Mutex
	level float64
	at    time.Time
}

func newBucket(quota Quota, now time.Time) *bucket {
	return &bucket{quota: quota, level: quota.burst(), at: now}
}

func (b *bucket) refill(now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.level, b.at = b.quota.burst(), now
}

// take returns how many of n operations are granted, and whether the call may
// go on at all.
func (b *bucket) take(n int, now time.Time) (granted int, ok bool) {
	if b.quota.Rate == 0 {
		return n, true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.level = min(b.quota.burst(), b.level+now.Sub(b.at).Seconds()*b.quota.Rate)
	b.at = now
	granted = min(n, int(b.level))
	if granted < n && !b.quota.PerToken {
		return 0, false
	}
	b.level -= float64(granted)
	return granted, true
}
