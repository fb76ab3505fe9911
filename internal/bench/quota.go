package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"text/tabwriter"
	"time"

	"golang.org/x/sync/errgroup"
)

// pace is a rate that the user sets, 0 for none, against a quota that the service has: token operations a second.
type pace struct{ rate, quota int }

var paces = []pace{{3000, 3000}, {3000, 2000}, {0, 2000}}

// kept is what came of a pace.
type kept struct {
	used    float64 // share of the quota
	refused float64 // share of the calls
	peak    int     // operations in the second with the most
}

// keepPaces runs a job at each pace for so long, all at the same time, and prints a row for each.
func keepPaces(ctx context.Context, long time.Duration) error {
	all := make([]kept, len(paces))
	group, ctx := errgroup.WithContext(ctx)
	for i, p := range paces {
		group.Go(func() (err error) {
			all[i], err = p.keep(ctx, long)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "over %v\t--rate\tof the quota\tcalls refused\tpeak in a second\n", long)
	for i, p := range paces {
		fmt.Fprintf(w, "quota %d\t%d\t%.1f %%\t%.1f %%\t%d\n", p.quota, p.rate, 100*all[i].used, 100*all[i].refused, all[i].peak)
	}
	return w.Flush()
}

func (p pace) keep(ctx context.Context, long time.Duration) (k kept, err error) {
	s, err := build(ctx, int(math.Ceil(long.Seconds()+5))*p.quota, false)
	if err != nil {
		return k, err
	}
	defer s.close()
	s.remembers, s.quota = true, p.quota
	if err := s.reset(0); err != nil {
		return k, err
	}
	ctx, cancel := context.WithTimeout(ctx, long)
	defer cancel()
	cmd := exec.CommandContext(ctx, s.program, "subscribe", "--topic", "bench", "--rate", strconv.Itoa(p.rate), "--quiet", "--json",
		"--endpoint", s.endpoint, "--credentials", s.path("emulator.json"), "--table", "bench", "--database-url", s.url())
	cmd.Dir, cmd.Stderr = s.dir, os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	out, err := cmd.Output()
	var said struct {
		OK, Retries, Requests int
		Seconds               float64
	}
	if failed := json.Unmarshal(out, &said); failed != nil {
		return k, fmt.Errorf("%w: %s", cmp.Or(err, failed), out)
	}
	k.used = float64(said.OK) / said.Seconds / float64(p.quota)
	k.refused = float64(said.Retries) / perCall / float64(said.Requests)
	k.peak, err = s.peak()
	return k, err
}

// peak is the most operations that the stand-in has seen in a second.
func (s *stage) peak() (int, error) {
	reply, err := http.Get(s.endpoint + "/emulator/v1/stats")
	if err != nil {
		return 0, err
	}
	defer reply.Body.Close()
	var stats struct{ PeakOps int }
	return stats.PeakOps, json.NewDecoder(reply.Body).Decode(&stats)
}
