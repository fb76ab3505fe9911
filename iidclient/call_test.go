package iidclient

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestBatchSendsWhatTheReferenceSays(t *testing.T) {
	type seen struct {
		To     string   `json:"to"`
		Tokens []string `json:"registration_tokens"`
	}
	var path, auth, kind, agent string
	var length int64
	var body seen
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		path, auth, length = r.Method+" "+r.RequestURI, r.Header.Get("Authorization"), r.ContentLength
		kind, agent = r.Header.Get("Content-Type"), r.UserAgent()
		if _, has := r.Header["Access_token_auth"]; has {
			t.Error("access_token_auth beside a server key")
		}
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			t.Error(err)
		}
		reply(200, `{"results":[{},{"error":"NOT_FOUND"}]}`)(w, r)
	})
	c := open(t, s.URL+"/base/", Config{UserAgent: "test/1"})
	tokens := testTokens(2)
	codes, err := c.BatchRemove(t.Context(), "/topics/news", tokens)
	if err != nil || !slices.Equal(codes, []Code{CodeOK, CodeNotFound}) {
		t.Fatalf("got %q, %v", codes, err)
	}
	if path != "POST /base/iid/v1:batchRemove" || auth != "key=test" || kind != "application/json" || agent != "test/1" || length < 300 {
		t.Error(path, auth, kind, agent, length)
	}
	if body.To != "/topics/news" || !slices.Equal(body.Tokens, tokens) {
		t.Errorf("sent %q", body)
	}
}

func TestSubscribeEscapesItsPath(t *testing.T) {
	var got string
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		got = fmt.Sprint(r.Method, " ", r.RequestURI, " ", r.Header["Content-Length"], r.TransferEncoding)
		reply(200, "{}")(w, r)
	})
	c := open(t, s.URL, Config{})
	if err := c.Subscribe(t.Context(), "a:b/../é?#%", "/topics/private/x%y"); err != nil {
		t.Fatal(err)
	}
	if want := "POST /iid/v1/a:b%2F..%2F%C3%A9%3F%23%25/rel/topics/private%2Fx%25y [0] []"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestArgumentsAreRefusedBeforeACall(t *testing.T) {
	s := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("called") })
	c := open(t, s.URL, Config{})
	errs := map[string]error{
		"token dots": c.Subscribe(t.Context(), "..", "news"),
		"no token":   c.Subscribe(t.Context(), "", "news"),
		"topic dots": c.Subscribe(t.Context(), "a:b", "."),
		"bad topic":  c.Subscribe(t.Context(), "a:b", "a b"),
	}
	for name, tokens := range map[string][]string{
		"none": nil, "too many": testTokens(MaxBatch + 1), "empty": {"a", ""}, "not UTF-8": {"a\xff"},
	} {
		_, errs[name] = c.BatchAdd(t.Context(), "news", tokens)
	}
	_, errs["batch topic"] = c.BatchAdd(t.Context(), "", []string{"a"})
	for name, err := range errs {
		var refused *ArgumentError
		if !errors.As(err, &refused) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestStatusErrors(t *testing.T) {
	answered := time.Date(2026, 11, 22, 9, 21, 49, 0, time.UTC)
	const page = "<!DOCTYPE html><title>Error</title>"
	for name, tc := range map[string]struct {
		status int
		body   string
		want   StatusError
	}{
		"string":  {400, `{"error":"InvalidToken"}`, StatusError{Body: BodyString, Code: "InvalidToken"}},
		"object":  {429, `{"error":{"code":429,"message":"slow","status":"RESOURCE_EXHAUSTED"}}`, StatusError{Body: BodyObject, Code: "RESOURCE_EXHAUSTED"}},
		"message": {403, `{"error":{"message":"no rights"}}`, StatusError{Body: BodyObject, Code: "no rights"}},
		"page":    {502, page, StatusError{Body: BodyHTML}},
		"empty":   {503, "", StatusError{Body: BodyEmpty}},
		"echo":    {400, `{"error":"bad ` + testTokens(1)[0] + `"}`, StatusError{Body: BodyString, Code: "bad dGVzdC1p…"}},
		"null":    {500, "null", StatusError{Body: BodyText, Code: "null"}},
		"number":  {500, `{"error":7}`, StatusError{Body: BodyText, Code: `{"error":7}`}},
		"text":    {413, "too\x00large", StatusError{Body: BodyText, Code: "too large"}},
		"results": {404, `{"results":[{},{}]}`, StatusError{Body: BodyText, Code: `{"results":[{},{}]}`}},
		"202":     {202, `{"results":[{},{}]}`, StatusError{Body: BodyText, Code: `{"results":[{},{}]}`}},
		"405":     {405, `{"error":"x"}`, StatusError{Body: BodyString, Code: "x"}},
		"endless": {400, strings.Repeat("a b ", maxErrorBody), StatusError{Body: BodyText, Code: strings.TrimSpace(strings.Repeat("a b ", 50))}},
	} {
		c := open(t, serve(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Date", answered.Format(http.TimeFormat))
			reply(tc.status, tc.body)(w, r)
		}).URL, Config{})
		codes, err := call(t, c, 2)
		tc.want.Status, tc.want.Date = tc.status, answered
		var got *StatusError
		if !errors.As(err, &got) || *got != tc.want || codes != nil {
			t.Errorf("%s: got %q, %#v, want %#v", name, codes, got, tc.want)
		}
	}
}

