package iid_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"testing"

	"github.com/bulksub/bulksub/iidclient/iidtest"
	"github.com/bulksub/bulksub/pipeline"
)

var (
	successorAdds  = []asker{successorOf("subscribe", subscribe)}
	successorOther = []asker{successorOf("unsubscribe", unsubscribe), successorOf("info", info)}
	successorAll   = slices.Concat(successorAdds, successorOther)
)

func successorOf(name string, a pipeline.Action) asker {
	return asker{name, func(t *testing.T, s services) ([]pipeline.Outcome, error) {
		return s.successor.Call(t.Context(), a, tokens(1))
	}}
}

// refusals are the statuses of the successor, with the word of its error object and who is asked.
var refusals = []struct {
	name   string
	status int
	word   string
	askers []asker
}{
	{"400", 400, "INVALID_ARGUMENT", successorAll},
	{"400", 400, "FAILED_PRECONDITION", successorAll},
	{"401", 401, "UNAUTHENTICATED", successorAll},
	{"403", 403, "PERMISSION_DENIED", successorAll},
	{"404", 404, "NOT_FOUND", successorAll},
	{"405", 405, "any other word", successorAll},
	{"408", 408, "any other word", successorAll},
	{"409", 409, "ABORTED", successorAll},
	{"409", 409, "ALREADY_EXISTS", successorOther},
	{"409 ALREADY_EXISTS to `subscribe`", 409, "ALREADY_EXISTS", successorAdds},
	{"410", 410, "NOT_FOUND", successorAll},
	{"413", 413, "any other word", successorAll},
	{"429", 429, "RESOURCE_EXHAUSTED", successorAll},
	{"500", 500, "INTERNAL", successorAll},
	{"500", 500, "UNKNOWN", successorAll},
	{"501", 501, "UNIMPLEMENTED", successorAll},
	{"502", 502, "any other word", successorAll},
	{"503", 503, "UNAVAILABLE", successorAll},
	{"504", 504, "DEADLINE_EXCEEDED", successorAll},
}

// bodies are those that a refusal can have, by what the README calls them; those of one name must mean the same.
var bodies = []struct {
	name string
	make []func(status int, word string) string
}{
	{"a page", bodiesOf(func(int, string) string { return "<!DOCTYPE html><title>Error</title>" })},
	{"no error object", bodiesOf(
		func(int, string) string { return "" },
		func(_ int, word string) string { return `{"error":"` + word + `"}` },
	)},
	{"an error", bodiesOf(details(""), details(`{"@type":"type.googleapis.com/google.rpc.QuotaFailure","violations":[{"subject":"project:1"}]}`))},
	{"UNREGISTERED", bodiesOf(
		details(`{"@type":"type.googleapis.com/google.firebase.fcm.v1.FcmError","errorCode":"UNREGISTERED"}`),
		details(`{"@type":"type.googleapis.com/google.rpc.ErrorInfo","domain":"fcm.googleapis.com","reason":"UNREGISTERED"}`),
	)},
	{"SENDER_ID_MISMATCH", bodiesOf(details(`{"@type":"type.googleapis.com/google.firebase.fcm.v1.FcmError","errorCode":"SENDER_ID_MISMATCH"}`))},
	{"the token's quota", bodiesOf(details(`{"@type":"type.googleapis.com/google.rpc.QuotaFailure","violations":[{"subject":"projects/1/registrations/a"}]}`))},
	{"another API's reason", bodiesOf(details(`{"@type":"type.googleapis.com/google.rpc.ErrorInfo","domain":"googleapis.com","reason":"SERVICE_DISABLED"}`))},
}

func bodiesOf(all ...func(int, string) string) []func(int, string) string { return all }

// details is an error object with those.
func details(list string) func(int, string) string {
	return func(status int, word string) string {
		return fmt.Sprintf(`{"error":{"code":%d,"message":"no","status":%q,"details":[%s]}}`, status, word, list)
	}
}

func refusing(name string, status int, body string) iidtest.Fault {
	kind := "text/html"
	if json.Valid([]byte(body)) {
		kind = "application/json"
	}
	return iidtest.Mangled(name, func(iidtest.Answer) iidtest.Answer {
		return iidtest.Answer{Status: status, Header: http.Header{"Content-Type": {kind}}, Body: []byte(body)}
	})
}

// successorTable is what each status of the successor means with each body.
func (d desk) successorTable(t *testing.T) string {
	t.Helper()
	head := "the successor says"
	for _, body := range bodies {
		head += " | " + body.name
	}
	var rows [][]string
	for _, r := range refusals {
		row := []string{r.name}
		for _, body := range bodies {
			var cell string
			for i, text := range body.make {
				name := fmt.Sprintf("%s with %s (%d)", r.name, body.name, i)
				got := d.column(t, r.askers, refusing(name, r.status, text(r.status, r.word)))
				if i > 0 && got != cell {
					t.Errorf("%s means %q, and %q as %d", name, got, cell, i-1)
				}
				cell = got
			}
			row = append(row, cell)
		}
		rows = append(rows, row)
	}
	for _, text := range []string{"redirect", "reset", "applied-reset", "truncated+1", "html", "empty-body"} {
		row := []string{nameOf(text)}
		plan, err := iidtest.ParseFault(text)
		if err != nil {
			t.Fatal(err)
		}
		cell := d.column(t, successorAll, plan.Fault)
		for range bodies {
			row = append(row, cell)
		}
		rows = append(rows, row)
	}
	return markdown(head, rows)
}
