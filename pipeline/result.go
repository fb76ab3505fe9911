package pipeline

import "slices"

// Status is what became of a row. The set is closed.
type Status string

// The statuses. Only NotFound makes a row a candidate for pruning; only Failed
// is tried again by the next run of the same job.
const (
	OK            Status = "ok"
	NotFound      Status = "not_found"
	Invalid       Status = "invalid"
	TooManyTopics Status = "too_many_topics"
	Denied        Status = "denied"
	Failed        Status = "failed"
	Malformed     Status = "malformed"
)

// Statuses lists every status, in the order in which summaries show them.
var Statuses = []Status{OK, NotFound, Invalid, TooManyTopics, Denied, Failed, Malformed}

// Rejected reports whether the service refused the token for what it is or for
// who asks: what a credential of another project looks like.
func (s Status) Rejected() bool { return s == Invalid || s == Denied }

// Result is the record of one finished row. Its fate is a pointer: == says less of two results than it seems to.
type Result struct {
	Claim *Claim // under which the row was read
	Key   string // the row's key
	Token string // the row's own token, as it was read
	*Fate
}

// Fate is how a row ended. Rows that ended alike share it, most often all of a batch: nobody writes to it.
type Fate struct {
	Op     Op     // of the action that decided; empty for a row that was not worth a call
	Topic  string // of that action
	Status Status
	Code   string // the service's own word; empty when it had none
	// Attempts counts the replies that judged the row, and the calls for it alone that
	// brought none.
	Attempts int
	// RegistrationToken is the token that the service gave for this row's own.
	RegistrationToken string
	Detail            string // JSON, or empty
	// Done are the actions that the service has carried out, in their order.
	Done []Action
}

// is reports whether nothing tells two fates apart.
func (f *Fate) is(other *Fate) bool {
	return f.Op == other.Op && f.Topic == other.Topic && f.Status == other.Status && f.Code == other.Code && f.Attempts == other.Attempts &&
		f.RegistrationToken == other.RegistrationToken && f.Detail == other.Detail && slices.Equal(f.Done, other.Done)
}

// Counts holds a number of rows for each status.
type Counts map[Status]int64

// Rows is the number of rows with a result.
func (c Counts) Rows() int64 {
	var n int64
	for _, k := range c {
		n += k
	}
	return n
}

// Add adds the counts of other.
func (c Counts) Add(other Counts) {
	for status, n := range other {
		c[status] += n
	}
}