func TestRetryAfterIsKept(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", "315360000")
		reply(503, "")(w, r)
	})
	_, err := call(t, open(t, s.URL, Config{}), 1)
	var e *StatusError
	if !errors.As(err, &e) || e.RetryAfter != 315360000*time.Second {
		t.Error(err)
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	elsewhere := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("followed") })
	for _, status := range []int{301, 302, 303, 307, 308} {
		s := serve(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, elsewhere.URL, status) })
		_, err := call(t, open(t, s.URL, Config{}), 1)
		var e *StatusError
		if !errors.As(err, &e) || e.Status != status {
			t.Error(err)
		}
	}
}

// endless writes until the caller hangs up.
func endless(w io.Writer) {
	chunk := make([]byte, 1<<20)
	for {
		if _, err := w.Write(chunk); err != nil {
			return
		}
	}
}

func TestRepliesThatCannotBeTrusted(t *testing.T) {
	for want, h := range map[string]http.HandlerFunc{
		"web page": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			io.WriteString(w, `{"results":[{}]}`)
		},
		"than 4194304 bytes": func(w http.ResponseWriter, _ *http.Request) { endless(w) },
		"more than 4194304": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			endless(gzip.NewWriter(w))
		},
		"0 results for 1 tokens": reply(200, `{"results":[]}`),
	} {
		codes, err := call(t, open(t, serve(t, h).URL, Config{}), 1)
		var distrust *ReplyError
		if !errors.As(err, &distrust) || codes != nil || !strings.Contains(distrust.Reason, want) {
			t.Errorf("%s: got %q, %v", want, codes, err)
		}
	}
}

func TestEndlessRefusalIsCut(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(400)
		endless(w)
	})
	_, err := call(t, open(t, s.URL, Config{}), 1)
	var e *StatusError
	if !errors.As(err, &e) || e.Status != 400 {
		t.Error(err)
	}
}

func TestGzipReplyIsRead(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		z.Write(mixedReply(MaxBatch))
		z.Close()
	})
	codes, err := call(t, open(t, s.URL, Config{}), MaxBatch)
	if err != nil || len(codes) != MaxBatch || codes[0] != CodeNotFound {
		t.Error(len(codes), err)
	}
}

// hijack answers with raw bytes and hangs up.
func hijack(t *testing.T, raw string, reset bool) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		if reset {
			conn.(*net.TCPConn).SetLinger(0)
		}
		io.WriteString(conn, raw)
		conn.Close()
	}
}

func TestLostReplies(t *testing.T) {
	refused := httptest.NewServer(nil)
	refused.Close()
	endpoints := map[string]string{"refused": refused.URL}
	for name, h := range map[string]http.HandlerFunc{
		"nothing":       hijack(t, "", false),
		"reset":         hijack(t, "", true),
		"half a header": hijack(t, "HTTP/1.1 200 OK\r\nContent-Le", false),
		"no HTTP":       hijack(t, "SSH-2.0 "+testTokens(1)[0]+"\r\n\r\n", false),
		"short body":    hijack(t, "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{\"results\":[{}]}", false),
		"short chunks":  hijack(t, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10\r\n{\"results\":[{}]}\r\n", false),
		"short refusal": hijack(t, "HTTP/1.1 400 Bad Request\r\nContent-Length: 99\r\n\r\n{", false),
		"short gzip":    hijack(t, "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\n\x1f\x8b\x08", false),
	} {
		endpoints[name] = serve(t, h).URL
	}
	for name, endpoint := range endpoints {
		err := open(t, endpoint, Config{}).Subscribe(t.Context(), testTokens(1)[0], "news")
		var lost *TransportError
		if !errors.As(err, &lost) || strings.Contains(err.Error(), "APA91b") || !strings.Contains(err.Error(), "127.0.0.1") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// stall answers the first bytes and then waits for the caller to go away.
func stall(first string, reached func()) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		if first != "" {
			io.WriteString(w, first)
			w.(http.Flusher).Flush()
		}
		reached()
		<-r.Context().Done()
	}
}

func TestTimeoutEndsACall(t *testing.T) {
	for _, first := range []string{"", `{"results":[`} {
		s := serve(t, stall(first, func() {}))
		_, err := call(t, open(t, s.URL, Config{Timeout: 20 * time.Millisecond}), 1)
		var lost *TransportError
		if !errors.As(err, &lost) || !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "within 20ms") {
			t.Errorf("after %q: %v", first, err)
		}
	}
}

