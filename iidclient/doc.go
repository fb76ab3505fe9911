// Package iidclient calls the Instance ID server API: one method per endpoint, typed
// errors, and the authorization that the service wants.
//
// # A first call
//
//	credential, err := iidclient.CredentialsFile("service-account.json", false)
//	client, err := iidclient.New(iidclient.Config{Credential: credential})
//	defer client.Close()
//	codes, err := client.BatchAdd(ctx, "news", tokens)
//	// codes[i] is the service's word on tokens[i]; "" is success
//
// [Client.BatchAdd] and [Client.BatchRemove] change up to [MaxBatch] tokens,
// [Client.Subscribe] one. [Client.BatchImport] turns up to [MaxImport] APNs tokens into
// registration tokens. [Client.Info] tells what the service knows of one token.
// [Client.WebImport], [Client.WebRefresh] and [Client.WebDelete] are for browsers' push
// subscriptions, which the live service has refused since June 2024. The examples run
// against a stand-in for the service.
//
// # What an answer is worth
//
// A call returns codes only from a complete, well-formed reply with exactly one
// result for every token. Everything else is an error, without codes. Only the last
// of these errors says anything about a token:
//
//   - [*ArgumentError]: refused before the call; do not repeat it, fix the caller.
//   - [*CredentialError]: no access token, so no call. Final tells whether to stop.
//   - [*TransportError]: no complete reply. The work may be done or not; the calls
//     act on a set, so it is safe to repeat one.
//   - [*StatusError]: a status other than 200, with the service's word and its
//     Retry-After. On a 401, Refreshed tells whether one more call is worth it.
//   - [*ReplyError]: status 200 with a body that cannot be trusted.
//   - [*TokenError]: the service refused a call about one token, and so judged the
//     token.
//
// Find them with [errors.As]; you need not compare texts.
//
// # What it does not do
//
// It never repeats a call by itself. net/http does so in two cases: if the server is
// known not to have touched the call, and for a GET also if the kept connection that
// carried it turns out to be closed. The package does not wait, limit a rate, or follow
// redirects, and it starts no goroutine of its own. Pacing, retries and the packing of
// batches belong to the caller.
//
// # Secrets (P8)
//
// No error holds a credential or the path of a request (a path may hold a push
// token). Texts of the service are cut and cleaned, and anything in them longer than
// 40 token characters is shortened. A bare [Code] is kept word for word: it is data,
// meant for results.
//
// # Adding an endpoint
//
// Write one file like relation.go: check the arguments, build a [Request], hand
// [Client.Do] a strict decoder. The facts come from the service's server reference
// (developers.google.com/instance-id/reference/server).
//
// The service ends on 2027-09-29. Package fcmclient calls its successor.
package iidclient
