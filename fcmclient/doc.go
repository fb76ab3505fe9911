// Package fcmclient calls the FCM Topic Subscription API, the successor of the Instance ID
// API for topics: one method an endpoint, and the errors of package iidclient, with which
// it shares credentials and how calls are made.
//
// # A first call
//
//	credential, err := iidclient.CredentialsFile("service-account.json", false)
//	client, err := fcmclient.New(fcmclient.Config{Project: credential.Project(), Credential: credential})
//	defer client.Close()
//	err = client.Subscribe(ctx, token, "news")
//
// A call is about one registration, by its registration token or by its Firebase
// installation ID, and one topic. There is no call for many, so that what counts is how
// many are under way: the client is made for hundreds of callers at a time, over a
// few HTTP/2 connections. On each of them as many calls are open as the service
// allows; the others wait. A call that the service is known not to have touched (GOAWAY,
// REFUSED_STREAM) is sent again; one that it may have carried out is not, so that who
// counts calls against a rate counts them all. A connection that has gone dead is found by a
// ping, within 25 seconds.
//
// # What an answer is worth
//
// Errors are those of package iidclient, and [*ProjectError]:
//
//   - A [*iidclient.TokenError] judges the registration. It has CodeNotFound only where the
//     service says that the registration is gone (UNREGISTERED): a 404 may as well be
//     about the project, the path or the subscription.
//   - A [*ProjectError] is about the project or the address. No call will succeed.
//   - A [*iidclient.StatusError] is any other refusal, with the wait that a RetryInfo asks
//     for where there is no Retry-After.
//
// To subscribe what is subscribed already, and to unsubscribe what is not, is success.
//
// # Sources
//
// The REST reference of fcmtopics (firebase.google.com/docs/reference/fcm/fcmtopics/rest), the
// guide manage-topic-subscriptions, the error model of Google's APIs (google.aip.dev/193), and what
// firebase-admin-go 4.22 sends and reads. How the service words its refusals has not been
// published: the rules stand in refusal.go.
package fcmclient