func TestCancelEndsACall(t *testing.T) {
	for _, first := range []string{"", `{"results":[`} {
		ctx, cancel := context.WithCancel(t.Context())
		s := serve(t, stall(first, cancel))
		_, err := open(t, s.URL, Config{}).BatchAdd(ctx, "news", testTokens(1))
		var lost *TransportError
		if !errors.As(err, &lost) || !errors.Is(err, context.Canceled) {
			t.Errorf("after %q: %v", first, err)
		}
	}
}

// TestConnectionsAreReused makes 64 workers call at once, several times over; the
// replies are of all kinds that leave a connection usable.
func TestConnectionsAreReused(t *testing.T) {
	const workers, rounds = 64, 6
	var accepted, calls atomic.Int32
	var round atomic.Pointer[sync.WaitGroup]
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		all := round.Load()
		all.Done()
		all.Wait()
		status := []int{200, 429, 503, 400}[calls.Add(1)%4]
		reply(status, `{"results":[{}]}`)(w, r)
	}))
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			accepted.Add(1)
		}
	}
	s.Start()
	t.Cleanup(s.Close)
	c := open(t, s.URL, Config{Connections: workers})
	for range rounds {
		all := new(sync.WaitGroup)
		all.Add(workers)
		round.Store(all)
		var callers sync.WaitGroup
		for range workers {
			callers.Go(func() { call(t, c, 1) })
		}
		callers.Wait()
	}
	if n := accepted.Load(); n > workers {
		t.Errorf("%d connections for %d workers", n, workers)
	}
}

func TestNewNamesTheFieldThatIsWrong(t *testing.T) {
	key := &ServerKey{header: "key=x"}
	for want, cfg := range map[string]Config{
		"credential: none":       {},
		"timeout: -1ns":          {Credential: key, Timeout: -1},
		"timeout: 1h":            {Credential: key, Timeout: time.Hour},
		"connections: -1":        {Credential: key, Connections: -1},
		"connections: 9999":      {Credential: key, Connections: 9999},
		"user agent: only":       {Credential: key, UserAgent: "a\nb"},
		"endpoint: not":          {Credential: key, Endpoint: "https://a b"},
		"endpoint: \"ftp":        {Credential: key, Endpoint: "ftp://a"},
		"endpoint: \"https:///a": {Credential: key, Endpoint: "https:///a"},
		"endpoint: \"a\"":        {Credential: key, Endpoint: "https://a?b"},
	} {
		if _, err := New(cfg); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func TestPlainHTTPRule(t *testing.T) {
	test, real, key := newOAuth(nil, true), newOAuth(nil, false), &ServerKey{}
	for _, tc := range []struct {
		endpoint   string
		credential Credential
		allow, ok  bool
	}{
		{"https://example.com", real, false, true},
		{"http://127.8.9.1:80", real, false, true},
		{"http://[::1]:80", real, false, true},
		{"http://[::ffff:127.0.0.1]", real, false, true},
		{"http://LOCALHOST", real, false, true},
		{"http://example.com", real, false, false},
		{"http://example.com", real, true, false},
		{"http://example.com", test, false, false},
		{"http://example.com", test, true, true},
		{"https://example.com", key, false, true},
		{"http://127.0.0.1", key, false, true},
		{"http://example.com", key, false, false},
		{"http://example.com", key, true, false},
		{"http://localhost.example.com", real, false, false},
		{"http://127.0.0.1.example.com", real, false, false},
		{"http://0.0.0.0", real, false, false},
	} {
		_, err := New(Config{Endpoint: tc.endpoint, Credential: tc.credential, AllowHTTP: tc.allow})
		if (err == nil) != tc.ok {
			t.Errorf("%s, %T, allowed %t: %v", tc.endpoint, tc.credential, tc.allow, err)
		}
	}
}
