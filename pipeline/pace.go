package pipeline

import "time"

// Pace measures what was granted over the last one to two seconds. Its zero value
// has granted nothing.
type Pace struct {
	began   time.Time
	granted int // since began
	before  int // in the second before that
}

// Add notes that n operations were granted.
func (p *Pace) Add(now time.Time, n int) {
	p.turn(now)
	p.granted += n
}

// Rate is the number of operations in a second of late.
func (p *Pace) Rate(now time.Time) float64 {
	p.turn(now)
	return max(float64(p.before), float64(p.granted))
}

func (p *Pace) turn(now time.Time) {
	switch past := now.Sub(p.began); {
	case past < time.Second:
		return
	case past < 2*time.Second:
		p.before = p.granted
	default:
		p.before = 0
	}
	p.began, p.granted = now, 0
}
