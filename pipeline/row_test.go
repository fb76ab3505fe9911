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
		strings.Repeat("x", 4096): "",
		strings.Repeat("x", 4097): "longer than 4096 bytes",
	} {
		if got := pipeline.TokenFlaw(token); got != want {
			t.Errorf("%.20q: %q, want %q", token, got, want)
		}
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
