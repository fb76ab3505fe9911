package main

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/bulksub/bulksub/iidclient/iidtest"
	"github.com/bulksub/bulksub/internal/pgtest"
)

// elsewhere are the lines of the README that this test does not run, and why.
var elsewhere = map[string]string{
	"make test":                "runs this test",
	"make bench":               "takes minutes; it is run by hand",
	"go install ./cmd/bulksub": "the test binary is the program",
}

// Every command of the README runs, in the order in which they stand there.
func TestReadmeCommands(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	r := newReader(t)
	commands := readmeCommands(string(text))
	if len(commands) < 15 {
		t.Fatalf("only %d commands were found: %q", len(commands), commands)
	}
	for _, command := range commands {
		if elsewhere[command] == "" {
			r.run(command)
		}
	}
}

var block = regexp.MustCompile("(?s)```sh\n(.*?)```")

func readmeCommands(text string) []string {
	var commands []string
	for _, b := range block.FindAllStringSubmatch(text, -1) {
		commands = append(commands, strings.Split(strings.TrimSpace(b[1]), "\n")...)
	}
	return commands
}

// reader is somebody who types what the README says.
type reader struct {
	t        *testing.T
	dir      string
	env      []string
	database string
	ports    *strings.Replacer // in place of those that the README names, which others may use on this machine
}

// newReader has what the README takes for granted: tokens, a credential, a
// database with users in it.
func newReader(t *testing.T) *reader {
	r := &reader{t: t, dir: t.TempDir()}
	service, err := iidtest.Start(iidtest.Config{Fates: scriptFate})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { service.Close() })
	var csv strings.Builder
	for _, token := range append([]string{"token"}, liveTokens(2500)...) {
		csv.WriteString(token + "\n")
	}
	r.write("tokens.csv", csv.String())
	r.write("apns.csv", "token\n"+strings.Join(liveAPNsTokens(500), "\n"))
	r.write("subscriptions.jsonl", pushLines(1, 100))
	r.write("vapid.txt", iidtest.VAPIDKey(1))
	r.write("service-account.json", string(service.CredentialsJSON(service.URL)))
	r.database = pgtest.Empty(t)
	emulator := freeAddress(t)
	r.env = append(os.Environ(), "BULKSUB_ENDPOINT="+service.URL, "BULKSUB_LISTEN="+emulator, "GORACE="+raceExitsAtOnce)
	r.ports = strings.NewReplacer("127.0.0.1:8899", emulator, ":9464", ":0")
	r.run(`psql -qv ON_ERROR_STOP=1 "` + r.database + `" -c "
		create table devices (id bigint primary key, apns_token text, fcm_token text);
		insert into devices select n, lpad(to_hex(n), 64, 'f') from generate_series(1, 100) n;
		create table users (id bigint primary key, fcm_token text, left_at timestamptz);
		insert into users select n, case when n <= 10 then 'dead-' else 'live-' end || n, case when n % 2 = 0 then now() end
		from generate_series(1, 100) n"`)
	return r
}

func liveTokens(n int) []string {
	var live []string
	for i := 0; len(live) < n; i++ {
		if status, _ := expected(iidtest.Token(1, i)); status == "ok" {
			live = append(live, iidtest.Token(1, i))
		}
	}
	return live
}

func liveAPNsTokens(n int) []string {
	var live []string
	for i := 0; len(live) < n; i++ {
		token := iidtest.APNsToken(1, i)
		if r := importResult(iidtest.App{BundleID: "com.example.app"}, "news", token); r[1] == "ok" {
			live = append(live, token)
		}
	}
	return live
}

func (r *reader) write(name, text string) {
	r.t.Helper()
	if err := os.WriteFile(filepath.Join(r.dir, name), []byte(text), 0o600); err != nil {
		r.t.Fatal(err)
	}
}

// run does what a line says. An export lasts; a program in the background is
// there when it has said its first line.
func (r *reader) run(line string) {
	r.t.Helper()
	if assignment, ok := strings.CutPrefix(line, "export "); ok {
		if strings.HasPrefix(assignment, "DATABASE_URL=") {
			assignment = "DATABASE_URL=" + r.database
		}
		r.env = append(r.env, assignment)
		return
	}
	line = r.ports.Replace(strings.Replace(line, "go run ./cmd/bulksub", "bulksub", 1))
	cmd := exec.Command("sh", "-c", "exec "+strings.TrimSuffix(line, "&"))
	cmd.Dir, cmd.Env = r.dir, r.env
	if strings.HasSuffix(line, "&") {
		r.start(cmd)
		return
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		r.t.Fatalf("%s: %v\n%s", line, err, out)
	}
}

func (r *reader) start(cmd *exec.Cmd) {
	r.t.Helper()
	out, err := cmd.StdoutPipe()
	if err != nil {
		r.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() {
		cmd.Process.Signal(os.Interrupt)
		cmd.Wait()
	})
	if said, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		r.t.Fatalf("%v: %s", err, said)
	}
}
