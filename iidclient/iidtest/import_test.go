package iidtest_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/bulksub/bulksub/iidclient/iidtest"
)

const bundle = "com.example.app"

// importResult is one result of batchImport.
type importResult struct {
	Registration string `json:"registration_token"`
	APNs         string `json:"apns_token"`
	Status       string `json:"status"`
}

func importBody(t testing.TB, application string, sandbox bool, tokens []string) string {
	t.Helper()
	body, err := json.Marshal(map[string]any{"application": application, "sandbox": sandbox, "apns_tokens": tokens})
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// imports returns the results of a call that must succeed.
func (c *caller) imports(application string, sandbox bool, tokens ...string) []importResult {
	c.t.Helper()
	got := c.post("/iid/v1:batchImport", importBody(c.t, application, sandbox, tokens))
	var body struct {
		Results []importResult `json:"results"`
	}
	if err := json.Unmarshal([]byte(got.body), &body); got.status != http.StatusOK || err != nil {
		c.t.Fatalf("not a list of results: %v", got)
	}
	return body.Results
}

func apnsTokens(n int) []string {
	var list []string
	for i := range n {
		list = append(list, iidtest.APNsToken(1, i))
	}
	return list
}

func TestImportMintsLiveTokens(t *testing.T) {
	c := open(t, iidtest.Config{})
	apns := apnsTokens(3)
	var minted []string
	for _, result := range c.imports(bundle, false, apns...) {
		if result.Status != "OK" || result.Registration != iidtest.Minted(bundle, false, result.APNs) {
			t.Errorf("%+v", result)
		}
		minted = append(minted, result.Registration)
	}
	if codes := c.add("news", minted...).codes(t); !slices.Equal(codes, []string{"", "", ""}) {
		t.Errorf("%q", codes)
	}
	imports := c.service.Imports()
	if len(imports) != 3 || !slices.IsSortedFunc(imports, func(a, b iidtest.Imported) int { return strings.Compare(a.APNsToken, b.APNsToken) }) {
		t.Errorf("%+v", imports)
	}
	c.service.Reset()
	if c.service.Imports() != nil {
		t.Error("a reset leaves imports")
	}
}

// The value is written out because results of one run are compared with the
// oracle of another.
func TestMintedTokensAreStableAndTellAppsApart(t *testing.T) {
	const (
		apns = "9c982dc13ad9850549fe45ee96fa4e83d17b1185e858b11b7974470a73270a08"
		want = "g_hegs8jXqW:APA91bPVukQxlipHy6T8KBwCPHveYtpLl-Auu0psTcCPwg7piyjmFN-h6zf9nT313t2bo--7lBLm7HCe8gVuHt7Ag-ORePZT2Mx9pqlvNpEV84brGzNHpyCrTQOew8QKSfY-Mdv-Dz4-"
	)
	shape := regexp.MustCompile(`^[A-Za-z0-9_-]{11}:APA91b[A-Za-z0-9_-]{134}$`)
	token := iidtest.Minted(bundle, false, apns)
	if token != want || !shape.MatchString(token) {
		t.Errorf("%s", token)
	}
	if iidtest.Minted(bundle, false, strings.ToUpper(apns)) != token {
		t.Error("the case of the APNs token makes a difference")
	}
	if iidtest.Minted(bundle, true, apns) == token || iidtest.Minted(bundle+"2", false, apns) == token {
		t.Error("the app makes no difference")
	}
	if got := iidtest.APNsToken(1, 0); got != apns {
		t.Errorf("APNs token: %s", got)
	}
}

func TestImportEchoesTheTokenAsItCame(t *testing.T) {
	c := open(t, iidtest.Config{})
	const mixed = "ABCDEF0123456789abcdef"
	for range 2 {
		if got := c.imports(bundle, true, mixed); len(got) != 1 || got[0].APNs != mixed {
			t.Errorf("%+v", got)
		}
	}
	want := []iidtest.Imported{{
		App: iidtest.App{BundleID: bundle, Sandbox: true}, APNsToken: strings.ToLower(mixed),
		RegistrationToken: iidtest.Minted(bundle, true, mixed),
	}}
	if got := c.service.Imports(); !slices.Equal(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	got := c.do("GET", "/emulator/v1/imports", "")
	if want := `{"imports":[{"application":"com.example.app","sandbox":true,"apnsToken":"` + strings.ToLower(mixed) + `",` +
		`"registrationToken":"` + iidtest.Minted(bundle, true, mixed) + `"}]}`; got.body != want {
		t.Errorf("got %v, want %s", got, want)
	}
}

func TestImportShufflesItsResults(t *testing.T) {
	asked := apnsTokens(100)
	order := func(rules iidtest.Import) []string {
		var order []string
		for _, result := range open(t, iidtest.Config{Import: rules}).imports(bundle, false, asked...) {
			order = append(order, result.APNs)
		}
		return order
	}
	shuffled := order(iidtest.Import{})
	if slices.Equal(shuffled, asked) || !slices.Equal(slices.Sorted(slices.Values(shuffled)), slices.Sorted(slices.Values(asked))) {
		t.Error("not shuffled, or not the same tokens")
	}
	if !slices.Equal(shuffled, order(iidtest.Import{})) || slices.Equal(shuffled, order(iidtest.Import{Seed: 1})) {
		t.Error("the order must depend on the seed and the call's number, and on nothing else")
	}
	if !slices.Equal(asked, order(iidtest.Import{InOrder: true})) {
		t.Error("shuffled though it should not")
	}
}

func TestImportFates(t *testing.T) {
	fates := map[string]iidtest.Fate{
		"aa": iidtest.Invalid, "bb": iidtest.Transient(1), "cc": iidtest.Always(iidtest.CodeInternalServerError),
		"dd": iidtest.Unminted, "ee": iidtest.Overloaded, "ff": iidtest.Exhausted(2),
	}
	c := open(t, iidtest.Config{
		Import: iidtest.Import{InOrder: true},
		Fates:  func(token string) iidtest.Fate { return fates[token] },
	})
	for try, want := range []string{
		"OK INVALID_ARGUMENT INTERNAL Internal_Server_Error OK- OK RESOURCE_EXHAUSTED INVALID_ARGUMENT",
		"OK INVALID_ARGUMENT OK Internal_Server_Error OK- OK RESOURCE_EXHAUSTED INVALID_ARGUMENT",
		"OK INVALID_ARGUMENT OK Internal_Server_Error OK- OK OK INVALID_ARGUMENT",
	} {
		var got []string
		for _, result := range c.imports(bundle, false, "00", "AA", "BB", "CC", "DD", "EE", "FF", "abc") {
			word := strings.ReplaceAll(result.Status, " ", "_")
			if word == "OK" && result.Registration == "" {
				word += "-"
			}
			got = append(got, word)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("try %d: got %s, want %s", try, got, want)
		}
	}
}

func TestImportPoisonAndQuota(t *testing.T) {
	c := open(t, iidtest.Config{
		Quota: iidtest.Quota{Rate: 1e-9, Burst: 3},
		Fates: func(token string) iidtest.Fate { return iidtest.Fate{Poison: token == "ff"} },
	})
	for body, want := range map[string]int{
		importBody(t, bundle, false, []string{"aa", "FF"}):             400,
		importBody(t, bundle, false, []string{"aa", "bb", "cc", "dd"}): 429,
	} {
		if got := c.post("/iid/v1:batchImport", body); got.status != want {
			t.Errorf("%v, want %d", got, want)
		}
	}
	if c.service.Imports() != nil {
		t.Error("a refused import was applied")
	}
}

func TestImportOfAnAppThatThereIsNot(t *testing.T) {
	c := open(t, iidtest.Config{Import: iidtest.Import{Apps: []iidtest.App{{BundleID: bundle}}}})
	for name, test := range map[string]struct {
		application string
		sandbox     bool
		status      string
	}{
		"right":             {bundle, false, "OK"},
		"wrong environment": {bundle, true, "INVALID_ARGUMENT"},
		"wrong app":         {"com.example.other", false, "INVALID_ARGUMENT"},
	} {
		for _, result := range c.imports(test.application, test.sandbox, apnsTokens(2)...) {
			if result.Status != test.status || (result.Registration == "") != (test.status != "OK") {
				t.Errorf("%s: %+v", name, result)
			}
		}
	}
}

func TestRefusedImportsChangeNothing(t *testing.T) {
	const path = "/iid/v1:batchImport"
	invalid := `{"error":"INVALID_ARGUMENT"}`
	for name, test := range map[string]struct {
		body, contentType, answer string
	}{
		"no tokens":      {importBody(t, bundle, false, []string{}), "", invalid},
		"too many":       {importBody(t, bundle, false, apnsTokens(101)), "", invalid},
		"no application": {importBody(t, "", false, []string{"aa"}), "", invalid},
		"no sandbox":     {`{"application":"a","apns_tokens":["aa"]}`, "", invalid},
		"sandbox a word": {`{"application":"a","sandbox":"false","apns_tokens":["aa"]}`, "", invalid},
		"token a number": {`{"application":"a","sandbox":false,"apns_tokens":[11]}`, "", invalid},
		"not JSON":       {`{"application":"a","sandbox":false,"apns_tokens":["aa"],}`, "", `{"error":"Request body is not valid JSON."}`},
		"form":           {importBody(t, bundle, false, []string{"aa"}), "text/plain", `{"error":"Content-Type must be application/json."}`},
	} {
		t.Run(name, func(t *testing.T) {
			c := open(t, iidtest.Config{})
			if test.contentType != "" {
				c.header.Set("Content-Type", test.contentType)
			}
			if got := c.post(path, test.body); got.status != 400 || got.body != test.answer {
				t.Errorf("%v", got)
			}
			if c.service.Imports() != nil {
				t.Error("applied")
			}
		})
	}
}

func TestImportIsGuardedLoggedAndStruck(t *testing.T) {
	c := open(t, iidtest.Config{})
	authorization := c.header.Get("Authorization")
	c.header.Del("Authorization")
	body := importBody(t, bundle, false, apnsTokens(2))
	if got := c.post("/iid/v1:batchImport", body); got.status != 401 {
		t.Errorf("without authorization: %v", got)
	}
	c.header.Set("Authorization", authorization)
	c.service.SetFaults(plan(t, "short-list"))
	if got := c.imports(bundle, false, apnsTokens(2)...); len(got) != 1 {
		t.Errorf("%+v", got)
	}
	var log []string
	for _, call := range c.service.Calls() {
		log = append(log, fmt.Sprint(call.Endpoint, " ", call.Tokens, " ", call.Status, " ", call.Fault))
	}
	if want := []string{"batchImport 2 401 ", "batchImport 2 200 short-list"}; !slices.Equal(log, want) {
		t.Errorf("got %q, want %q", log, want)
	}
}
