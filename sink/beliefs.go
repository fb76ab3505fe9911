package sink

import (
	"cmp"
	"slices"

	"github.com/bulksub/bulksub/pipeline"
)

// belief is a subscription that the service may hold, of a token to a topic under sync. It has at most
// one row in bulksub.subscriptions. What the row says depends on who reads it, here one process:
//
//	none       No row: the service does not hold it.
//	held       doubted is null: the service holds it, and last said so at since.
//	new        In doubt by a call of this process (caller is its number). The service has never said that
//	           it holds it (since is -infinity).
//	own        In doubt by a call of this process. The service has once said that it holds it.
//	lasts      In doubt by a foreign call: caller is another process, or 0 if no process will report how
//	           the call ended. The call may be carried out until doubted.
//	busy       In doubt by a foreign call. doubted is past, but another process is at work on the job
//	           job_id and may still record a result.
//	over       In doubt by a foreign call. It cannot be carried out any more, and nobody knows whether it was.
//	own/lasts  In doubt by a call of this process that was announced in lasts or busy. earlier is what
//	           doubted was then.
//	own/over   In doubt by a call of this process that was announced in over (earlier is -infinity).
//
// These are the events:
//
//	announce      This process is about to make a call that may change it.
//	unanswered    A call of this process got no answer, and may still be carried out.
//	subscribed    A result says that the service has subscribed the token.
//	unsubscribed  A result says that the service has unsubscribed the token.
//	refused       A result says that the service has refused the call.
//	failed        A result says that the call failed. It may have been carried out.
//	gone          A result says that there is no such token any more.
//	gone?         The same, while no row of the job has been ok: the service may be the wrong one.
//
// This is the state after each event:
//
//	before     announce   unanswered  subscribed  unsubscribed  refused  failed  gone  gone?
//	none       new        lasts       over        none          none     new     none  none
//	held       own        lasts       held        over          held     own     none  over
//	new        new        lasts       held        none          none     new     none  none
//	own        own        lasts       held        none          own      own     none  lasts
//	lasts      own/lasts  lasts       lasts       lasts         lasts    lasts   none  lasts
//	busy       own/lasts  lasts       busy        busy          busy     busy    none  over
//	over       own/over   lasts       over        over          over     over    none  over
//	own/lasts  own/lasts  lasts       lasts       lasts         lasts    lasts   none  lasts
//	own/over   own/over   lasts       held        none          over     over    none  lasts
//
// The result of an announced call finds new, own, own/lasts or own/over. It finds another state if the call
// was not announced, or if somebody else has changed the row since.
//
// The times: subscribed sets since to now. No other event changes since, and a row that one of them makes
// has -infinity. announce and unanswered set doubted to when the call can no longer be carried out, unless it is
// later already. failed sets it to now in new and own. A result in own/lasts sets it to earlier, and gone? leaves
// it: if that time is past, the state is over where the table says lasts.
//
// Nothing is written when time passes or a process is killed. lasts becomes busy or over by itself. The doubts of a
// process are foreign to all others, also to the next process of its job: they are lasts, and later busy or over.
//
// If another call of this process for the same belief is under way when a result is recorded, announce
// follows the event in the same transaction.
//
// A sync that plans changes no row. It takes none and held as they are. All other states are doubts: the sync
// sends the subscription again if it is wanted, and takes it back if not. But a process that is at work on the job
// job_id will itself record what has become of it: until then the sync takes it for held if the service has
// once said so, and for none if not.
type belief struct{ topic, token string }

// event is what a result says of a belief.
type event int

const (
	unsubscribed event = iota
	subscribed
	failed
	refused
	events // how many there are
)

// news is what results say of topics under sync.
type news struct {
	gone   map[string]bool // tokens that are subscribed to nothing any more
	events map[belief]event
}

// read reads the results from the last to the first: if they contradict each other, the last one counts.
// A row that was given a registration token was subscribed by that one.
func read(results []pipeline.Result, synced []string) news {
	said := news{gone: make(map[string]bool), events: make(map[belief]event)}
	for _, r := range slices.Backward(results) {
		token := storable(cmp.Or(r.RegistrationToken, r.Token))
		if tokenGone(&r) {
			said.gone[token] = true
		}
		if said.gone[token] {
			continue
		}
		note := func(a pipeline.Action, e event) {
			about := belief{a.Topic, token}
			if _, known := said.events[about]; !known && onTopic(a) && slices.Contains(synced, a.Topic) {
				said.events[about] = e
			}
		}
		switch tried := (pipeline.Action{Op: r.Op, Topic: r.Topic}); {
		case r.Status == pipeline.Failed:
			note(tried, failed)
		case r.Status != pipeline.OK:
			note(tried, refused)
		}
		for _, a := range slices.Backward(r.Done) {
			if a.Op == pipeline.Subscribe {
				note(a, subscribed)
			} else {
				note(a, unsubscribed)
			}
		}
	}
	return said
}

// touched lists the topics of all calls that the results tell of, and reports whether a token is gone.
func touched(results []pipeline.Result) (topics []string, gone bool) {
	seen := make(map[string]bool)
	touch := func(a pipeline.Action) {
		if onTopic(a) && !seen[a.Topic] {
			seen[a.Topic] = true
			topics = append(topics, a.Topic)
		}
	}
	var last *pipeline.Fate
	for i := range results {
		r := &results[i]
		if r.Fate == last {
			continue
		}
		last = r.Fate
		gone = gone || tokenGone(r)
		for _, a := range r.Done {
			touch(a)
		}
		if r.Status != pipeline.OK {
			touch(pipeline.Action{Op: r.Op, Topic: r.Topic})
		}
	}
	return topics, gone
}

// tokenGone reports whether there is no such token any more: the service does not know it, or has
// deleted it.
func tokenGone(r *pipeline.Result) bool {
	deleted := r.Status == pipeline.OK && slices.ContainsFunc(r.Done, func(a pipeline.Action) bool { return a.Op == pipeline.WebDelete })
	return deleted || r.Status == pipeline.NotFound
}

func onTopic(a pipeline.Action) bool {
	return a.Op == pipeline.Subscribe || a.Op == pipeline.Unsubscribe
}
