// Package house_test enforces which package may know which: the arrows of the design, checked on every file.
package house_test

import (
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

const (
	root   = "../.."
	module = "github.com/bulksub/bulksub"
)

// rule is one sentence about the files of one part of the tree. A path stands for itself and everything below it.
type rule struct {
	name   string
	part   string   // directory that the rule is about, "" for the whole module
	except string   // directory below part that the rule is not about
	forbid []string // import paths that may not be imported
	only   []string // if set, the packages of this module that may be imported; all others may not
	tests  bool     // whether the rule is about _test.go files as well
}

const nothingOfOurs = "(nothing of ours)"

var (
	database = []string{"database/sql", "github.com/jackc/pgx"}
	cobra    = []string{"github.com/spf13/cobra", "github.com/spf13/pflag"}

	// partsOfSink may know sink, and none knows another.
	partsOfSink = []string{module + "/sink/budget", module + "/sink/prune"}
)

var rules = []rule{
	{name: "pipeline knows nothing of ours", part: "pipeline", only: []string{nothingOfOurs}},
	{name: "pipeline knows neither SQL nor HTTP", part: "pipeline", forbid: append([]string{"net/http"}, database...)},
	{name: "source knows only pipeline and internal", part: "source", only: []string{"pipeline", "internal"}},
	{name: "sink knows only pipeline and internal", part: "sink", only: []string{"pipeline", "internal"}},
	{name: "nothing in sink knows a part of it", part: "sink", forbid: partsOfSink},
	{name: "the shared budget does not know sink", part: "sink/budget", only: []string{"pipeline", "internal"}},
	{name: "iidclient knows nothing of ours", part: "iidclient", except: "iidclient/iidtest", only: []string{nothingOfOurs}},
	{name: "fcmclient knows only iidclient", part: "fcmclient", only: []string{"iidclient"}},
	{name: "iidtest knows nothing of ours", part: "iidclient/iidtest", only: []string{nothingOfOurs}},
	{name: "migrations know nothing of ours", part: "migrations", only: []string{nothingOfOurs}},
	{name: "nothing knows cmd", except: "cmd", forbid: []string{module + "/cmd"}, tests: true},
	{name: "only cmd/bulksub knows cobra", except: "cmd/bulksub", forbid: cobra, tests: true},
}

// file is one Go file with what it imports.
type file struct {
	path    string // slash-separated, from the module's root
	imports []string
}

// breaks returns the imports of f that r forbids.
func (r rule) breaks(f file) (forbidden []string) {
	dir := path.Dir(f.path)
	if !within(dir, r.part) || r.except != "" && within(dir, r.except) {
		return nil
	}
	if strings.HasSuffix(f.path, "_test.go") && !r.tests {
		return nil
	}
	for _, imported := range f.imports {
		if r.forbids(imported) {
			forbidden = append(forbidden, imported)
		}
	}
	return forbidden
}

func (r rule) forbids(imported string) bool {
	if withinAny(imported, r.forbid) {
		return true
	}
	ours, isOurs := strings.CutPrefix(imported, module+"/")
	return isOurs && r.only != nil && !withinAny(ours, r.only) && !within(ours, r.part)
}

func withinAny(dir string, parents []string) bool {
	for _, parent := range parents {
		if within(dir, parent) {
			return true
		}
	}
	return false
}

func within(dir, parent string) bool {
	return parent == "" || dir == parent || strings.HasPrefix(dir, parent+"/")
}

func TestArrows(t *testing.T) {
	for _, f := range moduleFiles(t) {
		for _, r := range rules {
			for _, imported := range r.breaks(f) {
				t.Errorf("%s imports %s, but %s", f.path, imported, r.name)
			}
		}
	}
}

// TestPipelineLinksNoDatabase looks through the packages of others too, which the imports of our own files cannot show.
// It leaves out HTTP, which the Prometheus client links for its own sake.
func TestPipelineLinksNoDatabase(t *testing.T) {
	list := exec.CommandContext(t.Context(), "go", "list", "-deps", "./pipeline")
	list.Dir = root
	list.Stderr = os.Stderr
	out, err := list.Output()
	if err != nil {
		t.Fatalf("go list -deps ./pipeline: %v", err)
	}
	for dependency := range strings.FieldsSeq(string(out)) {
		if withinAny(dependency, database) {
			t.Errorf("pipeline links %s: see what imports it", dependency)
		}
	}
}

// TestRulesBite lets each rule see a file that breaks it and one that does not.
func TestRulesBite(t *testing.T) {
	for _, test := range []struct {
		path, imports, breaks string
	}{
		{"pipeline/a.go", module + "/sink", "pipeline knows nothing of ours"},
		{"pipeline/sub/a.go", "net/http", "pipeline knows neither SQL nor HTTP"},
		{"pipeline/a.go", "github.com/jackc/pgx/v5/pgxpool", "pipeline knows neither SQL nor HTTP"},
		{"pipeline/a.go", "golang.org/x/time/rate", ""},
		{"source/csv.go", module + "/sink", "source knows only pipeline and internal"},
		{"source/csv.go", module + "/internal/fields", ""},
		{"sink/csv.go", module + "/iidclient", "sink knows only pipeline and internal"},
		{"sink/csv.go", module + "/pipeline", ""},
		{"sink/csv_test.go", module + "/source", ""},
		{"sink/steering.go", module + "/sink/budget", "nothing in sink knows a part of it"},
		{"sink/control_test.go", module + "/sink/budget", ""},
		{"sink/budget/a.go", module + "/sink", "the shared budget does not know sink"},
		{"sink/budget/a.go", module + "/internal/postgres", ""},
		{"sink/prune/a.go", module + "/sink", ""},
		{"sink/prune/a.go", module + "/sink/budget", "nothing in sink knows a part of it"},
		{"sink/prune/a.go", module + "/source", "sink knows only pipeline and internal"},
		{"iidclient/a.go", module + "/pipeline", "iidclient knows nothing of ours"},
		{"iidclient/a.go", module + "/pipelines", "iidclient knows nothing of ours"},
		{"fcmclient/a.go", module + "/pipeline", "fcmclient knows only iidclient"},
		{"fcmclient/a.go", module + "/iidclient", ""},
		{"iidclient/a.go", module + "/fcmclient", "iidclient knows nothing of ours"},
		{"iidclient/iidtest/a.go", module + "/iidclient", "iidtest knows nothing of ours"},
		{"migrations/a.go", module + "/internal/pgtest", "migrations know nothing of ours"},
		{"migrations/a_test.go", module + "/internal/pgtest", ""},
		{"internal/x/a_test.go", module + "/cmd/bulksub", "nothing knows cmd"},
		{"sink/a.go", "github.com/spf13/cobra", "only cmd/bulksub knows cobra"},
		{"cmd/other/main.go", "github.com/spf13/pflag", "only cmd/bulksub knows cobra"},
		{"cmd/bulksub/main.go", "github.com/spf13/cobra", ""},
	} {
		t.Run(fmt.Sprintf("%s imports %s", test.path, path.Base(test.imports)), func(t *testing.T) {
			if got := broken(file{test.path, []string{test.imports}}); got != test.breaks {
				t.Errorf("breaks %q, want %q", got, test.breaks)
			}
		})
	}
}

// broken names the rules that f breaks.
func broken(f file) string {
	var names []string
	for _, r := range rules {
		if len(r.breaks(f)) > 0 {
			names = append(names, r.name)
		}
	}
	return strings.Join(names, "; ")
}

func moduleFiles(t *testing.T) (files []file) {
	t.Helper()
	err := filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && name != root && ignored(name):
			return fs.SkipDir
		case !entry.IsDir() && strings.HasSuffix(name, ".go"):
			f, err := parse(name)
			files = append(files, f)
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		t.Fatalf("no Go files below %s", root)
	}
	return files
}

// ignored says whether the go command leaves a directory out of the module.
func ignored(dir string) bool {
	base := filepath.Base(dir)
	if base == "testdata" || strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_") {
		return true
	}
	_, err := os.Stat(filepath.Join(dir, "go.mod"))
	return err == nil
}

func parse(name string) (file, error) {
	tree, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
	if err != nil {
		return file{}, err
	}
	relative, err := filepath.Rel(root, name)
	if err != nil {
		return file{}, err
	}
	f := file{path: filepath.ToSlash(relative)}
	for _, spec := range tree.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return file{}, fmt.Errorf("%s: import %s: %w", f.path, spec.Path.Value, err)
		}
		f.imports = append(f.imports, imported)
	}
	return f, nil
}
