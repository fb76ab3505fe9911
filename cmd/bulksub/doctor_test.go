package main

import (
	"errors"
	"testing"
	"time"

	"github.com/bulksub/bulksub/source"
)

func TestClocksAgree(t *testing.T) {
	ours := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	for ahead, want := range map[time.Duration]string{
		0:                "",
		59 * time.Second: "",
		-time.Minute:     "",
		5 * time.Minute:  "this machine's clock is 5m0s ahead of that of the service; set it, or have NTP set it",
		-2 * time.Hour:   "this machine's clock is 2h0m0s behind that of the service; set it, or have NTP set it",
	} {
		_, err := agreeing("the service", ours.Add(-ahead), ours)
		if got := errorText(err); got != want || err != nil && exitCode(err) != exitConfiguration {
			t.Errorf("%v ahead: %q, want %q", ahead, got, want)
		}
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestFirstFinding(t *testing.T) {
	away := finding{err: errors.New("no answer")}
	input := finding{err: &source.InputError{}}
	for _, test := range []struct {
		findings []finding
		want     int
	}{
		{[]finding{{}, {}}, exitDone},
		{[]finding{{}, away, input}, exitUnavailable},
		{[]finding{input, away, {}}, exitInput},
	} {
		d := &doctor{findings: test.findings}
		if got := exitCode(d.verdict()); got != test.want {
			t.Errorf("%v: %d, want %d", test.findings, got, test.want)
		}
	}
}
