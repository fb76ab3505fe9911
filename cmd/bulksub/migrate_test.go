package main

import (
	"slices"
	"sync/atomic"
	"testing"

	"github.com/bulksub/bulksub/iidclient/iidtest"
	"github.com/bulksub/bulksub/internal/pgtest"
)

// observer looks at two topics after every call: which of the tokens that were in
// the old one are in neither, and which are in both. It looks first at the topic that a
// token joins or leaves last, so that one that moves between two looks is not seen wrongly.
type observer struct {
	members       atomic.Pointer[[]string]
	neither, both atomic.Int64
}

func (o *observer) look(service *iidtest.Running, first, second string) {
	members := o.members.Load()
	if members == nil {
		return
	}
	in := make(map[string]int, len(*members))
	for _, topic := range []string{first, second} {
		for _, token := range service.Subscribers(topic) {
			in[token]++
		}
	}
	for _, token := range *members {
		switch in[token] {
		case 0:
			o.neither.Add(1)
		case 2:
			o.both.Add(1)
		}
	}
}

// TestMigrationLeavesNoGap: at no instant is a live token in neither topic, whatever
// happens to the calls; with the gap first, none is ever in both.
func TestMigrationLeavesNoGap(t *testing.T) {
	for name, flags := range map[string][]string{"": nil, "gap first": {"--gap-first"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var watch observer
			p, db := newProgram(t, scriptFate), pgtest.New(t)
			p.Each(func() { watch.look(p.Service, "old", "new") })
			if flags != nil {
				p.Each(func() { watch.look(p.Service, "new", "old") })
			}
			fillTable(t, db, 6000)
			args := []string{"--table", "users", "--rate", "0", "--batch-size", "250", "--database-url", db.Config().ConnString(), "--attempts", "4"}
			if code, s := p.run(append(args, "subscribe", "--topic", "old")...); code != exitFailedRows {
				t.Fatalf("ended with %d: %+v", code, s)
			}
			members := p.Service.Subscribers("old")
			watch.members.Store(&members)
			var plans []iidtest.Plan
			for _, fault := range []string{"503=10%", "applied-reset=10%", "short-list=5%"} {
				plan, err := iidtest.ParseFault(fault)
				if err != nil {
					t.Fatal(err)
				}
				plans = append(plans, plan)
			}
			p.Service.SetFaults(plans...)
			code, s := p.run(append(append(args, "migrate", "--from", "old", "--to", "new"), flags...)...)
			if code != exitFailedRows {
				t.Fatalf("ended with %d: %+v", code, s)
			}
			if n := watch.neither.Load(); (n > 0) != (name != "") {
				t.Errorf("%d times a token was in neither topic", n)
			}
			if n := watch.both.Load(); (n > 0) != (name == "") {
				t.Errorf("%d times a token was in both topics", n)
			}
			if left := p.Service.Count("old"); left != 0 || !slices.Equal(p.Service.Subscribers("new"), members) {
				t.Errorf("%d are left, %d have moved, of %d", left, p.Service.Count("new"), len(members))
			}
		})
	}
}
