package fcmclient

import (
	"errors"
	"net"
	"net/http"

	"github.com/bulksub/bulksub/iidclient"
)

// lanes are a few connections. A plain http.Transport would open one more for each
// call that finds the others full: with hundreds of callers it greets the service with
// as many handshakes.
type lanes []*lane

var _ iidclient.Transport = lanes(nil)

// streams is how many calls a connection is counted on to carry at a time: what Google's front
// end allows, and the least that RFC 9113 recommends (section 6.5.2). Where the service allows
// fewer, calls wait for each other.
const streams = 100

func newLanes(concurrency int) lanes {
	t := iidclient.NewTransport(1)
	t.DisableCompression = true // most replies are shorter than what gzip puts before them
	t.Protocols = new(http.Protocols)
	t.Protocols.SetHTTP2(true)
	t.Protocols.SetUnencryptedHTTP2(true)
	all := make(lanes, (concurrency+streams-1)/streams)
	for i := range all {
		all[i] = &lane{transport: t, turn: make(chan struct{}, 1)}
	}
	return all
}

// mostSends is how often a call is sent that the service does not touch.
const mostSends = 8

// RoundTrip sends a call on the lane with the fewest under way, so that one that stands
// still does not gather all callers. It sends again what the service has not touched, and nothing
// else: what may have been carried out counts against the caller's rate (P5).
func (all lanes) RoundTrip(r *http.Request) (*http.Response, error) {
	for sends, refused := 1, 0; ; sends++ {
		res, err := all.freest().roundTrip(r)
		untouched, ok := errors.AsType[*untouchedError](err)
		if !ok || sends == mostSends || r.Context().Err() != nil {
			return res, err
		}
		if untouched.refused {
			refused++
		}
		if refused > len(all) { // once by each, which had not said yet how many calls it allows
			return nil, err
		}
		if r.GetBody != nil {
			again := *r
			if again.Body, err = r.GetBody(); err != nil {
				return nil, err
			}
			r = &again
		}
	}
}

func (all lanes) freest() *lane {
	free := all[0]
	for _, l := range all[1:] {
		if l.under.Load() < free.under.Load() {
			free = l
		}
	}
	return free
}

// CloseIdleConnections closes the connections when nothing is under way on them.
func (all lanes) CloseIdleConnections() {
	for _, l := range all {
		l.retire(nil)
	}
}

// address is where a call goes, with a port.
func address(r *http.Request) string {
	if r.URL.Port() != "" {
		return r.URL.Host
	}
	return net.JoinHostPort(r.URL.Hostname(), map[string]string{"http": "80", "https": "443"}[r.URL.Scheme])
}
