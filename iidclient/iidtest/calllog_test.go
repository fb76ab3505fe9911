package iidtest_test

import (
	"bufio"
	"fmt"
	"net"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/bulksub/bulksub/iidclient/iidtest"
)

func TestCallLog(t *testing.T) {
	at := time.Unix(1000, 0)
	c := open(t, iidtest.Config{Now: func() time.Time { return at }})
	c.add("news", "a", "b")
	c.service.SetFaults(plan(t, "503=first:1"), plan(t, "truncated=every:3"), plan(t, "applied-reset=every:2"))
	c.remove("news", "a")
	c.add("news", "a", "b", "c")
	c.add("news", "a")
	c.post("/iid/v1/a/rel/topics/sport", "")
	c.post("/nowhere", "")
	want := []iidtest.Call{
		{Number: 1, Endpoint: "batchAdd", Topic: "news", Tokens: 2, Status: 200},
		{Number: 2, Endpoint: "batchRemove", Topic: "news", Tokens: 1, Status: 503, Fault: "503"},
		{Number: 3, Endpoint: "batchAdd", Topic: "news", Tokens: 3, Status: 0, Fault: "applied-reset"},
		{Number: 4, Endpoint: "batchAdd", Topic: "news", Tokens: 1, Status: 200, Fault: "truncated+10"},
		{Number: 5, Endpoint: "relation", Topic: "sport", Tokens: 1, Status: 0, Fault: "applied-reset"},
		{Number: 6, Status: 404},
	}
	for i := range want {
		want[i].Time = at
	}
	if got := c.service.Calls(); !slices.Equal(got, want) {
		t.Errorf("got\n%+v\nwant\n%+v", got, want)
	}
	if c.service.Ops() != 8 {
		t.Errorf("%d operations, want 8", c.service.Ops())
	}
}

func TestPeakOps(t *testing.T) {
	at := time.Unix(1000, 0)
	service := iidtest.New(iidtest.Config{AnyBearer: true, Now: func() time.Time { return at }})
	if got := service.PeakOps(time.Second); got != 0 {
		t.Errorf("of nothing: %d", got)
	}
	for _, call := range []struct {
		after  time.Duration
		tokens int
	}{{0, 4}, {999 * time.Millisecond, 3}, {time.Millisecond, 2}, {5 * time.Second, 6}} {
		at = at.Add(call.after)
		serve(t, service, "t", tokens(0, call.tokens)...)
	}
	for window, want := range map[time.Duration]int{time.Millisecond: 6, time.Second: 7, 1001 * time.Millisecond: 9, time.Minute: 15} {
		if got := service.PeakOps(window); got != want {
			t.Errorf("in %v: %d, want %d", window, got, want)
		}
	}
}

func TestCallLogIsBounded(t *testing.T) {
	service := iidtest.New(iidtest.Config{})
	const calls = 150_001
	for range calls {
		service.ServeHTTP(&discard{}, nowhere)
	}
	got := service.Calls()
	if len(got) > 100_000 || got[len(got)-1].Number != calls || got[0].Number != calls-len(got)+1 {
		t.Errorf("%d calls, %d to %d", len(got), got[0].Number, got[len(got)-1].Number)
	}
}

func TestOnCallComesBetweenEffectAndAnswer(t *testing.T) {
	for _, faults := range [][]iidtest.Plan{nil, {plan(t, "applied-reset")}} {
		var service *iidtest.Running
		reached, release := make(chan int), make(chan struct{})
		c := open(t, iidtest.Config{Faults: faults, OnCall: func(call iidtest.Call) {
			reached <- service.Count(call.Topic)
			<-release
		}})
		service = c.service
		answered := make(chan reply, 1)
		var caller sync.WaitGroup
		caller.Go(func() { answered <- c.add("t", "x") })
		if applied := <-reached; applied != 1 {
			t.Errorf("%d applied when OnCall was called", applied)
		}
		for range 1000 {
			runtime.Gosched()
		}
		if len(answered) > 0 {
			t.Errorf("answered before OnCall returned: %v", <-answered)
		}
		close(release)
		caller.Wait()
	}
}

// hijackable notes when its connection is taken.
type hijackable struct {
	discard
	events *[]string
}

func (h *hijackable) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	*h.events = append(*h.events, "taken")
	here, there := net.Pipe()
	return here, nil, there.Close()
}

func TestOnCallComesBeforeAConnectionIsCut(t *testing.T) {
	var events []string
	service := iidtest.New(iidtest.Config{
		Faults: []iidtest.Plan{plan(t, "reset")},
		OnCall: func(iidtest.Call) { events = append(events, "called") },
	})
	service.ServeHTTP(&hijackable{events: &events}, callWith("{}"))
	if want := []string{"called", "taken"}; !slices.Equal(events, want) {
		t.Errorf("got %q want %q", events, want)
	}
}

func TestOnCallIsCalledOncePerCallWhateverHappens(t *testing.T) {
	var mu sync.Mutex
	var seen []string
	c := open(t, iidtest.Config{OnCall: func(call iidtest.Call) {
		mu.Lock()
		defer mu.Unlock()
		seen = append(seen, fmt.Sprint(call.Fault, " ", call.Status))
	}})
	for _, name := range []string{"503", "reset", "applied-reset", "truncated", "html"} {
		c.service.SetFaults(plan(t, name))
		c.client.CloseIdleConnections()
		c.add("t", "x")
	}
	c.service.SetFaults()
	c.add("t", "x")
	want := []string{"503 503", "reset 0", "applied-reset 0", "truncated+10 200", "html 200", " 200"}
	mu.Lock()
	defer mu.Unlock()
	if !slices.Equal(seen, want) {
		t.Errorf("got %q want %q", seen, want)
	}
}

func TestConcurrentCallers(t *testing.T) {
	c := open(t, iidtest.Config{Fates: iidtest.Mix{Transient: 0.5}.Fate})
	var callers sync.WaitGroup
	for worker := range 8 {
		callers.Go(func() {
			for try := range 5 {
				c.add("t", tokens(worker*100, worker*100+150)...)
				c.service.SetFaults(plan(t, fmt.Sprintf("503=every:%d", try+5)))
				c.service.Subscribers("t")
				c.service.PeakOps(time.Second)
			}
		})
	}
	callers.Wait()
	c.service.SetFaults()
	c.add("t", tokens(0, 850)...)
	c.add("t", tokens(0, 850)...)
	if got := c.service.Count("t"); got != 850 || c.service.Ops() != 8*5*150+2*850 {
		t.Errorf("%d subscribed, %d operations", got, c.service.Ops())
	}
}
