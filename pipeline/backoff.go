package pipeline

import "time"

const (
	backoffFirst = 500 * time.Millisecond
	backoffMost  = time.Minute
	// afterMost caps a Retry-After, besides patience: a service that asks for
	// years has a broken clock, and asking again after ten minutes hurts nobody.
	afterMost = 10 * time.Minute
)

// backoff is how long to wait after so many failures in a row: half of
// 0.5 s · 2^(failures-1), at most a minute, and up to as much again by chance
// (0 ≤ chance < 1), so that workers that failed together do not come back
// together.
func backoff(failures int, chance float64) time.Duration {
	ceiling := backoffMost
	if doublings := max(failures, 1) - 1; doublings < 7 {
		ceiling = min(backoffFirst<<doublings, backoffMost)
	}
	return ceiling/2 + time.Duration(chance*float64(ceiling/2))
}

// respect is a wait as the service asked for it, or longer by up to a tenth, but
// none beyond patience.
func respect(after, patience time.Duration, chance float64) time.Duration {
	after = min(max(after, 0), afterMost, patience)
	return after + time.Duration(chance*float64(after)/10)
}
