package iidclient

import (
	"encoding/json"
	"errors"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bulksub/bulksub/iidclient/iidtest"
)

func TestInfoAsksWhatTheReferenceSays(t *testing.T) {
	var got []string
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		got = append(got, r.Method+" "+r.RequestURI)
		if r.ContentLength != 0 || r.TransferEncoding != nil {
			t.Error("a GET with a body")
		}
		reply(200, `{"platform":"Android"}`)(w, r)
	})
	c := open(t, s.URL+"/base", Config{})
	for _, details := range []bool{false, true} {
		if info, err := c.Info(t.Context(), "a:b/../é?#%", details); err != nil || info.Platform != "ANDROID" {
			t.Error(info, err)
		}
	}
	want := []string{
		"GET /base/iid/info/a:b%2F..%2F%C3%A9%3F%23%25",
		"GET /base/iid/info/a:b%2F..%2F%C3%A9%3F%23%25?details=true",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestInfoOfTheStandIn(t *testing.T) {
	now := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	_, c := standIn(t, iidtest.Config{Now: func() time.Time { return now }})
	for _, topic := range []string{"b", "private/x%y", "a"} {
		if err := c.Subscribe(t.Context(), "a:APA91b", topic); err != nil {
			t.Fatal(err)
		}
		now = now.AddDate(0, 0, 1)
	}
	plain, err := c.Info(t.Context(), "a:APA91b", false)
	if err != nil || plain.Application != "com.example.android" || plain.Topics != nil || plain.ConnectDate != "" {
		t.Errorf("%+v, %v", plain, err)
	}
	got, err := c.Info(t.Context(), "a:APA91b", true)
	if !json.Valid(got.Raw) {
		t.Errorf("raw: %s", got.Raw)
	}
	got.Raw = nil
	want := Info{
		Application: "com.example.android", AuthorizedEntity: "123456782354", Platform: "ANDROID", ApplicationVersion: "36",
		AppSigner: "1a2bc3d4e51a2bc3d4e51a2bc3d4e51a2bc3d4e5", Scope: "*", AttestStatus: "NOT_ROOTED",
		ConnectionType: "WIFI", ConnectDate: "2026-02-03",
		Topics: []Relation{{"a", "2026-02-02"}, {"b", "2026-01-31"}, {"private/x%y", "2026-02-01"}},
	}
	if got.Date.IsZero() {
		t.Error("the service's clock is not read")
	}
	got.Date = time.Time{}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
}

func TestInfoOfAnImportedToken(t *testing.T) {
	_, c := standIn(t, iidtest.Config{})
	imported, err := c.BatchImport(t.Context(), bundle, false, apnsTokens(1))
	if err != nil {
		t.Fatal(err)
	}
	info, err := c.Info(t.Context(), imported[0].RegistrationToken, true)
	if err != nil || info.Platform != "IOS" || info.Application != bundle || info.Topics != nil {
		t.Errorf("%+v, %v", info, err)
	}
}

func TestInfoIsJudged(t *testing.T) {
	fates := map[string]iidtest.Fate{
		"dead": iidtest.Dead, "bad": iidtest.Invalid, "other": iidtest.OtherProject, "full": iidtest.Overloaded, "down": iidtest.Transient(1),
	}
	_, c := standIn(t, iidtest.Config{Fates: func(token string) iidtest.Fate { return fates[token] }})
	for token, want := range map[string]Code{
		"live": CodeOK, "dead": CodeNotFound, "bad": CodeInvalidArgument, "other": CodePermissionDenied, "full": CodeOK, "down": noVerdict,
	} {
		info, err := c.Info(t.Context(), token, true)
		if got := verdictOf(t, err); got != want || (info.Raw == nil) != (want != CodeOK) {
			t.Errorf("%s: got %q, %+v, want %q", token, got, info, want)
		}
	}
	for name, want := range refusals {
		_, c := standIn(t, iidtest.Config{Faults: []iidtest.Plan{fault(t, name)}})
		_, err := c.Info(t.Context(), "live", false)
		if got := verdictOf(t, err); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
}

func TestInfoFaultsJudgeNoToken(t *testing.T) {
	for _, name := range []string{"reset", "applied-reset", "truncated", "truncated+60", "endless", "empty-object", "empty-body", "html", "error-200", "trailing-garbage"} {
		_, c := standIn(t, iidtest.Config{Faults: []iidtest.Plan{fault(t, name)}})
		info, err := c.Info(t.Context(), "live", false)
		if judged := (*TokenError)(nil); err == nil || errors.As(err, &judged) || !reflect.DeepEqual(info, Info{}) {
			t.Errorf("%s: got %+v, %v", name, info, err)
		}
	}
}

func TestInfoArgumentsAreRefusedBeforeACall(t *testing.T) {
	s := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("called") })
	c := open(t, s.URL, Config{})
	for _, token := range []string{"", ".", "..", "a\xff"} {
		_, err := c.Info(t.Context(), token, true)
		var refused *ArgumentError
		if !errors.As(err, &refused) {
			t.Errorf("%q: %v", token, err)
		}
	}
}

