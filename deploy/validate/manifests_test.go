package validate

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	genericapirequest "k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/kubernetes/pkg/api/legacyscheme"
	_ "k8s.io/kubernetes/pkg/apis/batch/install"
	_ "k8s.io/kubernetes/pkg/apis/core/install"
	_ "k8s.io/kubernetes/pkg/apis/networking/install"
	_ "k8s.io/kubernetes/pkg/apis/rbac/install"
	"k8s.io/kubernetes/pkg/registry/batch/cronjob"
	"k8s.io/kubernetes/pkg/registry/batch/job"
	"k8s.io/kubernetes/pkg/registry/core/configmap"
	"k8s.io/kubernetes/pkg/registry/core/namespace"
	"k8s.io/kubernetes/pkg/registry/core/serviceaccount"
	"k8s.io/kubernetes/pkg/registry/networking/networkpolicy"
	"k8s.io/kubernetes/pkg/registry/rbac/role"
	"k8s.io/kubernetes/pkg/registry/rbac/rolebinding"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

const manifests = "../kubernetes"

// strategies are what the API server does with a new object of a kind.
var strategies = map[string]rest.RESTCreateStrategy{
	"Namespace":      namespace.Strategy,
	"ServiceAccount": serviceaccount.Strategy,
	"ConfigMap":      configmap.Strategy,
	"NetworkPolicy":  networkpolicy.Strategy,
	"Role":           role.Strategy,
	"RoleBinding":    rolebinding.Strategy,
	"Job":            job.Strategy,
	"CronJob":        cronjob.Strategy,
}

var codecs = serializer.NewCodecFactory(legacyscheme.Scheme, serializer.EnableStrict)

// admit does what the API server would do with an object.
func admit(kind string, manifest []byte) error {
	if kind == "PodMonitor" {
		return yaml.UnmarshalStrict(manifest, new(monitoringv1.PodMonitor))
	}
	strategy, ok := strategies[kind]
	if !ok {
		return fmt.Errorf("this test knows no kind %s", kind)
	}
	internal, kinds, err := codecs.UniversalDecoder().Decode(manifest, nil, nil)
	if err != nil {
		return err
	}
	metadata, err := meta.Accessor(internal)
	if err != nil {
		return err
	}
	rest.FillObjectMetaSystemFields(metadata)
	ctx := genericapirequest.WithRequestInfo(genericapirequest.NewContext(), &genericapirequest.RequestInfo{
		IsResourceRequest: true, Verb: "create", APIGroup: kinds.Group, APIVersion: kinds.Version,
	})
	return errors.Join(rest.BeforeCreate(strategy, genericapirequest.WithNamespace(ctx, metadata.GetNamespace()), internal), restricted(kind, manifest))
}

// restricted holds an object's pods to PodSecurity's strictest level.
func restricted(kind string, manifest []byte) error {
	pods, err := template(kind, manifest)
	if pods == nil || err != nil {
		return err
	}
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		return err
	}
	level := api.LevelVersion{Level: api.LevelRestricted, Version: api.LatestVersion()}
	if verdict := policy.AggregateCheckResults(evaluator.EvaluatePod(level, &pods.ObjectMeta, &pods.Spec)); !verdict.Allowed {
		return fmt.Errorf("PodSecurity restricted: %s", verdict.ForbiddenDetail())
	}
	return nil
}

// template is what an object makes pods of, or nil.
func template(kind string, manifest []byte) (*corev1.PodTemplateSpec, error) {
	switch kind {
	case "Job":
		var object batchv1.Job
		err := yaml.UnmarshalStrict(manifest, &object)
		return &object.Spec.Template, err
	case "CronJob":
		var object batchv1.CronJob
		err := yaml.UnmarshalStrict(manifest, &object)
		return &object.Spec.JobTemplate.Spec.Template, err
	}
	return nil, nil
}

// rendered is what kustomize makes of a directory, by kind and name.
func rendered(t *testing.T, files filesys.FileSystem, dir string) map[string][]byte {
	t.Helper()
	resources, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(files, dir)
	if err != nil {
		t.Fatalf("%s: %v", dir, err)
	}
	objects := make(map[string][]byte)
	for _, r := range resources.Resources() {
		manifest, err := r.AsYAML()
		if err != nil {
			t.Fatal(err)
		}
		objects[r.GetKind()+" "+r.GetName()] = manifest
	}
	return objects
}

func kindOf(name string) string { return strings.Fields(name)[0] }

// overlays are those that people apply.
var overlays = []string{"import", "ledger", "many-pods", "migrate", "nightly-sync"}

func TestEveryOverlayIsHere(t *testing.T) {
	entries, err := os.ReadDir(manifests + "/overlays")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, e := range entries {
		found = append(found, e.Name())
	}
	if !slices.Equal(found, overlays) {
		t.Errorf("there are %q, and the test knows %q", found, overlays)
	}
}

