package iid_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bulksub/bulksub/fcmclient"
	"github.com/bulksub/bulksub/iidclient"
	"github.com/bulksub/bulksub/iidclient/iidtest"
	"github.com/bulksub/bulksub/internal/fcm"
	"github.com/bulksub/bulksub/internal/iid"
	"github.com/bulksub/bulksub/pipeline"
)

var update = flag.Bool("update", false, "write the tables of outcomes into the README")

// services are the ways to call the one stand-in.
type services struct{ iid, single, successor pipeline.Service }

// asker makes one call for an action.
type asker struct {
	name string
	ask  func(*testing.T, services) ([]pipeline.Outcome, error)
}

func batchOf(name string, a pipeline.Action, tokens ...string) asker {
	return asker{name, func(t *testing.T, s services) ([]pipeline.Outcome, error) {
		return s.iid.Call(t.Context(), a, tokens)
	}}
}

var (
	batchAskers = []asker{
		batchOf("subscribe", subscribe, tokens(3)...),
		batchOf("unsubscribe", unsubscribe, tokens(3)...),
	}
	importAskers = []asker{batchOf("import", pipeline.Action{Op: pipeline.Import, Application: "com.example.app"},
		iidtest.APNsToken(1, 1), iidtest.APNsToken(1, 2), iidtest.APNsToken(1, 3))}
	singleAskers = []asker{
		batchOf("info", info, tokens(1)...),
		{"subscribe one", func(t *testing.T, s services) ([]pipeline.Outcome, error) {
			return s.single.Call(t.Context(), subscribe, tokens(1))
		}},
		{"web refresh", func(t *testing.T, s services) ([]pipeline.Outcome, error) {
			return s.iid.Call(t.Context(), webRefresh, []string{push(t, iidtest.WebToken(iidtest.Push(1, 1).Endpoint), 1)})
		}},
		batchOf("web delete", webDelete, tokens(1)...),
	}
	webAskers = []asker{{"web import", func(t *testing.T, s services) ([]pipeline.Outcome, error) {
		return s.iid.Call(t.Context(), webImport, []string{push(t, "", 1)})
	}}}
)

// kinds is what a call without verdicts means, in the words of the README.
var kinds = map[pipeline.CallKind]string{
	pipeline.Fatal:       "the job stops",
	pipeline.Unavailable: "again",
	pipeline.Throttled:   "slower, again",
	pipeline.Refused:     "halved, down to one: `invalid`",
}

// desk is one service for all cells.
type desk struct {
	service     *iidtest.Running
	credentials string
}

func newDesk(t *testing.T) desk {
	t.Helper()
	service, err := iidtest.Start(iidtest.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { service.Close() })
	d := desk{service, filepath.Join(t.TempDir(), "account.json")}
	if err := os.WriteFile(d.credentials, service.CredentialsJSON(service.URL), 0o600); err != nil {
		t.Fatal(err)
	}
	return d
}

