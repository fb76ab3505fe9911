package sink

import "sort"

// intervals is a set of numbers as runs of neighbours, in ascending order. Rows
// are recorded nearly in order, so the runs are few however many the rows are.
type intervals []interval

type interval struct{ first, last int64 }

// at is the index of the first run that does not end before n.
func (s intervals) at(n int64) int {
	return sort.Search(len(s), func(i int) bool { return s[i].last >= n })
}

func (s intervals) has(n int64) bool {
	i := s.at(n)
	return i < len(s) && s[i].first <= n
}

func (s *intervals) add(n int64) {
	i := s.at(n)
	runs := *s
	if i < len(runs) && runs[i].first <= n {
		return
	}
	after := i < len(runs) && runs[i].first == n+1
	before := i > 0 && runs[i-1].last == n-1
	switch {
	case before && after:
		runs[i-1].last = runs[i].last
		*s = append(runs[:i], runs[i+1:]...)
	case before:
		runs[i-1].last = n
	case after:
		runs[i].first = n
	default:
		runs = append(runs, interval{})
		copy(runs[i+1:], runs[i:])
		runs[i] = interval{n, n}
		*s = runs
	}
}
