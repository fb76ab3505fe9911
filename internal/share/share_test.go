package share

import "testing"

// TestEveryPartOfAThousand: a limit is exceeded by the first part above it, and never as advised.
func TestEveryPartOfAThousand(t *testing.T) {
	for n := range int64(1001) {
		for percent := range int64(101) {
			if got, want := Exceeds(n, 1000, float64(percent)/100), n > 10*percent && percent < 100; got != want {
				t.Errorf("%d of 1,000 exceed %d %%: %v", n, percent, got)
			}
		}
		if percent := PercentAbove(n, 1000); Exceeds(n, 1000, float64(percent)/100) || percent > 100 || percent > 1 && !Exceeds(n, 1000, float64(percent-2)/100) {
			t.Errorf("%d %% are advised for %d of 1,000", percent, n)
		}
	}
}

func TestNothing(t *testing.T) {
	if Exceeds(0, 0, 0) || !Exceeds(1, 0, 0) {
		t.Error("nothing of nothing is more than nothing, or one is not")
	}
}
