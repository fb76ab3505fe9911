package pipeline_test

import (
	"strings"
	"testing"

	"github.com/bulksub/bulksub/pipeline"
)

func TestTokenFlaw(t *testing.T) {
	for token, want := range map[string]string{
		"":                        "empty",
		" \t":                     "empty",
		"fcm:APA91b-_":            "",
		"türkçe":                  "",
		"a b":                     "holds white space",
		"a\u00a0b":                "holds white space",
		"a\x00b":                  "holds a control character",
		"a\x7f":                   "holds a control character",
		"\xff":                    "not valid UTF-8",
		strings.Repeat(" ", 4097): "empty",
		strings.Repeat("x", 4096): "",
		strings.Repeat("x", 4097): "longer than 4096 bytes",
	} {
		if got := pipeline.TokenFlaw(token); got != want {
			t.Errorf("%.20q: %q, want %q", token, got, want)
		}
	}
}

// TestTokenFlawOfEachByte puts each byte at each place of tokens of some lengths, among bytes that are visible and
// among none that are.
func TestTokenFlawOfEachByte(t *testing.T) {
	for length := range 20 {
		for at := range length {
			for _, among := range []string{"a", "~", "!", "é"} {
				for c := range 128 {
					token := strings.Repeat(among, at) + string(rune(c)) + strings.Repeat(among, length-at-1)
					want := ""
					switch {
					case strings.TrimSpace(token) == "":
						want = "empty"
					case c < ' ', c == 0x7f:
						want = "holds a control character"
					case c == ' ':
						want = "holds white space"
					}
					if got := pipeline.TokenFlaw(token); got != want {
						t.Fatalf("%q: %q, want %q", token, got, want)
					}
				}
				if token := strings.Repeat(among, at) + "\xff" + strings.Repeat("a", length-at-1); pipeline.TokenFlaw(token) != "not valid UTF-8" {
					t.Fatalf("%q: %q", token, pipeline.TokenFlaw(token))
				}
			}
		}
	}
}

func BenchmarkTokenFlaw(b *testing.B) {
	token := strings.Repeat("dQw4w9WgXcQ:APA91bH", 9)
	for b.Loop() {
		pipeline.TokenFlaw(token)
	}
}

func TestActionInWords(t *testing.T) {
	for want, action := range map[string]pipeline.Action{
		"subscribe news":                 {Op: pipeline.Subscribe, Topic: "news"},
		"import com.example.app":         {Op: pipeline.Import, Application: "com.example.app"},
		"import com.example.app sandbox": {Op: pipeline.Import, Application: "com.example.app", Sandbox: true},
		"info":                           {Op: pipeline.Info},
	} {
		if got := action.String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
