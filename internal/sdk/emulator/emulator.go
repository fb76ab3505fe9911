// Package emulator starts bulksub emulator for Google's own SDKs. The tests with them stand
// in modules of their own beside this package, so that the SDKs stay out of bulksub's.
package emulator

import (
	"bufio"
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bulksub/bulksub/iidclient/iidtest"
)

// Project is whose registrations the emulator has.
const Project = "bulksub-stand-in"

// Fates is what becomes of tokens.
var Fates = iidtest.Mix{Dead: 0.05, Invalid: 0.02}

// Emulator is a running one.
type Emulator struct{ URL string }

// Start builds the program and runs it until the test ends. It takes any access token.
func Start(t testing.TB) *Emulator {
	t.Helper()
	program := Build(t)
	cmd := exec.Command(program, "emulator", "--listen", "127.0.0.1:0", "--any-bearer", "--dead", "5%", "--invalid", "2%")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Signal(os.Interrupt)
		cmd.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	address, _, found := strings.Cut(strings.TrimPrefix(line, "listening at "), ";")
	if err != nil || !found {
		t.Fatalf("the emulator says %q: %v", line, err)
	}
	return &Emulator{URL: address}
}

// Build builds bulksub and returns its path.
func Build(t testing.TB) string {
	t.Helper()
	root, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/bulksub/bulksub").Output()
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(t.TempDir(), "bulksub")
	if out, err := exec.Command("go", "build", "-C", strings.TrimSpace(string(root)), "-o", program, "./cmd/bulksub").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return program
}

// Count is how many are subscribed to the topic.
func (e *Emulator) Count(t testing.TB, topic string) int {
	t.Helper()
	res, err := http.Get(e.URL + "/emulator/v1/topics/" + topic + "?tokens=false")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var said struct{ Count int }
	if err := json.NewDecoder(res.Body).Decode(&said); err != nil {
		t.Fatal(err)
	}
	return said.Count
}

// Client is what the SDK is given in place of its own client: every call goes to the
// emulator, with an access token.
func (e *Emulator) Client(t testing.TB) *http.Client {
	t.Helper()
	to, err := url.Parse(e.URL)
	if err != nil {
		t.Fatal(err)
	}
	return &http.Client{Transport: detour{to}}
}

type detour struct{ to *url.URL }

func (d detour) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.URL.Scheme, r.URL.Host = d.to.Scheme, d.to.Host
	r.Header.Set("Authorization", "Bearer any")
	return http.DefaultTransport.RoundTrip(r)
}

// Tokens are the first n tokens.
func Tokens(n int) []string {
	tokens := make([]string, n)
	for i := range tokens {
		tokens[i] = iidtest.Token(1, i)
	}
	return tokens
}

// Refused are the indexes of those that are not live, each with the words of a fate.
func Refused(tokens []string, words map[iidtest.Fate]string) map[int]string {
	refused := make(map[int]string)
	for i, token := range tokens {
		if fate := Fates.Fate(token); fate != iidtest.Live {
			refused[i] = words[fate]
		}
	}
	return refused
}
