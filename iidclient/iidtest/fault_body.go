package iidtest

import (
	"bytes"
	"encoding/json"
	"net/http"
)

// Mangled carries the call out and changes the answer on its way. The answer's
// Header and Body belong to change.
func Mangled(name string, change func(Answer) Answer) Fault {
	return Fault{Name: name, Serve: func(w http.ResponseWriter, _ *http.Request, next func() Answer) {
		change(next()).Send(w)
	}}
}

// mangled are the answers that a client must not take for a verdict: applied,
// but not to be believed.
var mangled = []struct {
	name, help string
	change     func(Answer) Answer
}{
	{"short-list", "one result too few", onList(func(list []json.RawMessage) []json.RawMessage {
		return list[:max(0, len(list)-1)]
	})},
	{"long-list", "one result too many", onList(func(list []json.RawMessage) []json.RawMessage {
		return append(list, json.RawMessage(`{}`))
	})},
	{"null-item", "the first result is null", onFirst(`null`)},
	{"number-error", "the first error is a number", onFirst(`{"error":5}`)},
	{"unknown-field", "the first result has an unknown field only", onFirst(`{"status":"accepted"}`)},
	{"duplicate-key", "the first result has two errors", onFirst(`{"error":"INTERNAL","error":"NOT_FOUND"}`)},
	{"bad-utf8", "the first error is not UTF-8", onFirst("{\"error\":\"\xff\xfe\"}")},
	{"trailing-comma", "a comma after the last result", onBytes("]", ",]")},
	{"trailing-garbage", "text after the JSON", func(a Answer) Answer {
		a.Body = append(a.Body, "<!-- served by gfe -->"...)
		return a
	}},
	{"empty-object", "200 with {}", replaced(jsonAnswer(http.StatusOK, []byte(`{}`)))},
	{"empty-body", "200 with no body", replaced(jsonAnswer(http.StatusOK, nil))},
	{"html", "200 with a web page", replaced(typed(http.StatusOK, "text/html; charset=UTF-8",
		[]byte("<!DOCTYPE html><title>Sign in</title>\n")))},
	{"error-200", "200 with an error", replaced(jsonError(http.StatusOK, CodeInternal))},
}

func replaced(by Answer) func(Answer) Answer {
	return func(Answer) Answer {
		return Answer{Status: by.Status, Header: by.Header.Clone(), Body: bytes.Clone(by.Body)}
	}
}

func onBytes(from, to string) func(Answer) Answer {
	return func(a Answer) Answer {
		a.Body = bytes.ReplaceAll(a.Body, []byte(from), []byte(to))
		return a
	}
}

func onFirst(result string) func(Answer) Answer {
	return onList(func(list []json.RawMessage) []json.RawMessage {
		list[0] = json.RawMessage(result)
		return list
	})
}

// onList edits the results of a batch; other answers pass unchanged.
func onList(edit func([]json.RawMessage) []json.RawMessage) func(Answer) Answer {
	return func(a Answer) Answer {
		var body struct {
			Results []json.RawMessage `json:"results"`
		}
		if json.Unmarshal(a.Body, &body) != nil || len(body.Results) == 0 {
			return a
		}
		list := bytes.Join(rawBytes(edit(body.Results)), []byte(","))
		a.Body = append(append([]byte(`{"results":[`), list...), `]}`...)
		return a
	}
}

func rawBytes(list []json.RawMessage) [][]byte {
	raw := make([][]byte, len(list))
	for i, item := range list {
		raw[i] = item
	}
	return raw
}
