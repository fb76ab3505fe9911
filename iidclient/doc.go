// Package iidclient calls the Instance ID server API: one method an endpoint, typed
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
// [Client.Subscribe] one. [Client.BatchImport] makes registration tokens of up to
// [MaxImport] APNs tokens, and [Client.Info] tells what the service knows of one
// token. [Client.WebImport], [Client.WebRefresh] and [Client.WebDelete] are for push
// subscriptions of browsers; the live service has refused them since June 2024. The
// examples run against a stand-in for the service.
//
// # What an answer is worth
//
// A code is returned only from a complete, well-formed reply with exactly one
// result for every token. Everything else is an error, without codes, and says
// nothing about any token, but for the last:
//
//   - [*ArgumentError]: refused before the call; repeat nothing, fix the caller.
//   - [*CredentialError]: no access token, so no call. Final tells whether to stop.
//   - [*TransportError]: no complete reply. The work may be done or not; the calls
//     act on a set, so that repeating one is safe.
//   - [*StatusError]: a status other than 200, with the service's word and its
//     Retry-After. On a 401, Refreshed tells whether one more call is worth it.
//   - [*ReplyError]: status 200 and a body that cannot be trusted.
//   - [*TokenError]: a call about one token was refused, and the refusal judges the
//     token.
//
// Find them with [errors.As]; no text needs to be compared.
//
// # What it does not do
//
// It never repeats a call by itself, with two exceptions of net/http: it sends a call
// again that the server is known not to have touched, and a GET also if the kept
// connection that it went out on turns out to be closed. It does not wait, limit a rate, or follow redirects, and it starts no goroutine of its own.
// Pacing, retries and the packing of batches belong to the caller.
//
// # Secrets (P8)
//
// No error holds a credential or the path of a request (a path may hold a push
// token). Texts of the service are cut, cleaned, and anything in them longer than 40
// token characters is shortened. A bare [Code] is kept word for word: it is
// data, meant for results.
//
// # Adding an endpoint
//
// One file, as relation.go: check the arguments, build a [Request], hand
// [Client.Do] a strict decoder. The facts come from the server reference
// of the service (developers.google.com/instance-id/reference/server).
//
// The service ends on 2027-09-29. Package fcmclient calls its successor.
package iidclient
