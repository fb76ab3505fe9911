package iidclient

import (
	"context"
	"net/http"
	"time"
)

// Info is what the service knows of one token. The fields are those of all editions
// of the server reference; a newer service may leave out the older ones, and what
// it does not say is empty.
type Info struct {
	Application        string // package name or bundle ID
	AuthorizedEntity   string // number of the project that may send to the token
	Platform           string // in upper case: ANDROID, IOS, CHROME; WEBPUSH was seen for browsers
	ApplicationVersion string
	AppSigner          string // SHA-1 fingerprint of who signed the package
	Scope              string // in no edition; "*" was seen
	AttestStatus       string // ROOTED, NOT_ROOTED or UNKNOWN
	ConnectionType     string // with details: WIFI, MOBILE or OTHER
	ConnectDate        string // with details: day of the last connection, yyyy-mm-dd
	Topics             []Relation
	// Date is the service's clock when it answered, to the second; zero if it did not
	// say.
	Date time.Time
	// Raw is the whole reply, which may say more.
	Raw []byte
}

// Relation is a subscription of a token to a topic.
type Relation struct {
	Topic   string // without /topics/
	AddDate string // yyyy-mm-dd
}

// Info asks about one token: GET /iid/info/TOKEN. With details the result has the
// topics, sorted by name, and the connection; a token without subscriptions has no
// topics even so.
//
// Errors are those of [Client.Subscribe]. A token that is gone is a [*TokenError]
// with CodeNotFound, one that the service cannot read has CodeInvalidArgument,
// and one of another project CodePermissionDenied.
func (c *Client) Info(ctx context.Context, token string, details bool) (Info, error) {
	if err := CheckToken(token); err != nil {
		return Info{}, err
	}
	r := Request{
		Name:   "info",
		Method: http.MethodGet,
		Path:   []string{"/iid/info/", token},
		Judge:  judge(tokenVerdicts),
	}
	if details {
		r.Query = "details=true"
	}
	var info Info
	var date time.Time
	r.Heard = func(header http.Header) { date, _ = http.ParseTime(header.Get("Date")) }
	err := c.Do(ctx, r, func(body []byte) (err error) {
		if info, err = decodeInfo(body); err == nil {
			info.Date = date
		}
		return err
	})
	return info, err
}
