package iidclient

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestEncodeBatchKeepsTheShapeOfTheSDKs(t *testing.T) {
	got := string(encodeBatch(new(bytes.Buffer), "news", []string{"a:b", `q"\` + "\n", "<é>"}))
	want := `{"to":"/topics/news","registration_tokens":["a:b","q\"\\\u000a","<é>"]}`
	if got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestEncodeBatchSaysEveryTokenAsItIs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tokens := rapid.SliceOfN(rapid.String().Filter(sendable), 1, 20).Draw(t, "tokens")
		var got struct {
			To     string   `json:"to"`
			Tokens []string `json:"registration_tokens"`
		}
		if err := json.Unmarshal(encodeBatch(new(bytes.Buffer), "a~b%c", tokens), &got); err != nil {
			t.Fatal(err)
		}
		if got.To != "/topics/a~b%c" || !slices.Equal(got.Tokens, tokens) {
			t.Fatalf("got %q, want %q", got, tokens)
		}
	})
}

// TestEncodeEachByte puts each byte at each place of strings of some lengths.
func TestEncodeEachByte(t *testing.T) {
	for length := range 20 {
		for at := range length {
			for _, among := range []string{"a", "!", "]", "é"} {
				for c := range 128 {
					want := strings.Repeat(among, at) + string(rune(c)) + strings.Repeat(among, length-at-1)
					var got string
					if err := json.Unmarshal(appendString(nil, want), &got); err != nil || got != want {
						t.Fatalf("%q became %q: %v", want, got, err)
					}
				}
			}
		}
	}
}

func BenchmarkEncodeBatch(b *testing.B) {
	tokens := testTokens(MaxBatch)
	b.ReportAllocs()
	for b.Loop() {
		buf := newBuffer()
		encodeBatch(buf, "news", tokens)
		keep(buf)
	}
}
