package main

import (
	"encoding/csv"
	"fmt"
	"maps"
	"os"
	"strconv"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/bulksub/bulksub/iidclient/iidtest"
)

// scriptWeb renews every third token.
var scriptWeb = iidtest.Web{Renew: 0.33}

// scriptPushes are the numbers of the first n push subscriptions whose tokens live.
func scriptPushes(n int) (list []int) {
	for i := 0; len(list) < n; i++ {
		token := iidtest.WebToken(iidtest.Push(1, i).Endpoint)
		if scriptFate(token) == iidtest.Live && scriptFate(iidtest.Renewed(token)) == iidtest.Live {
			list = append(list, i)
		}
	}
	return list
}

// pushes writes push subscriptions of a seed, with the tokens that those of seed 1 got when
// they were imported: `pushes FILE.csv|FILE.jsonl SEED N`. A VAPID key is in vapid.txt.
func (s *script) pushes(ts *testscript.TestScript, _ bool, args []string) {
	text := pushRows
	if strings.HasSuffix(args[0], ".jsonl") {
		text = pushLines
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(text(uint64(number(ts, args[1])), number(ts, args[2]))), 0o600))
	ts.Check(os.WriteFile(ts.MkAbs("vapid.txt"), []byte(iidtest.VAPIDKey(1)+"\n"), 0o600))
}

// pushLines are push subscriptions as browsers write them, with their tokens.
func pushLines(seed uint64, n int) string {
	var b strings.Builder
	for _, i := range scriptPushes(n) {
		p := iidtest.Push(seed, i)
		fmt.Fprintf(&b, `{"endpoint":%q,"expirationTime":null,"keys":{"p256dh":%q,"auth":%q},"token":%q}`+"\n",
			p.Endpoint, p.Keys.P256DH, p.Keys.Auth, iidtest.WebToken(iidtest.Push(1, i).Endpoint))
	}
	return b.String()
}

// pushRows are the same as CSV.
func pushRows(seed uint64, n int) string {
	var b strings.Builder
	b.WriteString("token,p256dh,auth,endpoint\n")
	for _, i := range scriptPushes(n) {
		p := iidtest.Push(seed, i)
		fmt.Fprintf(&b, "%s,%s,%s,%s\n", iidtest.WebToken(iidtest.Push(1, i).Endpoint), p.Keys.P256DH, p.Keys.Auth, p.Endpoint)
	}
	return b.String()
}

// pushed compares the result file of an import or a refresh of N push subscriptions with
// what must be in it, and the subscriptions that the stand-in holds: `pushed import|refresh FILE
// SEED N`.
func (s *script) pushed(ts *testscript.TestScript, _ bool, args []string) {
	lines, err := csv.NewReader(strings.NewReader(ts.ReadFile(args[1]))).ReadAll()
	ts.Check(err)
	var got, want []string
	for _, line := range lines[1:] {
		got = append(got, strings.Join([]string{line[0], line[1], line[3], line[6]}, " "))
	}
	held := make(map[string]iidtest.PushSubscription)
	for row, i := range scriptPushes(number(ts, args[3])) {
		push := iidtest.Push(uint64(number(ts, args[2])), i)
		token := iidtest.WebToken(iidtest.Push(1, i).Endpoint)
		own := token
		switch {
		case args[0] == "import":
			own = push.Endpoint
		case scriptWeb.Renews(token):
			token = iidtest.Renewed(token)
		}
		held[token] = push
		want = append(want, strings.Join([]string{strconv.Itoa(row + 1), own, "ok", token}, " "))
	}
	if diff := firstDifference(got, want); diff != "" {
		ts.Fatalf("results: %s", diff)
	}
	if !maps.Equal(s.service.Pushes(), held) {
		ts.Fatalf("the service holds %d other subscriptions", len(s.service.Pushes()))
	}
}
