package postgres

import (
	"context"
	"io"
	"testing"
	"testing/synctest"
	"time"
)

// TestTellWaits: a wait that lasts is told from its fifth second on, and one that is over soon is not.
func TestTellWaits(t *testing.T) {
	for _, test := range []struct {
		patience time.Duration
		told     bool
	}{{4 * time.Second, false}, {time.Minute, true}} {
		synctest.Test(t, func(t *testing.T) {
			began, tries, tells := time.Now(), 0, 0
			ctx := TellWaits(t.Context(), func(err error) {
				if tells++; err != io.EOF || time.Since(began) < 5*time.Second || time.Since(began) > test.patience {
					t.Errorf("told of %v after %v", err, time.Since(began))
				}
			})
			Retrier{Patience: test.patience, Timeout: time.Second}.Do(ctx, func(context.Context, bool) error {
				if time.Since(began) >= 5*time.Second {
					tries++
				}
				return io.EOF
			})
			if test.told != (tells > 0) || test.told && tells != tries-1 {
				t.Errorf("told %d times of %d failures", tells, tries)
			}
		})
	}
}
