//go:build kubernetes

package main

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/bulksub/bulksub/internal/pgtest"
)

// TestKubernetes applies the overlays to a real API server with the real controllers of
// Jobs and CronJobs. There is no kubelet: the test runs the program as the pod would,
// with its args and its environment, and reports its exit code.
func TestKubernetes(t *testing.T) {
	c := startCluster(t)
	c.kubectl("create", "namespace", "bulksub")
	c.kubectl("-n", "bulksub", "create", "secret", "generic", "bulksub-database", "--from-literal=url="+c.database)
	c.apply("migrate")
	c.pod("without a ledger", exitConfiguration)
	c.ends("bulksub-migrate-news-v2", "Failed", "PodFailurePolicy")

	c.apply("ledger")
	c.pod("the ledger", exitDone)
	c.ends("bulksub-ledger", "Complete", "CompletionsReached")

	const migration = "bulksub-migrate-news-v2"
	c.kubectl("-n", "bulksub", "delete", "job", migration)
	c.apply("migrate")
	c.pod("no service", exitUnavailable, "BULKSUB_ENDPOINT=http://127.0.0.1:1", "BULKSUB_PATIENCE=1s")
	c.failed(migration, 1)
	c.program.At(1, func(it *os.Process) { it.Signal(syscall.SIGTERM) })
	c.pod("terminated", exitTerminated)
	c.pod("goes on", exitDone)
	c.ends(migration, "Complete", "CompletionsReached")
	c.failed(migration, 1)
	if got := c.program.Service.Count("news-v2"); got != c.users() {
		t.Errorf("%d tokens are in the new topic, of %d", got, c.users())
	}

	c.apply("nightly-sync")
	c.kubectl("-n", "bulksub", "patch", "cronjob", "bulksub-sync", "--patch", `{"spec":{"schedule":"* * * * *"}}`)
	night := c.pod("on the minute", exitDone)
	c.kubectl("-n", "bulksub", "patch", "cronjob", "bulksub-sync", "--patch", `{"spec":{"suspend":true}}`)
	c.ends(night, "Complete", "CompletionsReached")
	if got := c.program.Service.Count("members"); got != c.users()/2 {
		t.Errorf("%d tokens are members, of %d", got, c.users()/2)
	}

	c.apply("import")
	const exporter = "--as=system:serviceaccount:bulksub:apns-exporter"
	c.kubectl("-n", "bulksub", "create", "job", "--from=cronjob/bulksub-import", "bulksub-import-1", exporter)
	c.refuses("-n", "bulksub", "get", "secrets", exporter)
	c.pod("the import", exitDone)
	c.ends("bulksub-import-1", "Complete", "CompletionsReached")

	c.apply("many-pods")
	c.sideBySide(16)
	c.ends("bulksub-many-pods", "Complete", "CompletionsReached")
}

// sideBySide runs pods of one Job at the same time: no call is answered before all are at
// work.
func (c *cluster) sideBySide(n int) {
	c.t.Helper()
	db, err := pgxpool.New(c.t.Context(), c.database)
	if err != nil {
		c.t.Fatal(err)
	}
	defer db.Close()
	c.program.Each(sync.OnceFunc(func() { await(c.t, db, n, `select count(*) from pg_stat_activity where application_name = 'bulksub'`) }))
	var all sync.WaitGroup
	for i := range n {
		what := fmt.Sprintf("pod %d of %d", i+1, n)
		p := c.awaitPod(what)
		cmd := c.command(p)
		all.Go(func() { c.runPod(p, cmd, what, exitDone) })
	}
	all.Wait()
}

// cluster is an API server and its controllers.
type cluster struct {
	t        *testing.T
	bin      string // where its programs are
	config   string // of kubectl
	address  string // of the API server
	client   *http.Client
	program  *program
	database string
	ran      []string // names of the pods that have been run
}

const clusterToken = "the-test-itself"