// services are fresh ones, whose credential has not been refused yet.
func (d desk) services(t *testing.T) (s services, end func()) {
	t.Helper()
	credential, err := iidclient.CredentialsFile(d.credentials, true)
	if err != nil {
		t.Fatal(err)
	}
	c, err := iidclient.New(iidclient.Config{Endpoint: d.service.URL, Credential: credential, Timeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	successor, err := fcmclient.New(fcmclient.Config{Endpoint: d.service.URL, Credential: credential, Project: credential.Project(), Timeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	s = services{iid.Service{Client: c, VAPIDKey: iidtest.VAPIDKey(1)}, iid.Single{Client: c}, fcm.Service{Client: successor}}
	return s, func() { c.Close(); successor.Close() }
}

// meaning is what the first and the second call with that answer mean, which may differ for a credential.
func (d desk) meaning(t *testing.T, a asker, fault iidtest.Fault) string {
	t.Helper()
	s, end := d.services(t)
	defer end()
	d.service.Reset()
	d.service.SetFaults(iidtest.Plan{Fault: fault})
	var words []string
	for range 2 {
		outcomes, err := a.ask(t, s)
		words = append(words, word(t, outcomes, err))
	}
	if n := d.service.FaultCounts()[fault.Name]; n < 2 { // a lost call may be sent more often
		t.Errorf("%s met %s %d times", a.name, fault.Name, n)
	}
	return strings.Join(slices.Compact(words), ", then ")
}

func word(t *testing.T, outcomes []pipeline.Outcome, err error) string {
	t.Helper()
	if call, ok := errors.AsType[*pipeline.CallError](err); ok {
		return kinds[call.Kind]
	}
	if err != nil || len(outcomes) == 0 {
		t.Fatalf("%v, %v", outcomes, err)
	}
	for _, o := range outcomes {
		if o.Status != outcomes[0].Status || o.Again != outcomes[0].Again {
			t.Errorf("one answer means %v", outcomes)
		}
	}
	switch o := outcomes[0]; {
	case o.Exhausted:
		return "slower, again, then `" + string(o.Status) + "`"
	case o.Again:
		return "again, then `" + string(o.Status) + "`"
	default:
		return "`" + string(o.Status) + "`"
	}
}

// column is what all actions of a column make of a fault, which must be the same.
func (d desk) column(t *testing.T, askers []asker, fault iidtest.Fault) string {
	t.Helper()
	first := d.meaning(t, askers[0], fault)
	for _, a := range askers[1:] {
		if other := d.meaning(t, a, fault); other != first {
			t.Errorf("%s: %s means %q, and %q for %s", fault.Name, askers[0].name, first, other, a.name)
		}
	}
	return first
}

// said is an answer in which each token of a batch gets that word: as an error, or as the status of an import.
func said(word string) iidtest.Fault {
	return iidtest.Mangled("said "+word, func(a iidtest.Answer) iidtest.Answer {
		var body struct{ Results []map[string]string }
		if json.Unmarshal(a.Body, &body) != nil {
			return a
		}
		for i, result := range body.Results {
			switch token, imported := result["apns_token"]; {
			case imported && word == "OK":
			case imported:
				body.Results[i] = map[string]string{"apns_token": token, "status": word}
			case word != "OK":
				body.Results[i] = map[string]string{"error": word}
			}
		}
		a.Body, _ = json.Marshal(map[string]any{"results": body.Results})
		return a
	})
}

// words are all that the service is known to say of a token, and one that it is not.
var words = []string{
	"OK", "NOT_FOUND", "INVALID_ARGUMENT", "TOO_MANY_TOPICS", "PERMISSION_DENIED", "UNAUTHENTICATED", "RESOURCE_EXHAUSTED", "INTERNAL",
	"Internal Server Error", "UNAVAILABLE", "DEADLINE_EXCEEDED", "UNKNOWN", "any other word",
}

// statuses are the answers to a call as a whole.
var statuses = []string{
	"400", "400-object", "400-html", "400-empty", "401", "401-html", "401-empty", "403", "403-object", "403-html", "404", "404-object", "404-html", "404-empty",
	"405", "405-empty", "408", "408-empty", "409", "410", "413", "413-html", "429", "429-object", "429-html", "redirect",
	"500", "500-html", "501", "502-html", "503", "503-html", "504", "504-empty", "reset", "applied-reset", "truncated+5",
	"html", "empty-body",
}

// names are how the README calls an answer.
var names = map[string]string{
	"redirect": "307", "reset": "no answer", "applied-reset": "an answer that is lost", "truncated+5": "an answer cut short", "truncated+1": "an answer cut short",
	"html": "200 with a page", "empty-body": "200 without a body",
}

func nameOf(fault string) string {
	if name := names[fault]; name != "" {
		return name
	}
	status, form, _ := strings.Cut(fault, "-")
	return status + map[string]string{"": "", "object": "", "html": " with a page", "empty": " without a body"}[form]
}

// markdown writes rows, those with the same cells as one.
func markdown(head string, rows [][]string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "| %s |\n|%s\n", head, strings.Repeat("---|", strings.Count(head, "|")+1))
	for i, row := range rows {
		if slices.ContainsFunc(rows[:i], func(before []string) bool { return slices.Equal(before[1:], row[1:]) }) {
			continue
		}
		var alike []string
		for _, other := range rows[i:] {
			if slices.Equal(other[1:], row[1:]) && !slices.Contains(alike, other[0]) {
				alike = append(alike, other[0])
			}
		}
		fmt.Fprintf(&b, "| %s | %s |\n", strings.Join(alike, ", "), strings.Join(row[1:], " | "))
	}
	return b.String()
}

// TestEveryCell asks, by real calls, what each answer means for each action, and compares that with the tables in the README:
// `go test ./internal/iid -run TestEveryCell -update` writes them.
func TestEveryCell(t *testing.T) {
	d := newDesk(t)
	var ofTokens, ofCalls [][]string
	for _, word := range words {
		ofTokens = append(ofTokens, []string{word, d.column(t, batchAskers, said(word)), d.column(t, importAskers, said(word))})
	}
	for _, text := range statuses {
		plan, err := iidtest.ParseFault(text)
		if err != nil {
			t.Fatal(err)
		}
		ofCalls = append(ofCalls, []string{nameOf(text), d.column(t, append(batchAskers, importAskers...), plan.Fault), d.column(t, singleAskers, plan.Fault), d.column(t, webAskers, plan.Fault)})
	}
	tables := "\n" + markdown("said of a token | subscribe, unsubscribe | import", ofTokens) + "\n" +
		markdown("said of a call | of a batch | of one token | of a `web import`", ofCalls) + "\n" + d.successorTable(t)
	const file, begin, end = "../../README.md", "<!-- outcomes: written by internal/iid -->\n", "<!-- end of outcomes -->\n"
	readme, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, _ := bytes.Cut(readme, []byte(begin))
	there, after, found := bytes.Cut(rest, []byte(end))
	if !found {
		t.Fatalf("%s has no place for the tables", file)
	}
	if string(there) == tables {
		return
	}
	if !*update {
		t.Fatalf("%s has other tables of outcomes; run go test ./internal/iid -run TestEveryCell -update. They should be:\n%s", file, tables)
	}
	if err := os.WriteFile(file, slices.Concat(before, []byte(begin), []byte(tables), []byte(end), after), 0o644); err != nil {
		t.Fatal(err)
	}
}
