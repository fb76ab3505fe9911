package iidtest_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/bulksub/bulksub/iidclient/iidtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// caller talks to a stand-in over real HTTP, as an authorized client does
// unless header says otherwise.
type caller struct {
	t       testing.TB
	service *iidtest.Running
	client  *http.Client
	header  http.Header
}

func start(t testing.TB, config iidtest.Config) *caller {
	t.Helper()
	service, err := iidtest.Start(config)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		if err := service.Close(); err != nil {
			t.Error(err)
		}
	})
	return &caller{
		t: t, service: service,
		client: &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse
		}},
		header: http.Header{
			"Authorization":     {"Bearer any"},
			"Access_token_auth": {"true"},
			"Content-Type":      {"application/json"},
		},
	}
}

// open is start for tests that are not about authorization.
func open(t testing.TB, config iidtest.Config) *caller {
	config.AnyBearer = true
	return start(t, config)
}

type reply struct {
	status int
	header http.Header
	body   string
	err    error
}

func (c *caller) do(method, path, body string) reply {
	c.t.Helper()
	r, err := http.NewRequest(method, c.service.URL+path, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	r.Header = c.header.Clone()
	answer, err := c.client.Do(r)
	if err != nil {
		return reply{err: err}
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	return reply{answer.StatusCode, answer.Header, string(text), err}
}

func (c *caller) post(path, body string) reply {
	c.t.Helper()
	return c.do("POST", path, body)
}

func (c *caller) batch(endpoint, topic string, tokens ...string) reply {
	c.t.Helper()
	return c.post("/iid/v1:"+endpoint, batchBody(c.t, topic, tokens))
}

func (c *caller) add(topic string, tokens ...string) reply {
	c.t.Helper()
	return c.batch("batchAdd", topic, tokens...)
}

func (c *caller) remove(topic string, tokens ...string) reply {
	c.t.Helper()
	return c.batch("batchRemove", topic, tokens...)
}

func batchBody(t testing.TB, topic string, tokens []string) string {
	t.Helper()
	var body bytes.Buffer
	encoder := json.NewEncoder(&body)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(struct {
		To     string   `json:"to"`
		Tokens []string `json:"registration_tokens"`
	}{"/topics/" + topic, tokens})
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(body.String())
}

// codes are the per-token codes of a reply that must be a list of results.
func (r reply) codes(t testing.TB) []string {
	t.Helper()
	var body struct {
		Results []struct {
			Error string `json:"error"`
		} `json:"results"`
	}
	if err := json.Unmarshal([]byte(r.body), &body); r.err != nil || r.status != http.StatusOK || err != nil {
		t.Fatalf("not a list of results: %v", r)
	}
	codes := make([]string, len(body.Results))
	for i, result := range body.Results {
		codes[i] = result.Error
	}
	return codes
}

func (r reply) String() string {
	return fmt.Sprintf("%d %.300s %v", r.status, r.body, r.err)
}

func tokens(from, to int) []string {
	var list []string
	for n := from; n < to; n++ {
		list = append(list, iidtest.Token(1, n))
	}
	return list
}