func startCluster(t *testing.T) *cluster {
	t.Helper()
	c := &cluster{t: t, bin: os.Getenv("KUBERNETES_BIN"), address: freeAddress(t), program: newProgram(t, scriptFate), database: pgtest.Empty(t)}
	c.client = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}} // a certificate of its own making
	t.Cleanup(c.client.CloseIdleConnections)
	c.fill()
	dir := t.TempDir()
	c.config = c.write(dir, "config", fmt.Sprintf(`{"apiVersion": "v1", "kind": "Config", "current-context": "test",
		"clusters": [{"name": "test", "cluster": {"server": "https://%s", "insecure-skip-tls-verify": true}}],
		"users": [{"name": "test", "user": {"token": %q}}],
		"contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}]}`, c.address, clusterToken))
	c.startServers(dir)
	c.kubectl("apply", "-f", c.write(dir, "podmonitors.json", podMonitors))
	return c
}

// podMonitors lets PodMonitors be, without the operator.
const podMonitors = `{"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
	"metadata": {"name": "podmonitors.monitoring.coreos.com"},
	"spec": {"group": "monitoring.coreos.com", "scope": "Namespaced", "names": {"plural": "podmonitors", "kind": "PodMonitor"},
		"versions": [{"name": "v1", "served": true, "storage": true,
			"schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}]}}`

// fill makes the tables that the overlays name.
func (c *cluster) fill() {
	c.t.Helper()
	db, err := pgx.Connect(c.t.Context(), c.database)
	if err != nil {
		c.t.Fatal(err)
	}
	defer db.Close(c.t.Context())
	if _, err := db.Exec(c.t.Context(), `
		create table devices (id bigint primary key, apns_token text, fcm_token text);
		create table users (id bigint primary key, fcm_token text, left_at timestamptz);
		insert into users select n, 'live-' || n, case when n % 2 = 0 then now() end from generate_series(1, 2000) n`); err != nil {
		c.t.Fatal(err)
	}
	for i, token := range liveAPNsTokens(100) {
		if _, err := db.Exec(c.t.Context(), "insert into devices values ($1, $2)", i, token); err != nil {
			c.t.Fatal(err)
		}
	}
}

func (c *cluster) users() int { return 2000 }

func (c *cluster) write(dir, name, text string) string {
	c.t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		c.t.Fatal(err)
	}
	return path
}

func (c *cluster) startServers(dir string) {
	c.t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		c.t.Fatal(err)
	}
	keyFile := c.write(dir, "key", string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})))
	_, port, _ := strings.Cut(c.address, ":")
	etcd, peers := "http://"+freeAddress(c.t), "http://"+freeAddress(c.t)
	startServer(c.t, func() bool { return c.answers(etcd + "/health") }, filepath.Join(c.bin, "server"),
		"--data-dir="+filepath.Join(dir, "etcd"), "--unsafe-no-fsync", "--listen-client-urls="+etcd, "--advertise-client-urls="+etcd,
		"--listen-peer-urls="+peers, "--initial-advertise-peer-urls="+peers, "--initial-cluster=default="+peers)
	startServer(c.t, func() bool { return c.answers("https://" + c.address + "/readyz") }, filepath.Join(c.bin, "kube-apiserver"),
		"--etcd-servers="+etcd, "--bind-address=127.0.0.1", "--secure-port="+port, "--cert-dir="+filepath.Join(dir, "certificates"),
		"--token-auth-file="+c.write(dir, "tokens", clusterToken+",test,1,system:masters\n"), "--authorization-mode=RBAC",
		"--service-account-issuer=https://test", "--service-account-key-file="+keyFile, "--service-account-signing-key-file="+keyFile,
		"--service-cluster-ip-range=10.0.0.0/24", "--disable-admission-plugins=ServiceAccount")
	startServer(c.t, func() bool { return true }, filepath.Join(c.bin, "kube-controller-manager"),
		"--kubeconfig="+c.config, "--controllers=job-controller,cronjob-controller", "--leader-elect=false", "--secure-port=0")
}

