// Package fcmclient calls the FCM Topic Subscription API, the successor of the Instance ID
// API for topics, with one method per endpoint. It shares its errors, its credentials and
// the way it makes calls with package iidclient.
//
// # A first call
//
//	credential, err := iidclient.CredentialsFile("service-account.json", false)
//	client, err := fcmclient.New(fcmclient.Config{Project: credential.Project(), Credential: credential})
//	defer client.Close()
//	err = client.Subscribe(ctx, token, "news")
//
// A call is about one topic and one registration, named by its registration token or its
// Firebase installation ID. No call takes many registrations, so speed depends on how many
// calls are under way: the client is made for hundreds of callers at a time, over a few
// HTTP/2 connections. Each connection has as many open calls as the service allows; the
// other calls wait. The client sends a call again if the service is known not to have
// touched it (GOAWAY, REFUSED_STREAM). It does not repeat a call that the service may have
// carried out, so a caller that counts calls against a rate counts them all. A ping finds a
// dead connection within 25 seconds.
//
// # What an answer is worth
//
// Errors are those of package iidclient, and [*ProjectError]:
//
//   - A [*iidclient.TokenError] judges the registration. It has CodeNotFound only if the
//     service says that the registration is gone (UNREGISTERED): a 404 may also be about
//     the project, the path or the subscription.
//   - A [*ProjectError] is about the project or the address. No call will succeed.
//   - A [*iidclient.StatusError] is any other refusal. Without a Retry-After, it has the
//     wait that a RetryInfo asks for.
//
// Subscribing twice is success, and so is unsubscribing what is not subscribed.
//
// # Sources
//
// The REST reference of fcmtopics (firebase.google.com/docs/reference/fcm/fcmtopics/rest), the
// guide manage-topic-subscriptions, the error model of Google's APIs (google.aip.dev/193), and what
// firebase-admin-go 4.22 sends and reads. Google has not published how the service words its
// refusals: refusal.go has the rules.
package fcmclient
