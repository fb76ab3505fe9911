package pgcluster_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/bulksub/bulksub/internal/pgcluster"
)

// orphanMaker turns this test binary into a process that starts a cluster and is killed while it runs.
const orphanMaker = "PGCLUSTER_TEST_MAKE_ORPHAN"

func makeOrphan() {
	c, err := pgcluster.Start(context.Background())
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println(c.URL("postgres"))
	bufio.NewReader(os.Stdin).ReadString('\n')
}

// startOrphan returns a running child process and the address of the cluster that it owns.
func startOrphan(t *testing.T) (child *exec.Cmd, address string) {
	t.Helper()
	child = exec.Command(os.Args[0])
	child.Env = append(os.Environ(), orphanMaker+"=1")
	if _, err := child.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	stdout, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	address, err = bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatalf("the child said %q: %v", address, err)
	}
	return child, strings.TrimSpace(address)
}

func TestKilledParentLeavesNothing(t *testing.T) {
	child, address := startOrphan(t)
	conn := connect(t, address)
	defer conn.Close(context.Background())

	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	child.Wait()
	if runtime.GOOS == "linux" {
		if _, err := conn.WaitForNotification(t.Context()); err == nil || t.Context().Err() != nil {
			t.Fatalf("the session was not cut: %v", err)
		}
	}

	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	start(t)
	dir := filepath.Dir(u.Query().Get("host"))
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the next Start left %s standing (%v)", dir, err)
	}
}