// infoReplies are what the editions of the reference show, made valid JSON, and
// what was seen or may be.
var infoReplies = map[string]Info{
	`{"application":"com.iid.example","authorizedEntity":"123456782354","platform":"Android","attestStatus":"ROOTED",
	  "appSigner":"1a2bc3d4e5","connectionType":"WIFI","connectDate":"2015-05-12",
	  "rel":{"topics":{"topicname2":{"addDate":"2015-07-31"},"topicname1":{"addDate":"2015-07-30"}}}}`: {
		Application: "com.iid.example", AuthorizedEntity: "123456782354", Platform: "ANDROID", AttestStatus: "ROOTED",
		AppSigner: "1a2bc3d4e5", ConnectionType: "WIFI", ConnectDate: "2015-05-12",
		Topics: []Relation{{"topicname1", "2015-07-30"}, {"topicname2", "2015-07-31"}},
	},
	`{"authorizedEntity":123456782354,"applicationVersion":36,"platform":"WEBPUSH","subtype":"wp:x","scope":"*","appSigner":null}`: {
		AuthorizedEntity: "123456782354", ApplicationVersion: "36", Platform: "WEBPUSH", Scope: "*",
	},
	" {\"platform\":\"\\u0049OS\",\"gmiRegistrationId\":\"x\",\"rel\":{}}\n":                      {Platform: "IOS"},
	`{"platform":"IOS","rel":null}`:                                                               {Platform: "IOS"},
	`{"platform":"IOS","rel":{"topics":null,"groups":[1]}}`:                                       {Platform: "IOS"},
	`{"platform":"IOS","rel":{"topics":{"a":{},"b":null,"c":{"addDate":20150730,"x":{}}}}}`:       {Platform: "IOS", Topics: []Relation{{"a", ""}, {"b", ""}, {"c", "20150730"}}},
	`{"platform":"IOS","Platform":"x","application":true,"rel":{"topics":{"é":{"addDate":"x"}}}}`: {Platform: "IOS", Application: "true", Topics: []Relation{{"é", "x"}}},
}

func TestDecodeInfo(t *testing.T) {
	for body, want := range infoReplies {
		want.Raw = []byte(strings.TrimSpace(body))
		if got, err := decodeInfo([]byte(body)); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v, %v", body, got, err)
		}
	}
}

// distrustedInfos are replies that must not be believed.
var distrustedInfos = map[string]string{
	"empty":            ``,
	"null":             `null`,
	"list":             `[]`,
	"string":           `"IOS"`,
	"empty object":     `{}`,
	"nothing known":    `{"app":"x"}`,
	"another case":     `{"Platform":"IOS"}`,
	"error":            `{"error":"INTERNAL"}`,
	"error beside":     `{"platform":"IOS","error":"INTERNAL"}`,
	"object field":     `{"platform":"IOS","application":{}}`,
	"list field":       `{"platform":["IOS"]}`,
	"key twice":        `{"platform":"IOS","platform":"IOS"}`,
	"escaped twice":    `{"platform":"IOS","\u0070latform":"IOS"}`,
	"topic twice":      `{"platform":"IOS","rel":{"topics":{"a":{},"a":{}}}}`,
	"list of topics":   `{"platform":"IOS","rel":{"topics":["a"]}}`,
	"list of rel":      `{"platform":"IOS","rel":[]}`,
	"topic a date":     `{"platform":"IOS","rel":{"topics":{"a":"2015-07-30"}}}`,
	"date an object":   `{"platform":"IOS","rel":{"topics":{"a":{"addDate":{}}}}}`,
	"trailing comma":   `{"platform":"IOS",}`,
	"trailing data":    `{"platform":"IOS"}{}`,
	"invalid UTF-8":    "{\"platform\":\"IOS\xff\"}",
	"cut":              `{"platform":"IOS"`,
	"reference sample": "{\"connectDate\":\"2015-05-12\n\"rel\":{}}",
	"web page":         `<!DOCTYPE html>`,
}

func TestDecodeInfoRefusesOtherReplies(t *testing.T) {
	for name, body := range distrustedInfos {
		got, err := decodeInfo([]byte(body))
		var distrust *ReplyError
		if !errors.As(err, &distrust) || !reflect.DeepEqual(got, Info{}) || distrust.Reason == "" {
			t.Errorf("%s: got %+v, %v", name, got, err)
		}
	}
}

func FuzzDecodeInfo(f *testing.F) {
	for body := range infoReplies {
		f.Add([]byte(body))
	}
	for _, body := range distrustedInfos {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		got, err := decodeInfo(body)
		if err != nil {
			if distrust := (*ReplyError)(nil); !errors.As(err, &distrust) || !reflect.DeepEqual(got, Info{}) {
				t.Fatalf("%+v, %v", got, err)
			}
			return
		}
		var oracle map[string]any
		if err := json.Unmarshal(body, &oracle); err != nil {
			t.Fatalf("believed what encoding/json refuses: %v", err)
		}
		if platform, ok := oracle["platform"].(string); ok && strings.ToUpper(platform) != got.Platform {
			t.Fatalf("platform %q for %q", got.Platform, platform)
		}
		rel, _ := oracle["rel"].(map[string]any)
		topics, _ := rel["topics"].(map[string]any)
		if len(topics) != len(got.Topics) || !slices.IsSortedFunc(got.Topics, func(a, b Relation) int { return strings.Compare(a.Topic, b.Topic) }) {
			t.Fatalf("topics %q for %v", got.Topics, topics)
		}
	})
}
