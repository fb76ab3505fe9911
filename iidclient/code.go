package iidclient

// Code is the service's own word on one token. The empty Code
// means success. A word that is not among the constants is kept as it came:
// it is neither success nor a reason to give a token up.
type Code string

// The codes of batchAdd and batchRemove. The first five are in the server
// reference ("Manage relationship maps for multiple app instances"), the others
// are known to the Admin SDKs. Translated editions of the reference spell some
// of them wrongly; only these spellings are real.
const (
	CodeOK                Code = ""                   // subscribed or unsubscribed
	CodeNotFound          Code = "NOT_FOUND"          // the token was deleted or the app uninstalled
	CodeInvalidArgument   Code = "INVALID_ARGUMENT"   // the token is not valid for the sender: a bad token or the wrong project
	CodeInternal          Code = "INTERNAL"           // unknown failure, worth a retry
	CodeTooManyTopics     Code = "TOO_MANY_TOPICS"    // the app instance holds too many topics; the token is alive
	CodeResourceExhausted Code = "RESOURCE_EXHAUSTED" // too many changes in a short time, back off
	CodeUnavailable       Code = "UNAVAILABLE"
	CodeDeadlineExceeded  Code = "DEADLINE_EXCEEDED"
	CodeUnknown           Code = "UNKNOWN"
	CodePermissionDenied  Code = "PERMISSION_DENIED" // seen when the credential belongs to another project
	CodeUnauthenticated   Code = "UNAUTHENTICATED"
)

// The codes that only batchImport has, beside the ones above.
const (
	CodeInternalServerError Code = "Internal Server Error"     // CodeInternal as the reference spells it there
	CodeNoRegistrationToken Code = "OK, no registration token" // this package's word for a status of OK that comes without one, worth a retry
)

var knownCodes = [...]Code{
	CodeNotFound, CodeInvalidArgument, CodeResourceExhausted, CodeInternal, CodeTooManyTopics,
	CodeUnavailable, CodeDeadlineExceeded, CodeUnknown, CodePermissionDenied, CodeUnauthenticated,
	CodeInternalServerError,
}

// internCode returns the constant for a known code, so that a reply of a
// thousand failures allocates no strings.
func internCode(word []byte) Code {
	for _, c := range knownCodes {
		if string(word) == string(c) {
			return c
		}
	}
	return Code(word)
}
