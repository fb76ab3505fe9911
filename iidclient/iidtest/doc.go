/*
Package iidtest is a stand-in for Google's Instance ID service and for its successor, the
FCM Topic Subscription API. It keeps state, is as strict as the real services, and breaks
on request. Both APIs share one state: each sees what the other subscribes. The package
is for tests, for the demo and for rehearsals, and shares no code with the clients that
it tests.

# Five minutes

	service, err := iidtest.Start(iidtest.Config{AnyBearer: true})
	...
	defer service.Close()

	// point the client at service.URL, subscribe some tokens, then:
	service.Count("news")       // how many are subscribed
	service.Subscribers("news") // who

[Token] makes tokens to subscribe. Without AnyBearer, a client has to log in
first, with the service account file of [Server.CredentialsJSON]. The access
tokens that it gets live for Config.TokenLife.

# Tokens that fail

Config.Fates decides what the service knows of each token: [Dead], [Invalid],
[OtherProject], [Transient] and so on. Fates is a pure function of the token, so
a test can ask it what the result must be. [Mix] deals fates in shares. A token
that is empty, contains spaces or control characters, or is longer than
MaxTokenBytes is invalid, whatever Fates says.

APNs tokens ([APNsToken] makes some) have fates too, by their lower case. An APNs
token that is not an even number of hex digits is invalid. [Import] says which apps
there are. An import gives a [Minted] token, which is live unless Fates says
otherwise of it. A push subscription ([Push] makes some) has the fate of its endpoint
when it is imported, and later the fate of its token. That token is [WebToken] or,
after a refresh for which [Web] wants a new one, [Renewed].

# Calls that fail

A [Fault] is one way for a call to go wrong; a [Plan] says when it does:

	service.SetFaults(
		iidtest.Plan{Fault: iidtest.Refusal{Status: 503}.Fault(), Share: 0.02},
		iidtest.Plan{Fault: iidtest.AppliedThenReset(), Every: 10},
	)

or the same in text, with [ParseFault]: "503=2%" and "applied-reset=every:10".
Afterwards, [Server.FaultCounts] tells what struck. A healthy service has two of
them as well: [Quota] and [Latency].

# What happened

[Server.Calls] is the log of calls, [Server.PeakOps] the busiest window in it,
[Server.Subscriptions] the topics of a token. [Server.Imports] and [Server.Pushes]
are what was imported. Over HTTP, without authorization, below /emulator/v1/:

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
relation.go, import.go, info.go, web.go, push.go; fcm.go for the successor). Then a
fault may take it (plan.go, fault*.go). It is admitted (auth.go), waits
(latency.go), meets the fates and the quota (batch.go), and changes the state
(state.go, devices.go, imports.go, webtokens.go). A new endpoint is a line in the
table and a file.

# What it does not promise

It follows the server reference (developers.google.com/instance-id/reference/server)
and what was observed of the service. Where nobody knows what the service does (a batch
that is empty or too large, a token twice in one batch, the unit of the quota), it does
the strict thing. In two such cases it is kind. It gives an APNs token that is imported
again the same registration token. And if a refresh has replaced a token, the old token
keeps its topics, and another refresh of it leads on to the new one. What info says of a
device is made up, except its application, its platform and its topics. Google has not
published how the successor words its refusals: fcm_refusal.go has the words of FCM's send
call and of Google's front end, and knows one project, that of CredentialsJSON. The
stand-in compresses nothing and speaks no TLS by itself; it is an http.Handler, so you can
serve it over TLS.
*/
package iidtest
