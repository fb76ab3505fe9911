package go422

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	firebase "firebase.google.com/go/v4"
	"google.golang.org/api/option"

	"github.com/bulksub/bulksub/fcmclient"
	"github.com/bulksub/bulksub/iidclient"
	"github.com/bulksub/bulksub/iidclient/iidtest"
	"github.com/bulksub/bulksub/internal/sdk/emulator"
)

// TestMain lets the test binary be the others too, each in a process of its own, so that
// their times and their memory can be told apart. The process that starts them makes no
// tokens: the peak of a child counts from that of its parent.
func TestMain(m *testing.M) {
	switch os.Getenv("BENCH_ROLE") {
	case "server":
		serve()
	case "tokens":
		writeTokens()
	case "sdk":
		subscribeBySDK()
	case "fcmclient":
		subscribeByClient()
	default:
		os.Exit(m.Run())
	}
}

// benchTokens is how many tokens each subscribes.
const benchTokens = 40_000

// TestBeside prints calls a second, peak memory and CPU of firebase-admin-go's SubscribeToTopic,
// a thousand tokens a call; of bulksub subscribe --api fcm, which reads a CSV and records a
// result for each token; and of package fcmclient alone. They take turns against one server behind
// TLS and HTTP/2; of three rounds the best counts. It runs with BENCH=1.
func TestBeside(t *testing.T) {
	if os.Getenv("BENCH") == "" {
		t.Skip("set BENCH=1")
	}
	program, csv := emulator.Build(t), filepath.Join(t.TempDir(), "tokens.csv")
	if out, err := role("tokens", "BENCH_CSV="+csv).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	fmt.Printf("%-8s %-28s %10s %10s %12s\n", "latency", "", "calls/s", "peak MiB", "CPU µs/call")
	for _, latency := range []string{"0s", "50ms"} {
		url, cert, credentials := startServer(t, latency)
		env := []string{"BENCH_URL=" + url, "BENCH_CREDENTIALS=" + credentials, "SSL_CERT_FILE=" + cert}
		var sdk, ours, client []spent
		for range 3 {
			sdk = append(sdk, measure(t, role("sdk", env...)))
			cmd := exec.Command(program, "subscribe", "--topic", "ours", "--csv", csv, "--results", filepath.Join(t.TempDir(), "results.csv"),
				"--api", "fcm", "--rate", "0", "--quiet", "--json", "--endpoint", url, "--credentials", credentials)
			cmd.Env = append(os.Environ(), env...)
			ours = append(ours, measure(t, cmd))
			client = append(client, measure(t, role("fcmclient", env...)))
		}
		least := best(sdk)
		least.print(latency, "firebase-admin-go 4.22", least)
		best(ours).print(latency, "bulksub subscribe --api fcm", least)
		best(client).print(latency, "package fcmclient", least)
	}
}

// role is this binary as one of the others.
func role(name string, env ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(append(os.Environ(), "BENCH_ROLE="+name), env...)
	return cmd
}

// spent is what the subscribing of benchTokens has taken.
type spent struct {
	seconds, memory, cpu float64 // MiB at the peak; µs a call
}

func (s spent) rate() float64 { return benchTokens / s.seconds }

// print prints the numbers, and how often those of the other go into them.
func (s spent) print(latency, who string, other spent) {
	fmt.Printf("%-8s %-28s %10.0f %10.1f %12.1f   %.2f %.2f %.2f\n", latency, who, s.rate(), s.memory, s.cpu,
		s.rate()/other.rate(), s.memory/other.memory, s.cpu/other.cpu)
}

// best is the least of everything in several rounds.
func best(rounds []spent) spent {
	least := rounds[0]
	for _, s := range rounds {
		least = spent{min(least.seconds, s.seconds), min(least.memory, s.memory), min(least.cpu, s.cpu)}
	}
	return least
}

