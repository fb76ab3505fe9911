// Package share is how the brakes that hold a prune or a sync back compare a part with a whole, and what they advise.
package share

// Exceeds reports whether n of all are more than the share, which 100 % never is. A share
// such as 0.29 is a little less than it says.
func Exceeds(n, all int64, share float64) bool {
	return share < 1 && float64(n) > share*float64(all)*(1+1e-9)
}

// PercentAbove is the next whole per cent above n of all, and 100 at most. As a limit, n of all do not exceed it.
func PercentAbove(n, all int64) int64 { return min(100*n/all+1, 100) }
