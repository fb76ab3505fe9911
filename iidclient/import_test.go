package iidclient

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/bulksub/bulksub/iidclient/iidtest"
)

const bundle = "com.example.app"

func apnsTokens(n int) []string {
	tokens := make([]string, n)
	for i := range tokens {
		tokens[i] = iidtest.APNsToken(1, i)
	}
	return tokens
}

func TestBatchImportSendsWhatTheReferenceSays(t *testing.T) {
	var path, body string
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		path = r.Method + " " + r.RequestURI + " " + r.Header.Get("Content-Type")
		var sent json.RawMessage
		if err := json.NewDecoder(r.Body).Decode(&sent); err != nil {
			t.Error(err)
		}
		body = string(sent)
		reply(200, `{"results":[{"apns_token":"AB","status":"OK","registration_token":"x:y"}]}`)(w, r)
	})
	got, err := open(t, s.URL, Config{}).BatchImport(t.Context(), bundle, true, []string{"Ab", "aB"})
	if want := []Imported{{"x:y", CodeOK}, {"x:y", CodeOK}}; err != nil || !slices.Equal(got, want) {
		t.Errorf("got %v, %v", got, err)
	}
	if path != "POST /iid/v1:batchImport application/json" || body != `{"application":"com.example.app","sandbox":true,"apns_tokens":["Ab"]}` {
		t.Error(path, body)
	}
}

// TestBatchImportMatchesByTokenNotByPlace imports a full batch, in every spelling,
// of which a share fails.
func TestBatchImportMatchesByTokenNotByPlace(t *testing.T) {
	mix := iidtest.Mix{Invalid: 0.2, Transient: 0.2, Unknown: 0.1}
	s, c := standIn(t, iidtest.Config{Fates: mix.Fate})
	tokens := apnsTokens(MaxImport)
	sent := slices.Clone(tokens)
	for i := range sent {
		if i%3 == 0 {
			sent[i] = strings.ToUpper(sent[i])
		}
	}
	got, err := c.BatchImport(t.Context(), bundle, false, sent)
	if err != nil || len(got) != MaxImport {
		t.Fatal(len(got), err)
	}
	ok := 0
	for i, token := range tokens {
		want := Imported{Code: Code(mix.Fate(token).Code)}
		if want.Code == CodeOK {
			want.RegistrationToken, ok = iidtest.Minted(bundle, false, token), ok+1
		}
		if got[i] != want {
			t.Errorf("token %d: got %+v, want %+v", i, got[i], want)
		}
	}
	if ok == 0 || ok == MaxImport || len(s.Imports()) != ok {
		t.Errorf("%d of %d, the service has %d", ok, MaxImport, len(s.Imports()))
	}
}

func TestImportedTokensAreLive(t *testing.T) {
	s, c := standIn(t, iidtest.Config{})
	got, err := c.BatchImport(t.Context(), bundle, false, apnsTokens(2))
	if err != nil {
		t.Fatal(err)
	}
	minted := []string{got[0].RegistrationToken, got[1].RegistrationToken}
	if codes, err := c.BatchAdd(t.Context(), "news", minted); err != nil || !slices.Equal(codes, []Code{CodeOK, CodeOK}) || s.Count("news") != 2 {
		t.Errorf("got %q, %v", codes, err)
	}
}

func TestImportStatuses(t *testing.T) {
	fates := map[string]iidtest.Fate{
		"aa": iidtest.Unminted, "bb": iidtest.Always("Internal Server Error"), "cc": iidtest.Always("ok"), "dd": iidtest.Exhausted(1),
	}
	_, c := standIn(t, iidtest.Config{Fates: func(token string) iidtest.Fate { return fates[token] }})
	got, err := c.BatchImport(t.Context(), bundle, false, []string{"AA", "bb", "cc", "dd", "ee", "EE"})
	live := Imported{RegistrationToken: iidtest.Minted(bundle, false, "ee")}
	want := []Imported{{"", CodeNoRegistrationToken}, {"", CodeInternalServerError}, {"", "ok"}, {"", CodeResourceExhausted}, live, live}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
}

