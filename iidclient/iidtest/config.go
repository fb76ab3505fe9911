package iidtest

import "time"

// Limits of the real service (server reference; topic-messaging guide).
const (
	// MaxBatch is how many tokens one batchAdd or batchRemove may carry.
	MaxBatch = 1000
	// MaxImport is how many APNs tokens one batchImport may carry.
	MaxImport = 100
	// MaxTopics is how many topics one app instance may have.
	MaxTopics = 2000
	// MaxTokenBytes is the longest registration token that is looked at.
	MaxTokenBytes = 4096
)

// Config says how a stand-in behaves. The zero value is a strict service
// without quota or faults, in which every well-formed token is live.
type Config struct {
	// Fates says what the service knows of each token, APNs tokens included.
	// Default: all are live.
	Fates Fates
	// Import says which apps there are to import tokens for, and in what order
	// the results come. Default: every app, in any order but the request's.
	Import Import
	// Web says how push subscriptions are answered. Default: a refresh keeps the
	// token.
	Web Web
	// FCM says how the successor API answers. Default: the project of CredentialsJSON has it.
	FCM FCM
	// Faults are the faults in force at the start; see Server.SetFaults.
	Faults []Plan
	// Quota limits token operations per second. Default: none.
	Quota Quota
	// Latency is how long every call takes. Default: none.
	Latency Latency
	// AnyBearer accepts every bearer token, for clients with a static one.
	AnyBearer bool
	// ServerKey, when set, is accepted in the old form "Authorization: key=...".
	// The real service has refused that form since June 2024.
	ServerKey string
	// TokenLife is how long an access token is valid. Default: one hour.
	TokenLife time.Duration
	// TopicCap is the number of topics a token may have. Default: MaxTopics.
	TopicCap int
	// OnCall, when set, is called once for every call, after its effect and
	// before the first byte of its answer. It may block: the answer waits, and
	// so does Running.Close.
	OnCall func(Call)
	// Now is the clock for add dates, expiry, quota and the call log. Default:
	// time.Now.
	Now func() time.Time
}

func (c Config) withDefaults() Config {
	if c.Fates == nil {
		c.Fates = func(string) Fate { return Live }
	}
	if c.TokenLife == 0 {
		c.TokenLife = time.Hour
	}
	if c.TopicCap == 0 {
		c.TopicCap = MaxTopics
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c
}