// TestAPIServerTakesThem renders each overlay with each kind of credential.
func TestAPIServerTakesThem(t *testing.T) {
	const secret, identity = "components/credentials-secret", "components/workload-identity"
	for _, overlay := range append([]string{"../base"}, overlays...) {
		for _, variant := range []*strings.Replacer{strings.NewReplacer(identity, secret), strings.NewReplacer(secret, identity)} {
			objects := rendered(t, replaced(t, variant), filepath.Join("/overlays", overlay))
			for name, manifest := range objects {
				if err := admit(kindOf(name), manifest); err != nil {
					t.Errorf("%s, %s: %v", overlay, name, err)
				}
			}
			for _, flaw := range loose(t, objects) {
				t.Errorf("%s: %s", overlay, flaw)
			}
		}
	}
}

// replaced is a copy of the manifests with something replaced.
func replaced(t *testing.T, r *strings.Replacer) filesys.FileSystem {
	t.Helper()
	files := filesys.MakeFsInMemory()
	err := filepath.WalkDir(manifests, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return files.WriteFile(strings.TrimPrefix(path, manifests), []byte(r.Replace(string(text))))
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// TestAPIServerRefuses: the checks can fail.
func TestAPIServerRefuses(t *testing.T) {
	objects := rendered(t, filesys.MakeFsOnDisk(), manifests+"/overlays/nightly-sync")
	for _, test := range []struct{ object, old, broken, says string }{
		{"CronJob bulksub-sync", "15 3 * * *", "99 3 * * *", "spec.schedule"},
		{"CronJob bulksub-sync", "Etc/UTC", "Mars/Phobos", "spec.timeZone"},
		{"CronJob bulksub-sync", "Forbid", "Forbidden", "spec.concurrencyPolicy"},
		{"CronJob bulksub-sync", "startingDeadlineSeconds: 3600", "startingDeadlineSeconds: -1", "spec.startingDeadlineSeconds"},
		{"CronJob bulksub-sync", "name: bulksub-sync", "name: " + strings.Repeat("x", 53), "must be no more than 52"},
		{"CronJob bulksub-sync", "restartPolicy: Never", "restartPolicy: OnFailure", `only "Never" is supported`},
		{"CronJob bulksub-sync", "restartPolicy: Never", "restartPolicy: Sometimes", "restartPolicy"},
		{"CronJob bulksub-sync", "podReplacementPolicy: Failed", "podReplacementPolicy: TerminatingOrFailed", "podReplacementPolicy"},
		{"CronJob bulksub-sync", "containerName: bulksub", "containerName: bulk", "containerName"},
		{"CronJob bulksub-sync", "- 130", "- 0", "must not be 0"},
		{"CronJob bulksub-sync", "- 130", "- 143", "values"},
		{"CronJob bulksub-sync", "action: FailJob", "action: Fail", "action"},
		{"CronJob bulksub-sync", "backoffLimit", "backofLimit", "unknown field"},
		{"CronJob bulksub-sync", "backoffLimit: 6", "backoffLimit: six", "backoffLimit"},
		{"CronJob bulksub-sync", "containerPort: 9464", "containerPort: 94640", "containerPort"},
		{"CronJob bulksub-sync", "memory: 64Mi", "memory: 64Gi", "must be less than or equal to memory limit"},
		{"CronJob bulksub-sync", "fieldPath: metadata.labels", "fieldPath: metadata.names", "fieldPath"},
		{"CronJob bulksub-sync", "runAsNonRoot: true", "runAsNonRoot: false", "runAsNonRoot != true"},
		{"CronJob bulksub-sync", "runAsUser: 65532", "runAsUser: 0", "runAsUser=0"},
		{"CronJob bulksub-sync", "type: RuntimeDefault", "type: Unconfined", "seccompProfile"},
		{"CronJob bulksub-sync", "- ALL", "- NET_RAW", "unrestricted capabilities"},
		{"CronJob bulksub-sync", "allowPrivilegeEscalation: false", "allowPrivilegeEscalation: true", "allowPrivilegeEscalation"},
		{"NetworkPolicy bulksub", "port: 5432", "port: 543200", "port"},
		{"NetworkPolicy bulksub", "protocol: UDP", "protocol: QUIC", "protocol"},
		{"ConfigMap bulksub", `"3000"`, "3000", "into Go struct field ConfigMap.data"},
		{"PodMonitor bulksub", "podMetricsEndpoints", "podMetricEndpoints", "unknown field"},
	} {
		manifest := objects[test.object]
		broken := strings.Replace(string(manifest), test.old, test.broken, 1)
		if broken == string(manifest) {
			t.Errorf("%s has no %q", test.object, test.old)
		} else if err := admit(kindOf(test.object), []byte(broken)); err == nil || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s with %q in place of %q: %v; want something about %q", test.object, test.broken, test.old, err, test.says)
		}
	}
}
