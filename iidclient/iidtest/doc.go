/*
Package iidtest is a stand-in for Google's Instance ID service and for its successor, the
FCM Topic Subscription API: it keeps state, is as strict as the real ones, and breaks on
request. Both APIs are about the same state: what one subscribes the other sees. It is
for tests, for the demo and for rehearsals, and shares no code with the clients that it
tests.

# Five minutes

	service, err := iidtest.Start(iidtest.Config{AnyBearer: true})
	...
	defer service.Close()

	// point the client at service.URL, subscribe some tokens, then:
	service.Count("news")       // how many are subscribed
	service.Subscribers("news") // who

[Token] makes tokens to subscribe. Without AnyBearer a client has to log in
first, with the service account file of [Server.CredentialsJSON]; the access
tokens it gets live for Config.TokenLife.

# Tokens that fail

Config.Fates decides what the service knows of each token: [Dead], [Invalid],
[OtherProject], [Transient] and so on. It is a pure function of the token, so
that the test can ask it what the result must be. [Mix] deals fates in shares.
Tokens that are empty, contain spaces or control characters or are longer than
MaxTokenBytes are invalid whatever Fates says.

APNs tokens ([APNsToken] makes some) have fates as well, by their lower case; those
that are not an even number of hex digits are invalid. [Import] says which apps
there are. What an import gives is [Minted], a live token unless Fates says
otherwise of it too. A push subscription ([Push] makes some) has the fate of its
endpoint when it is imported, and later that of its token, which is [WebToken] or,
after a refresh for which [Web] wants a new one, [Renewed].

# Calls that fail

A [Fault] is one way for a call to go wrong, a [Plan] says when it does:

	service.SetFaults(
		iidtest.Plan{Fault: iidtest.Refusal{Status: 503}.Fault(), Share: 0.02},
		iidtest.Plan{Fault: iidtest.AppliedThenReset(), Every: 10},
	)

or the same in text, by [ParseFault]: "503=2%" and "applied-reset=every:10".
Afterwards [Server.FaultCounts] tells what struck. [Quota] and [Latency] are
the two that a healthy service has as well.

# What happened

[Server.Calls] is the log of calls, [Server.PeakOps] the busiest window in it,
[Server.Subscriptions] the topics of a token, [Server.Imports] and [Server.Pushes]
what was imported. Over HTTP, without authorization, below /emulator/v1/:

	GET  topics                    every topic with its count
	GET  topics/TOPIC              count and tokens (?tokens=false: count only)
	GET  tokens/TOKEN              topics with add dates
	GET  imports                   APNs tokens with what they were given
	GET  web                       push subscriptions by token
	GET  calls?last=N              the call log
	GET  stats?window=1s           calls in the log, ops, faults struck, peak
	PUT  faults                    plans in text form, one a line
	GET  credentials               a service account file for this URL
	POST reset                     forget everything but credentials and plans

# Where a call goes

A call is read and routed (receive.go, the table in routes.go, batch.go,
relation.go, import.go, info.go, web.go, push.go; fcm.go for the successor), a fault may take it (plan.go,
fault*.go), it is admitted (auth.go), waits (latency.go), meets the fates and the
quota (batch.go), and changes the state (state.go, devices.go, imports.go,
webtokens.go). A new endpoint is a line in the table and a file.

# What it does not promise

It follows the server reference (developers.google.com/instance-id/reference/server)
and what was observed of the service; where nobody knows (a batch that is empty or too
large, a token twice in one batch, the unit of the quota), it does the strict thing.
It is kind in two ways, of which nobody knows either: an APNs token that is imported
again is given the same registration token, and a token that a refresh has replaced
leads on to the new one when it is refreshed again, and keeps its topics. What info
says of a device is made up, but for its application, its platform and its topics. How the
successor words its refusals has not been published: fcm_refusal.go has those of FCM's send
call and of Google's front end, and knows one project, that of CredentialsJSON. It
compresses nothing, and speaks no TLS by itself: as an http.Handler it can be served
with it.
*/
package iidtest
