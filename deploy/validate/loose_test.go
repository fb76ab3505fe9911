package validate

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

// drain is how long what is under way may take but for the call itself: an access token (cmd/bulksub/service.go), a
// commit (sink/postgres.go) and a push (cmd/bulksub/metrics.go).
const drain = 30*time.Second + 30*time.Second + 10*time.Second

// loose finds what does not hold together in what the API server takes one by one.
func loose(t *testing.T, objects map[string][]byte) (flaws []string) {
	t.Helper()
	var config corev1.ConfigMap
	var network networkingv1.NetworkPolicy
	var monitor monitoringv1.PodMonitor
	read(t, objects, "ConfigMap bulksub", &config)
	read(t, objects, "NetworkPolicy bulksub", &network)
	read(t, objects, "PodMonitor bulksub", &monitor)
	for name, manifest := range objects {
		pods, err := template(kindOf(name), manifest)
		if err != nil {
			t.Fatal(err)
		}
		if pods == nil {
			continue
		}
		found := labels.Set(pods.Labels)
		if !selects(t, &network.Spec.PodSelector, found) || !selects(t, &monitor.Spec.Selector, found) {
			flaws = append(flaws, fmt.Sprintf("%s: neither the NetworkPolicy nor the PodMonitor may miss pods with the labels %v", name, found))
		}
		if objects["ServiceAccount "+pods.Spec.ServiceAccountName] == nil {
			flaws = append(flaws, fmt.Sprintf("%s: there is no ServiceAccount %q", name, pods.Spec.ServiceAccountName))
		}
		flaws = append(flaws, looseContainer(name, pods.Spec.Containers[0], monitor, config)...)
		timeout, err := time.ParseDuration(config.Data["BULKSUB_TIMEOUT"])
		if grace := time.Duration(*pods.Spec.TerminationGracePeriodSeconds) * time.Second; err != nil || grace <= timeout+drain {
			flaws = append(flaws, fmt.Sprintf("%s: %v of grace are too short for a call of %v (%v) and all around it", name, grace, timeout, err))
		}
	}
	return flaws
}

func looseContainer(name string, c corev1.Container, monitor monitoringv1.PodMonitor, config corev1.ConfigMap) (flaws []string) {
	for _, from := range c.EnvFrom {
		if from.ConfigMapRef.Name != config.Name {
			flaws = append(flaws, fmt.Sprintf("%s: there is no ConfigMap %s", name, from.ConfigMapRef.Name))
		}
	}
	port := *monitor.Spec.PodMetricsEndpoints[0].Port
	i := slices.IndexFunc(c.Ports, func(p corev1.ContainerPort) bool { return p.Name == port })
	if i < 0 || !strings.HasSuffix(config.Data["BULKSUB_METRICS_LISTEN"], fmt.Sprintf(":%d", c.Ports[i].ContainerPort)) {
		flaws = append(flaws, fmt.Sprintf("%s: metrics are served at %s, and not at the port %s", name, config.Data["BULKSUB_METRICS_LISTEN"], port))
	}
	return flaws
}

func selects(t *testing.T, s *metav1.LabelSelector, of labels.Set) bool {
	t.Helper()
	selector, err := metav1.LabelSelectorAsSelector(s)
	if err != nil {
		t.Fatal(err)
	}
	return selector.Matches(of)
}

func read(t *testing.T, objects map[string][]byte, name string, into any) {
	t.Helper()
	if objects[name] == nil {
		t.Fatalf("there is no %s", name)
	}
	if err := yaml.UnmarshalStrict(objects[name], into); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

// TestLooseEndsAreFound: these checks can fail too.
func TestLooseEndsAreFound(t *testing.T) {
	for _, test := range []struct{ object, old, broken, says string }{
		{"PodMonitor bulksub", "port: metrics", "port: http", "not at the port http"},
		{"ConfigMap bulksub", ":9464", ":9465", "not at the port metrics"},
		{"ConfigMap bulksub", "60s", "90s", "too short"},
		{"NetworkPolicy bulksub", "app.kubernetes.io/name: bulksub\n  policyTypes", "app: bulksub\n  policyTypes", "labels"},
		{"Job bulksub-migrate-news-v2", "serviceAccountName: bulksub", "serviceAccountName: bulk", "no ServiceAccount"},
		{"Job bulksub-migrate-news-v2", "configMapRef:\n            name: bulksub", "configMapRef:\n            name: bulk", "no ConfigMap"},
	} {
		objects := rendered(t, filesys.MakeFsOnDisk(), manifests+"/overlays/migrate")
		whole := string(objects[test.object])
		objects[test.object] = []byte(strings.Replace(whole, test.old, test.broken, 1))
		if whole == string(objects[test.object]) {
			t.Errorf("%s has no %q:\n%s", test.object, test.old, whole)
		} else if flaws := strings.Join(loose(t, objects), "\n"); !strings.Contains(flaws, test.says) {
			t.Errorf("%q in place of %q: %q; want something about %q", test.broken, test.old, flaws, test.says)
		}
	}
}