func TestTheWrongAppIsAFailureOfEachToken(t *testing.T) {
	_, c := standIn(t, iidtest.Config{Import: iidtest.Import{Apps: []iidtest.App{{BundleID: bundle}}}})
	got, err := c.BatchImport(t.Context(), bundle, true, apnsTokens(2))
	if want := []Imported{{"", CodeInvalidArgument}, {"", CodeInvalidArgument}}; err != nil || !slices.Equal(got, want) {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestImportFaultsJudgeNoToken(t *testing.T) {
	for _, name := range iidtest.FaultNames() {
		switch name[0] {
		case "slow", "drip":
			continue // TestTimeoutEndsACall
		}
		_, c := standIn(t, iidtest.Config{Faults: []iidtest.Plan{fault(t, name[0])}})
		got, err := c.BatchImport(t.Context(), bundle, false, apnsTokens(3))
		if judged := (*TokenError)(nil); err == nil || got != nil || errors.As(err, &judged) {
			t.Errorf("%s: got %+v, %v", name[0], got, err)
		}
	}
}

func TestImportArgumentsAreRefusedBeforeACall(t *testing.T) {
	s := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("called") })
	c := open(t, s.URL, Config{})
	for name, call := range map[string]struct {
		app    string
		tokens []string
	}{
		"none":       {bundle, nil},
		"too many":   {bundle, apnsTokens(MaxImport + 1)},
		"empty":      {bundle, []string{"aa", ""}},
		"odd":        {bundle, []string{"aaa"}},
		"no hex":     {bundle, []string{"ag"}},
		"brackets":   {bundle, []string{"<aa>"}},
		"space":      {bundle, []string{"a a "}},
		"fullwidth":  {bundle, []string{"１１"}},
		"long":       {bundle, []string{strings.Repeat("a", 4098)}},
		"no app":     {"", []string{"aa"}},
		"app, space": {"com example", []string{"aa"}},
		"app, line":  {"com.example_app", []string{"aa"}},
	} {
		got, err := c.BatchImport(t.Context(), call.app, false, call.tokens)
		var refused *ArgumentError
		if !errors.As(err, &refused) || got != nil {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

// distrustedImports are replies that must not be believed for "aa" and "Bb".
var distrustedImports = map[string]string{
	"empty":              ``,
	"codes":              `{"results":[{},{}]}`,
	"null results":       `{"results":null}`,
	"error":              `{"error":"INTERNAL"}`,
	"absent":             `{"results":[{"apns_token":"aa","status":"X"}]}`,
	"twice":              `{"results":[{"apns_token":"aa","status":"X"},{"apns_token":"AA","status":"X"}]}`,
	"twice and all":      `{"results":[{"apns_token":"aa","status":"X"},{"apns_token":"bb","status":"X"},{"apns_token":"bb","status":"X"}]}`,
	"not asked for":      `{"results":[{"apns_token":"aa","status":"X"},{"apns_token":"cc","status":"X"}]}`,
	"one more":           `{"results":[{"apns_token":"aa","status":"X"},{"apns_token":"bb","status":"X"},{"apns_token":"cc","status":"X"}]}`,
	"no status":          `{"results":[{"apns_token":"aa","status":"X"},{"apns_token":"bb"}]}`,
	"no APNs token":      `{"results":[{"apns_token":"aa","status":"X"},{"status":"X"}]}`,
	"empty status":       `{"results":[{"apns_token":"aa","status":"X"},{"apns_token":"bb","status":""}]}`,
	"null status":        `{"results":[{"apns_token":"aa","status":"X"},{"apns_token":"bb","status":null}]}`,
	"number":             `{"results":[{"apns_token":"aa","status":"X"},{"apns_token":"bb","status":5}]}`,
	"status twice":       `{"results":[{"apns_token":"aa","status":"X"},{"apns_token":"bb","status":"X","status":"OK"}]}`,
	"token twice":        `{"results":[{"apns_token":"aa","status":"X"},{"apns_token":"bb","apns_token":"aa","status":"X"}]}`,
	"unknown key":        `{"results":[{"apns_token":"aa","status":"X"},{"apns_token":"bb","status":"X","error":"Y"}]}`,
	"Status":             `{"results":[{"apns_token":"aa","status":"X"},{"apns_token":"bb","Status":"X"}]}`,
	"failure with token": `{"results":[{"apns_token":"aa","status":"X"},{"apns_token":"bb","status":"X","registration_token":"x"}]}`,
	"token with a space": `{"results":[{"apns_token":"aa","status":"X"},{"apns_token":"bb","status":"OK","registration_token":"x y"}]}`,
	"token with a line":  `{"results":[{"apns_token":"aa","status":"X"},{"apns_token":"bb","status":"OK","registration_token":"x\ny"}]}`,
	"null token":         `{"results":[{"apns_token":"aa","status":"X"},{"apns_token":"bb","status":"OK","registration_token":null}]}`,
	"long token":         `{"results":[{"apns_token":"aa","status":"X"},{"apns_token":"bb","status":"OK","registration_token":"` + strings.Repeat("x", 4097) + `"}]}`,
	"null result":        `{"results":[{"apns_token":"aa","status":"X"},null]}`,
	"trailing comma":     `{"results":[{"apns_token":"aa","status":"X"},{"apns_token":"bb","status":"X",}]}`,
	"no comma":           `{"results":[{"apns_token":"aa","status":"X"}{"apns_token":"bb","status":"X"}]}`,
	"no colon":           `{"results":[{"apns_token":"aa","status":"X"},{"apns_token" "bb","status":"X"}]}`,
	"trailing data":      `{"results":[{"apns_token":"aa","status":"X"},{"apns_token":"bb","status":"X"}]}{}`,
	"cut":                `{"results":[{"apns_token":"aa","status":"X"},{"apns_token":"bb","status":"X"`,
	"invalid UTF-8":      "{\"results\":[{\"apns_token\":\"aa\",\"status\":\"X\"},{\"apns_token\":\"bb\",\"status\":\"X\xff\"}]}",
}

func TestDecodeImportConcludesNothingFromOtherReplies(t *testing.T) {
	for name, body := range distrustedImports {
		got, err := decodeImport([]byte(body), newImportIndex([]string{"aa", "Bb"}))
		var distrust *ReplyError
		if !errors.As(err, &distrust) || got != nil || distrust.Reason == "" {
			t.Errorf("%s: got %+v, %v", name, got, err)
		}
	}
}

// TestDecodeImportFindsEveryToken gives results in any order and spelling, with
// fields in any order.
func TestDecodeImportFindsEveryToken(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tokens := rapid.SliceOfNDistinct(rapid.StringMatching(`([0-9a-f][0-9a-f]){1,4}`), 1, 20, rapid.ID[string]).Draw(t, "tokens")
		var results []string
		for _, token := range rapid.Permutation(tokens).Draw(t, "order") {
			spelt := rapid.SampledFrom([]string{token, strings.ToUpper(token)}).Draw(t, "spelling")
			fields := []string{`"status":"OK"`, `"apns_token":"` + spelt + `"`, `"registration_token" : "r:` + token + `"`}
			results = append(results, "{"+strings.Join(rapid.Permutation(fields).Draw(t, "fields"), ",")+"}")
		}
		got, err := decodeImport([]byte(`{"results":[`+strings.Join(results, " ,")+`]}`), newImportIndex(tokens))
		if err != nil {
			t.Fatal(err)
		}
		for i, token := range tokens {
			if got[i] != (Imported{RegistrationToken: "r:" + token}) {
				t.Fatalf("%s: %+v", token, got[i])
			}
		}
	})
}

func FuzzDecodeImport(f *testing.F) {
	asked := newImportIndex([]string{"aa", "Bb"})
	f.Add([]byte(`{"results":[{"registration_token":"x:y","apns_token":"BB","status":"OK"},{"apns_token":"aa","status":"Internal Server Error"}]}`))
	for _, body := range distrustedImports {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		got, err := decodeImport(body, asked)
		if err != nil {
			if got != nil {
				t.Fatal("answers beside an error")
			}
			return
		}
		var oracle struct {
			Results []struct {
				APNs   string `json:"apns_token"`
				Token  string `json:"registration_token"`
				Status string `json:"status"`
			} `json:"results"`
		}
		decoder := json.NewDecoder(strings.NewReader(string(body)))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&oracle); err != nil || !json.Valid(body) || len(oracle.Results) != 2 || len(got) != 2 {
			t.Fatalf("believed what encoding/json refuses: %v", err)
		}
		for _, r := range oracle.Results {
			answer := got[asked.places[strings.ToLower(r.APNs)]]
			if success := r.Status == "OK" && r.Token != ""; success != (answer.Code == CodeOK) || answer.RegistrationToken != r.Token {
				t.Fatalf("%+v: %+v", r, answer)
			}
		}
	})
}

func TestImportErrorsHoldNoToken(t *testing.T) {
	token := apnsTokens(1)[0]
	for name, err := range map[string]error{
		"argument": CheckAPNsToken(token + "x"),
		"reply": func() error {
			_, err := decodeImport(fmt.Appendf(nil, `{"results":[{"apns_token":"%s","status":"X"}]}`, token), newImportIndex([]string{"aa"}))
			return err
		}(),
	} {
		if err == nil || strings.Contains(err.Error(), token[:12]) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
