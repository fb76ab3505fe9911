package iidtest

import (
	"bytes"
	"context"
	"net/http"
	"time"
)

// Slow carries the call out and keeps the caller waiting for the headers.
func Slow(d time.Duration) Fault {
	return Fault{Name: "slow+" + d.String(), Serve: func(w http.ResponseWriter, r *http.Request, next func() Answer) {
		a := next()
		mustPause(r.Context(), d)
		a.Send(w)
	}}
}

// Dripping carries the call out and sends the body one byte per interval.
func Dripping(interval time.Duration) Fault {
	name := "drip+" + interval.String()
	return Fault{Name: name, Serve: func(w http.ResponseWriter, r *http.Request, next func() Answer) {
		a := next()
		a.sendHeader(w)
		for i := range a.Body {
			mustSend(w, a.Body[i:i+1])
			mustPause(r.Context(), interval)
		}
	}}
}

// Endless carries the call out and answers with results that never stop.
func Endless() Fault {
	return Fault{Name: "endless", Serve: func(w http.ResponseWriter, r *http.Request, next func() Answer) {
		next()
		w.Header().Set("Content-Type", "application/json; charset=UTF-8")
		mustSend(w, []byte(`{"results":[{}`))
		more := bytes.Repeat([]byte(`,{}`), 10_000)
		for r.Context().Err() == nil {
			mustSend(w, more)
		}
		panic(http.ErrAbortHandler)
	}}
}

// mustSend and mustPause end the call when the caller has gone.
func mustSend(w http.ResponseWriter, b []byte) {
	if _, err := w.Write(b); err != nil || http.NewResponseController(w).Flush() != nil {
		panic(http.ErrAbortHandler)
	}
}

func mustPause(ctx context.Context, d time.Duration) {
	if pause(ctx, d) != nil {
		panic(http.ErrAbortHandler)
	}
}
