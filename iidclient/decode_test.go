package iidclient

import (
	"encoding/json"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
)

func TestDecodeResults(t *testing.T) {
	for _, tc := range []struct {
		body string
		want []Code
	}{
		{`{"results":[{}]}`, []Code{CodeOK}},
		{"\n{ \"results\" : [ {} , { \"error\" : \"NOT_FOUND\" } ,\t{ } ] }\r\n", []Code{CodeOK, CodeNotFound, CodeOK}},
		{`{"results":[{"error":"not_found"}]}`, []Code{"not_found"}},
		{`{"results":[{"error":"A_NEW_CODE é"}]}`, []Code{"A_NEW_CODE é"}},
		{`{"results":[{"error":"a\"\\\/\u0041\ud83d\ude00"}]}`, []Code{`a"\/A😀`}},
		{`{"results":[{"error":"NOT\u005fFOUND"}]}`, []Code{CodeNotFound}},
	} {
		got, err := decodeResults([]byte(tc.body), len(tc.want))
		if err != nil || !slices.Equal(got, tc.want) {
			t.Errorf("%s: got %q, %v", tc.body, got, err)
		}
	}
}

// distrusted are replies that must not be believed for two tokens.
var distrusted = map[string]string{
	"empty":             "",
	"white space":       " \n",
	"null":              "null",
	"empty object":      `{}`,
	"missing results":   `{"result":[{},{}]}`,
	"null results":      `{"results":null}`,
	"object results":    `{"results":{}}`,
	"empty list":        `{"results":[]}`,
	"short":             `{"results":[{}]}`,
	"long":              `{"results":[{},{},{}]}`,
	"error":             `{"error":"INTERNAL"}`,
	"both":              `{"results":[{},{}],"error":"x"}`,
	"error first":       `{"error":"x","results":[{},{}]}`,
	"twice":             `{"results":[{},{}],"results":[{},{}]}`,
	"Results":           `{"Results":[{},{}]}`,
	"Error":             `{"results":[{},{"Error":"x"}]}`,
	"unknown key":       `{"results":[{},{"code":"x"}]}`,
	"extra key":         `{"results":[{},{"error":"x","a":1}]}`,
	"duplicate key":     `{"results":[{},{"error":"x","error":"y"}]}`,
	"null element":      `{"results":[{},null]}`,
	"list element":      `{"results":[{},[]]}`,
	"string element":    `{"results":[{},"NOT_FOUND"]}`,
	"null error":        `{"results":[{},{"error":null}]}`,
	"number error":      `{"results":[{},{"error":5}]}`,
	"object error":      `{"results":[{},{"error":{}}]}`,
	"empty error":       `{"results":[{},{"error":""}]}`,
	"escaped NUL":       `{"results":[{},{"error":"a\u0000"}]}`,
	"lone surrogate":    `{"results":[{},{"error":"a\ud800"}]}`,
	"bad escape":        `{"results":[{},{"error":"a\x"}]}`,
	"raw control":       "{\"results\":[{},{\"error\":\"a\nb\"}]}",
	"invalid UTF-8":     "{\"results\":[{},{\"error\":\"a\xff\"}]}",
	"byte order mark":   "\ufeff{\"results\":[{},{}]}",
	"trailing comma":    `{"results":[{},{},]}`,
	"trailing data":     `{"results":[{},{}]}{}`,
	"trailing NUL":      "{\"results\":[{},{}]}\x00",
	"cut":               `{"results":[{},{}]`,
	"cut in a string":   `{"results":[{},{"error":"NOT`,
	"cut in an escape":  `{"results":[{},{"error":"NOT\`,
	"single quotes":     `{'results':[{},{}]}`,
	"web page":          `<!DOCTYPE html><html>`,
	"non-JSON space":    "{\"results\":[{},\u00a0{}]}",
	"no comma":          `{"results":[{}{}]}`,
	"escaped key":       `{"r\u0065sults":[{},{}]}`,
	"long, then broken": `{"results":[{},{},{`,
}

func TestDecodeResultsConcludesNothingFromOtherReplies(t *testing.T) {
	for name, body := range distrusted {
		codes, err := decodeResults([]byte(body), 2)
		var distrust *ReplyError
		if !errors.As(err, &distrust) || codes != nil || distrust.Reason == "" {
			t.Errorf("%s: got %q, %v", name, codes, err)
		}
	}
}

func TestDecodeEmpty(t *testing.T) {
	if err := decodeEmpty([]byte(" { }\n")); err != nil {
		t.Error(err)
	}
	for _, body := range []string{"", "{", "null", `{"error":"x"}`, "{}{}", "[]"} {
		if decodeEmpty([]byte(body)) == nil {
			t.Errorf("%q was believed", body)
		}
	}
}

func FuzzDecodeResults(f *testing.F) {
	f.Add([]byte(`{"results":[{},{"error":"NOT_FOUND"}]}`), uint16(2))
	f.Add([]byte(`{"results":[{"error":"\ud83d\ude00é\\"}]}`), uint16(1))
	for _, body := range distrusted {
		f.Add([]byte(body), uint16(2))
	}
	f.Fuzz(func(t *testing.T, body []byte, want uint16) {
		codes, err := decodeResults(body, int(want))
		if err != nil {
			if codes != nil {
				t.Fatal("codes beside an error")
			}
			return
		}
		var oracle struct {
			Results []struct {
				Error *string `json:"error"`
			} `json:"results"`
		}
		decoder := json.NewDecoder(strings.NewReader(string(body)))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&oracle); err != nil || !json.Valid(body) {
			t.Fatalf("believed what encoding/json refuses: %v", err)
		}
		if len(codes) != int(want) || len(oracle.Results) != int(want) {
			t.Fatalf("%d codes, %d results, %d tokens", len(codes), len(oracle.Results), want)
		}
		for i, r := range oracle.Results {
			if (r.Error == nil) != (codes[i] == CodeOK) || r.Error != nil && *r.Error != string(codes[i]) {
				t.Fatalf("result %d: %q", i, codes[i])
			}
		}
	})
}

// What goes on beside a measurement can only add to it: the least of some counts.
func TestDecodeResultsAllocatesOnceForKnownCodes(t *testing.T) {
	body := mixedReply(MaxBatch)
	least := math.Inf(1)
	for range 20 {
		least = min(least, testing.AllocsPerRun(20, func() {
			if _, err := decodeResults(body, MaxBatch); err != nil {
				t.Fatal(err)
			}
		}))
	}
	if least > 1 {
		t.Errorf("%v allocations", least)
	}
}

func BenchmarkDecodeResults(b *testing.B) {
	body := mixedReply(MaxBatch)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := decodeResults(body, MaxBatch); err != nil {
			b.Fatal(err)
		}
	}
}

// mixedReply fails every fourth token with the next known code.
func mixedReply(n int) []byte {
	b := []byte(`{"results":[`)
	for i := range n {
		if i > 0 {
			b = append(b, ',')
		}
		if i%4 == 0 {
			b = append(append(append(b, `{"error":"`...), knownCodes[i/4%len(knownCodes)]...), `"}`...)
		} else {
			b = append(b, `{}`...)
		}
	}
	return append(b, `]}`...)
}
