package iidtest

// Words that the service answers for one token of a batch.
const (
	CodeNotFound          = "NOT_FOUND"
	CodeInvalidArgument   = "INVALID_ARGUMENT"
	CodePermissionDenied  = "PERMISSION_DENIED"
	CodeInternal          = "INTERNAL"
	CodeUnavailable       = "UNAVAILABLE"
	CodeDeadlineExceeded  = "DEADLINE_EXCEEDED"
	CodeResourceExhausted = "RESOURCE_EXHAUSTED"
	CodeTooManyTopics     = "TOO_MANY_TOPICS"
	// CodeInternalServerError is how batchImport spells INTERNAL in the
	// reference; both spellings were seen.
	CodeInternalServerError = "Internal Server Error"
)

// Fate is what becomes of one token, whatever call it comes in. The zero
// value is a live token.
type Fate struct {
	// Code is the word that the service answers; empty means accepted. A fate
	// of TOO_MANY_TOPICS is met by adds only.
	Code string
	// Tries, when not zero, is how many tries get Code; the later ones are
	// accepted. Tries are counted per token over all topics and endpoints;
	// each position of a batch is a try.
	Tries int
	// Poison refuses with 400 every call that contains the token, naming no
	// culprit; nothing of that call is applied.
	Poison bool
}

// Fates gives each token its fate: a registration token as it is, those that an
// import has made included; an APNs token in lower case; a push subscription,
// which has no token before its import, by its endpoint. It must be a pure
// function, safe for concurrent use; being one, it is also the oracle that a test
// compares results with.
type Fates func(token string) Fate

// Fates without a parameter.
var (
	Live         = Fate{}
	Dead         = Fate{Code: CodeNotFound}
	Invalid      = Fate{Code: CodeInvalidArgument}
	OtherProject = Fate{Code: CodePermissionDenied}
	Overloaded   = Fate{Code: CodeTooManyTopics}
	Poison       = Fate{Poison: true}
	// Unminted is an APNs token that is imported with the status OK and gets no
	// registration token.
	Unminted = Fate{Code: statusOK}
)

// Transient is a token that meets INTERNAL n times and is live afterwards.
func Transient(n int) Fate { return Fate{Code: CodeInternal, Tries: n} }

// Exhausted is a token that meets RESOURCE_EXHAUSTED n times and is live
// afterwards.
func Exhausted(n int) Fate { return Fate{Code: CodeResourceExhausted, Tries: n} }

// Always is a token that is answered with code, word for word, every time.
func Always(code string) Fate { return Fate{Code: code} }
