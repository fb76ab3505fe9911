package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"

	"github.com/bulksub/bulksub/pipeline"
)

// signals is what the program was told from outside. The first signal asks it to
// drain; the second ends it where it stands.
type signals struct {
	first   atomic.Pointer[os.Signal]
	stop    chan struct{} // closed by the first signal
	release func()
}

// catchSignals begins to listen, until release.
func catchSignals(ctx context.Context) (context.Context, *signals) {
	s := &signals{stop: make(chan struct{})}
	caught := make(chan os.Signal, 2)
	done := make(chan struct{})
	signal.Notify(caught, os.Interrupt, syscall.SIGTERM)
	go func() {
		for {
			select {
			case got := <-caught:
				s.take(got)
			case <-done:
				return
			}
		}
	}()
	s.release = func() {
		signal.Stop(caught)
		close(done)
	}
	return context.WithValue(ctx, signalsKey{}, s), s
}

type signalsKey struct{}

// signalsOf finds the signals that execute listens to.
func signalsOf(ctx context.Context) *signals { return ctx.Value(signalsKey{}).(*signals) }

func (s *signals) take(got os.Signal) {
	if !s.first.CompareAndSwap(nil, &got) {
		os.Exit(s.exitCode())
	}
	close(s.stop)
}

// got is the first signal, or nil.
func (s *signals) got() os.Signal {
	if p := s.first.Load(); p != nil {
		return *p
	}
	return nil
}

// verdict is err, or [pipeline.ErrStopped] if it is only that a signal has cut work short.
func (s *signals) verdict(err error) error {
	if s.got() != nil && errors.Is(err, context.Canceled) {
		return pipeline.ErrStopped
	}
	return err
}

func (s *signals) exitCode() int {
	if s.got() == syscall.SIGTERM {
		return exitTerminated
	}
	return exitInterrupted
}

// until returns a context that ends with the first signal, for work that can be
// dropped.
func (s *signals) until(ctx context.Context) (context.Context, context.CancelFunc) {
	return until(ctx, s.stop)
}

func until(ctx context.Context, stop <-chan struct{}) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		select {
		case <-stop:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}
