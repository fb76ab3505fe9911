package iidtest

import "net/http"

// Fault is one way for a call to go wrong. The package has those that
// FaultNames lists; a test may write its own.
type Fault struct {
	// Name is how the fault is counted, logged and written in text form.
	Name string
	// Serve handles the call in place of the service. next is the service: it
	// carries the call out and returns the answer; a fault that does not call
	// it makes the call have no effect.
	Serve func(w http.ResponseWriter, r *http.Request, next func() Answer)
}

// noFault is the service on a good day.
var noFault = Fault{Serve: func(w http.ResponseWriter, _ *http.Request, next func() Answer) {
	next().Send(w)
}}