// measure runs a program, which says in JSON how many seconds the calls took and how many
// succeeded.
func measure(t *testing.T, cmd *exec.Cmd) spent {
	t.Helper()
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var said struct {
		OK      int     `json:"ok"`
		Seconds float64 `json:"seconds"`
	}
	if err := json.Unmarshal(out, &said); err != nil || said.OK != benchTokens {
		t.Fatalf("%v: %s", err, out)
	}
	cpu := cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	return spent{
		seconds: said.Seconds,
		memory:  float64(cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss) / 1024,
		cpu:     float64(cpu.Microseconds()) / benchTokens,
	}
}

// startServer starts the stand-in behind TLS in a process of its own.
func startServer(t *testing.T, latency string) (url, cert, credentials string) {
	t.Helper()
	dir := t.TempDir()
	cmd := role("server", "BENCH_LATENCY="+latency, "BENCH_DIR="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	if _, err := fmt.Fscanln(out, &url); err != nil {
		t.Fatal(err)
	}
	return url, filepath.Join(dir, "cert.pem"), filepath.Join(dir, "account.json")
}

// serve is the server. It leaves the certificate and a credential in BENCH_DIR.
func serve() {
	latency, err := time.ParseDuration(os.Getenv("BENCH_LATENCY"))
	must(err)
	service := iidtest.New(iidtest.Config{AnyBearer: true, Latency: iidtest.Latency{Fixed: latency}})
	s := httptest.NewUnstartedServer(service)
	s.EnableHTTP2 = true
	s.StartTLS()
	dir := os.Getenv("BENCH_DIR")
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	must(os.WriteFile(filepath.Join(dir, "cert.pem"), cert, 0o600))
	must(os.WriteFile(filepath.Join(dir, "account.json"), service.CredentialsJSON(s.URL), 0o600))
	fmt.Println(s.URL)
	select {}
}

// subscribeBySDK is the SDK, with a client as its own is. It says what measure wants to know.
func subscribeBySDK() {
	pemText, err := os.ReadFile(os.Getenv("SSL_CERT_FILE"))
	must(err)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pemText)
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost, transport.TLSClientConfig = 100, &tls.Config{RootCAs: roots}
	url := os.Getenv("BENCH_URL")
	app, err := firebase.NewApp(context.Background(), &firebase.Config{ProjectID: emulator.Project},
		option.WithHTTPClient(&http.Client{Transport: bearer{transport}}), option.WithEndpoint(url+"/v1"))
	must(err)
	client, err := app.Messaging(context.Background())
	must(err)
	ok, began := 0, time.Now()
	tokens := make([]string, 0, 1000)
	for n := range benchTokens {
		if tokens = append(tokens, iidtest.Token(1, n)); len(tokens) == cap(tokens) {
			res, err := client.SubscribeToTopic(context.Background(), tokens, "sdk")
			must(err)
			ok, tokens = ok+res.SuccessCount, tokens[:0]
		}
	}
	say(ok, began)
}

// subscribeByClient is package fcmclient with 256 callers.
func subscribeByClient() {
	credential, err := iidclient.CredentialsFile(os.Getenv("BENCH_CREDENTIALS"), false)
	must(err)
	client, err := fcmclient.New(fcmclient.Config{Project: emulator.Project, Endpoint: os.Getenv("BENCH_URL"), Credential: credential})
	must(err)
	var next atomic.Int64
	var callers sync.WaitGroup
	began := time.Now()
	for range 256 {
		callers.Go(func() {
			for n := next.Add(1); n <= benchTokens; n = next.Add(1) {
				must(client.Subscribe(context.Background(), iidtest.Token(1, int(n)), "client"))
			}
		})
	}
	callers.Wait()
	say(benchTokens, began)
}

func say(ok int, began time.Time) {
	fmt.Printf(`{"ok":%d,"seconds":%f}`, ok, time.Since(began).Seconds())
}

func writeTokens() {
	text := "token\n" + strings.Join(emulator.Tokens(benchTokens), "\n")
	must(os.WriteFile(os.Getenv("BENCH_CSV"), []byte(text), 0o600))
}

// bearer adds an access token, as oauth2.Transport does.
type bearer struct{ next http.RoundTripper }

func (b bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+strings.Repeat("x", 200))
	return b.next.RoundTrip(r)
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}
