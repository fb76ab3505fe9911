package iid_test

import (
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/bulksub/bulksub/iidclient"
	"github.com/bulksub/bulksub/iidclient/iidtest"
	"github.com/bulksub/bulksub/internal/iid"
	"github.com/bulksub/bulksub/pipeline"
)

var info = pipeline.Action{Op: pipeline.Info}

func TestInfo(t *testing.T) {
	_, c := start(t, iidtest.Config{})
	service := iid.Service{Client: c}
	if _, err := service.Call(t.Context(), subscribe, tokens(1)); err != nil {
		t.Fatal(err)
	}
	got, err := service.Call(t.Context(), info, tokens(1))
	want := `^{"platform":"ANDROID","application":"com.example.android","application_version":"36","authorized_entity":"123456782354",` +
		`"connection_type":"WIFI","connect_date":"20..-..-..","topics":{"news":"20..-..-.."}}$`
	if err != nil || len(got) != 1 || got[0].Status != pipeline.OK || !regexp.MustCompile(want).MatchString(got[0].Detail) {
		t.Errorf("%+v, %v", got, err)
	}
}

// TestInfoVerdicts: only a JSON error of the service judges a token (P3).
func TestInfoVerdicts(t *testing.T) {
	for fault, want := range map[string]struct {
		status pipeline.Status // "": no verdict
		kind   pipeline.CallKind
	}{
		"400":           {status: pipeline.Invalid},
		"403":           {status: pipeline.Denied},
		"403-object":    {status: pipeline.Denied},
		"404":           {status: pipeline.NotFound},
		"404-object":    {status: pipeline.NotFound},
		"400-html":      {kind: pipeline.Unavailable},
		"403-html":      {kind: pipeline.Fatal},
		"404-html":      {kind: pipeline.Fatal},
		"404-empty":     {kind: pipeline.Fatal},
		"429":           {kind: pipeline.Throttled},
		"503":           {kind: pipeline.Unavailable},
		"html":          {kind: pipeline.Unavailable},
		"error-200":     {kind: pipeline.Unavailable},
		"truncated":     {kind: pipeline.Unavailable},
		"applied-reset": {kind: pipeline.Unavailable},
	} {
		t.Run(fault, func(t *testing.T) {
			plan, err := iidtest.ParseFault(fault)
			if err != nil {
				t.Fatal(err)
			}
			_, c := start(t, iidtest.Config{Faults: []iidtest.Plan{plan}})
			got, err := iid.Service{Client: c}.Call(t.Context(), info, tokens(1))
			call, failed := errors.AsType[*pipeline.CallError](err)
			if failed != (want.status == "") || failed && call.Kind != want.kind {
				t.Fatalf("%v, %v", got, err)
			}
			if err == nil && got[0].Status != want.status {
				t.Errorf("%+v", got)
			}
		})
	}
}

// TestInfoIsLegible: Postgres takes \u0000 in JSON and cannot read it again.
func TestInfoIsLegible(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Write([]byte(`{"platform":"a\u0000b","rel":{"topics":{"c\u0000":{"addDate":"\u0000"}}}}`))
	}))
	t.Cleanup(server.Close)
	file := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(file, []byte("k"), 0o600); err != nil {
		t.Fatal(err)
	}
	key, err := iidclient.ServerKeyFile(file)
	if err != nil {
		t.Fatal(err)
	}
	c, err := iidclient.New(iidclient.Config{Endpoint: server.URL, Credential: key})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	got, err := iid.Service{Client: c}.Call(t.Context(), info, tokens(1))
	if err != nil {
		t.Fatal(err)
	}
	var facts iid.Facts
	if err := json.Unmarshal([]byte(got[0].Detail), &facts); err != nil {
		t.Fatal(err)
	}
	if facts.Platform != "A\ufffdB" || !maps.Equal(facts.Topics, map[string]string{"c\ufffd": "\ufffd"}) {
		t.Errorf("%+v", facts)
	}
}
