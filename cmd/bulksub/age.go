package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"
)

// age is a time long enough to be counted in days: "30d", "12h".
type age time.Duration

var _ pflag.Value = (*age)(nil)

const day = 24 * time.Hour

// String writes it in days where it can.
func (a *age) String() string {
	switch d := time.Duration(*a); {
	case d == 0:
		return ""
	case d%day == 0:
		return strconv.FormatInt(int64(d/day), 10) + "d"
	default:
		return d.String()
	}
}

// Type is how help calls it.
func (a *age) Type() string { return "AGE" }

// Set reads it.
func (a *age) Set(text string) error {
	number, days := strings.CutSuffix(strings.TrimSpace(text), "d")
	var d time.Duration
	var err error
	if days {
		var n float64
		n, err = strconv.ParseFloat(number, 64)
		if d = time.Duration(n * float64(day)); !(n < float64(math.MaxInt64/day)) {
			err = strconv.ErrRange
		}
	} else {
		d, err = time.ParseDuration(number)
	}
	if err != nil || d < 0 {
		return fmt.Errorf("%q is not an age; write 30d or 12h", text)
	}
	*a = age(d)
	return nil
}
