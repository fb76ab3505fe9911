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
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	firebase "firebase.google.com/go/v4"
	"google.golang.org/api/option"

	"github.com/bulksub/bulksub/iidclient/iidtest"
	"github.com/bulksub/bulksub/internal/sdk/emulator"
)

// TestMain lets the test binary be the server and the SDK too: each in a process of its own,
// so that their times and their memory can be told apart.
func TestMain(m *testing.M) {
	switch os.Getenv("BENCH_ROLE") {
	case "server":
		serve()
	case "sdk":
		subscribeBySDK()
	default:
		os.Exit(m.Run())
	}
}

// benchTokens is how many tokens each subscribes.
const benchTokens = 40_000

// TestBeside prints calls a second and peak memory of firebase-admin-go's SubscribeToTopic, a
// thousand tokens a call, and of bulksub subscribe --api fcm, which reads a CSV and records a
// result for each token: in turns, against one server behind TLS and HTTP/2. It runs with BENCH=1.
func TestBeside(t *testing.T) {
	if os.Getenv("BENCH") == "" {
		t.Skip("set BENCH=1")
	}
	program := emulator.Build(t)
	fmt.Printf("%-8s %-28s %8s %8s %12s\n", "latency", "", "calls/s", "peak MiB", "CPU µs/call")
	for _, latency := range []string{"0s", "50ms"} {
		url, cert, credentials := startServer(t, latency)
		var sdk, ours []spent
		for round := range 3 {
			sdk = append(sdk, measure(t, exec.Command(os.Args[0]), "BENCH_ROLE=sdk", "BENCH_URL="+url, "SSL_CERT_FILE="+cert))
			csv := filepath.Join(t.TempDir(), "tokens.csv")
			write(t, csv, "token\n"+strings.Join(emulator.Tokens(benchTokens), "\n"))
			ours = append(ours, measure(t, exec.Command(program, "subscribe", "--topic", fmt.Sprintf("ours-%d", round), "--csv", csv, "--api", "fcm", "--rate", "0",
				"--quiet", "--json", "--endpoint", url, "--credentials", credentials), "SSL_CERT_FILE="+cert))
		}
		a, b := best(sdk), best(ours)
		a.print(latency, "firebase-admin-go 4.22")
		b.print(latency, "bulksub subscribe --api fcm")
		fmt.Printf("%-8s %-28s %7.2fx %7.2fx %11.2fx\n", latency, "bulksub / SDK", b.rate()/a.rate(), b.memory/a.memory, b.cpu/a.cpu)
	}
}

// spent is what the subscribing of benchTokens has taken.
type spent struct {
	seconds, memory, cpu float64 // MiB at the peak; µs a call
}

func (s spent) rate() float64 { return benchTokens / s.seconds }

func (s spent) print(latency, who string) {
	fmt.Printf("%-8s %-28s %8.0f %8.1f %12.1f\n", latency, who, s.rate(), s.memory, s.cpu)
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
func measure(t *testing.T, cmd *exec.Cmd, env ...string) spent {
	t.Helper()
	cmd.Env, cmd.Stderr = append(os.Environ(), env...), os.Stderr
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
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "BENCH_ROLE=server", "BENCH_LATENCY="+latency, "BENCH_DIR="+dir)
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
	tokens, ok := emulator.Tokens(benchTokens), 0
	topic := "sdk-" + strconv.Itoa(os.Getpid())
	began := time.Now()
	for ; len(tokens) > 0; tokens = tokens[1000:] {
		res, err := client.SubscribeToTopic(context.Background(), tokens[:1000], topic)
		must(err)
		ok += res.SuccessCount
	}
	fmt.Printf(`{"ok":%d,"seconds":%f}`, ok, time.Since(began).Seconds())
}

// bearer adds an access token, as oauth2.Transport does.
type bearer struct{ next http.RoundTripper }

func (b bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+strings.Repeat("x", 200))
	return b.next.RoundTrip(r)
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}
