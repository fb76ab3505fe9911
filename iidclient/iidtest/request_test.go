package iidtest

import (
	"bytes"
	"slices"
	"testing"
)

// FuzzScanBatch holds the fast way against encoding/json: what it accepts must
// be the same request.
func FuzzScanBatch(f *testing.F) {
	for _, body := range []string{
		`{"to":"/topics/a","registration_tokens":["x","y"]}`,
		`{ "to" : "/topics/a" , "registration_tokens" : [ "x" , "y" ] } `,
		`{"to":"/topics/a","registration_tokens":[]}`,
		`{"to":"/topics/a","registration_tokens":["x",]}`,
		`{"to":"/topics/a","registration_tokens":[,]}`,
		`{"to":"/topics/a","registration_tokens":["x" "y"]}`,
		`{"to":"/topics/a","registration_tokens":["\u0078","a\"b"]}`,
		`{"to":"/topics/a","registration_tokens":["x"]}}`,
		`{"to":"/topics/a","registration_tokens":["x"`,
		"{\"to\":\"/topics/a\",\"registration_tokens\":[\"x\x01\xff\"]}",
		`{"registration_tokens":["x"],"to":"/topics/a"}`, `null`, ``,
	} {
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body string) {
		fast, ok := scanBatch([]byte(body), nil)
		if !ok {
			return
		}
		slow, err := unmarshalBatch([]byte(body), nil)
		if err != nil || slow.to != fast.to || !slices.EqualFunc(slow.tokens, fast.tokens, bytes.Equal) {
			t.Errorf("%q: fast %q, slow %q, %v", body, fast, slow, err)
		}
	})
}

func TestScanBatchTakesWhatIsUsuallySent(t *testing.T) {
	for _, body := range []string{
		`{"to":"/topics/a","registration_tokens":["x","y:APA91b-_"]}`,
		`{"to": "/topics/a", "registration_tokens": ["x", "y:APA91b-_"]}`,
	} {
		batch, ok := scanBatch([]byte(body), nil)
		if !ok || batch.to != "/topics/a" || string(bytes.Join(batch.tokens, []byte("|"))) != "x|y:APA91b-_" {
			t.Errorf("%s: %q %v", body, batch, ok)
		}
	}
}