func (c *cluster) answers(url string) bool {
	return c.call(http.MethodGet, url, "", nil) == nil
}

// call asks the API server.
func (c *cluster) call(method, url, body string, reply any) error {
	if strings.HasPrefix(url, "/") {
		url = "https://" + c.address + url
	}
	req, err := http.NewRequestWithContext(c.t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+clusterToken)
	req.Header.Set("Content-Type", "application/strategic-merge-patch+json")
	resp, err := c.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	switch {
	case err != nil:
		return err
	case resp.StatusCode != http.StatusOK:
		return fmt.Errorf("%s %s: %s: %s", method, url, resp.Status, text)
	case reply == nil:
		return nil
	}
	return json.Unmarshal(text, reply)
}

func (c *cluster) kubectl(args ...string) {
	c.t.Helper()
	if out, err := c.try(args...); err != nil {
		c.t.Fatalf("kubectl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

func (c *cluster) refuses(args ...string) {
	c.t.Helper()
	if out, err := c.try(args...); err == nil || !strings.Contains(string(out), "Forbidden") {
		c.t.Errorf("kubectl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

func (c *cluster) try(args ...string) ([]byte, error) {
	return exec.Command(filepath.Join(c.bin, "kubectl"), append(args, "--kubeconfig="+c.config)...).CombinedOutput()
}

func (c *cluster) apply(overlay string) {
	c.t.Helper()
	c.kubectl("apply", "-k", "../../deploy/kubernetes/overlays/"+overlay)
}

// pod is what is needed of a pod.
type pod struct {
	Metadata struct {
		Name   string
		Labels map[string]string
	}
	Spec struct {
		Containers []struct {
			Args    []string
			Env     []variableOfPod
			EnvFrom []struct{ ConfigMapRef struct{ Name string } }
		}
	}
}

type variableOfPod struct {
	Name, Value string
	ValueFrom   *struct {
		FieldRef     *struct{ FieldPath string }
		SecretKeyRef *struct{ Name, Key string }
	}
}

// pod waits for a pod that has not been run, runs it, and returns the name of its Job. What
// is around a pod in a cluster comes from env: where the service is, and who calls.
func (c *cluster) pod(what string, want int, env ...string) string {
	c.t.Helper()
	p := c.awaitPod(what)
	c.runPod(p, c.command(p, env...), what, want)
	return p.Metadata.Labels["batch.kubernetes.io/job-name"]
}

func (c *cluster) awaitPod(what string) (p pod) {
	c.t.Helper()
	if !eventually(func() bool { return c.next(&p) }) {
		c.t.Fatalf("%s: there is no pod", what)
	}
	c.ran = append(c.ran, p.Metadata.Name)
	return p
}

func (c *cluster) command(p pod, env ...string) *exec.Cmd {
	c.t.Helper()
	around := []string{"BULKSUB_ENDPOINT=" + c.program.Service.URL, "GOOGLE_APPLICATION_CREDENTIALS=" + c.program.Login,
		"BULKSUB_METRICS_LISTEN=127.0.0.1:0", "BULKSUB_PUSHGATEWAY="}
	cmd := exec.Command("bulksub", p.Spec.Containers[0].Args...)
	cmd.Env = slices.Concat([]string{"PATH=" + os.Getenv("PATH")}, c.environment(p), around, env)
	return cmd
}

// runPod runs the program as the pod would, and reports its exit code.
func (c *cluster) runPod(p pod, cmd *exec.Cmd, what string, want int) {
	c.t.Helper()
	code, said := c.run(cmd)
	if code != want {
		c.t.Errorf("%s ended with %d, want %d:\n%s", what, code, want, said)
	}
	c.report(p, code)
}

func (c *cluster) next(p *pod) bool {
	var pods struct{ Items []pod }
	if err := c.call(http.MethodGet, "/api/v1/namespaces/bulksub/pods", "", &pods); err != nil {
		c.t.Error(err)
	}
	i := slices.IndexFunc(pods.Items, func(p pod) bool { return !slices.Contains(c.ran, p.Metadata.Name) })
	if i >= 0 {
		*p = pods.Items[i]
	}
	return i >= 0
}

// environment is what a kubelet would make of the pod's.
func (c *cluster) environment(p pod) (env []string) {
	c.t.Helper()
	const namespace = "/api/v1/namespaces/bulksub/"
	for _, from := range p.Spec.Containers[0].EnvFrom {
		var config struct{ Data map[string]string }
		if err := c.call(http.MethodGet, namespace+"configmaps/"+from.ConfigMapRef.Name, "", &config); err != nil {
			c.t.Fatal(err)
		}
		for name, value := range config.Data {
			env = append(env, name+"="+value)
		}
	}
	for _, v := range p.Spec.Containers[0].Env {
		value := v.Value
		switch {
		case v.ValueFrom == nil:
		case v.ValueFrom.FieldRef != nil:
			label := strings.TrimSuffix(strings.TrimPrefix(v.ValueFrom.FieldRef.FieldPath, "metadata.labels['"), "']")
			value = p.Metadata.Labels[label]
		case v.ValueFrom.SecretKeyRef != nil:
			var secret struct{ Data map[string]string }
			if err := c.call(http.MethodGet, namespace+"secrets/"+v.ValueFrom.SecretKeyRef.Name, "", &secret); err != nil {
				c.t.Fatal(err)
			}
			text, err := base64.StdEncoding.DecodeString(secret.Data[v.ValueFrom.SecretKeyRef.Key])
			if err != nil {
				c.t.Fatal(err)
			}
			value = string(text)
		}
		env = append(env, v.Name+"="+value)
	}
	return env
}

func (c *cluster) run(cmd *exec.Cmd) (int, []byte) {
	c.t.Helper()
	var said strings.Builder
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		c.t.Error(err)
		return 0, nil
	}
	c.program.Herd.Join(cmd.Process)
	defer c.program.Herd.Leave(cmd.Process)
	cmd.Wait()
	return cmd.ProcessState.ExitCode(), []byte(said.String())
}

// report says how a pod ended.
func (c *cluster) report(p pod, code int) {
	c.t.Helper()
	phase := "Succeeded"
	if code != exitDone {
		phase = "Failed"
	}
	status := fmt.Sprintf(`{"status": {"phase": %q, "containerStatuses": [{"name": "bulksub", "image": "bulksub", "imageID": "",
		"ready": false, "restartCount": 0, "state": {"terminated": {"exitCode": %d}}}]}}`, phase, code)
	if err := c.call(http.MethodPatch, "/api/v1/namespaces/bulksub/pods/"+p.Metadata.Name+"/status", status, nil); err != nil {
		c.t.Error(err)
	}
}

// jobStatus is what is needed of a Job.
type jobStatus struct {
	Status struct {
		Failed     int
		Conditions []struct{ Type, Status, Reason, Message string }
	}
}

func (c *cluster) status(name string) (s jobStatus) {
	c.t.Helper()
	if err := c.call(http.MethodGet, "/apis/batch/v1/namespaces/bulksub/jobs/"+name, "", &s); err != nil {
		c.t.Fatal(err)
	}
	return s
}

// ends waits until a Job has ended so.
func (c *cluster) ends(name, condition, reason string) {
	c.t.Helper()
	var last jobStatus
	if !eventually(func() bool {
		last = c.status(name)
		for _, is := range last.Status.Conditions {
			if is.Type == condition && is.Status == "True" && is.Reason == reason {
				return true
			}
		}
		return false
	}) {
		c.t.Fatalf("%s is no %s (%s): %+v", name, condition, reason, last.Status)
	}
}

// failed waits until so many tries of a Job are counted.
func (c *cluster) failed(name string, want int) {
	c.t.Helper()
	if !eventually(func() bool { return c.status(name).Status.Failed == want }) {
		c.t.Fatalf("%s has %+v, want %d that failed", name, c.status(name).Status, want)
	}
}
