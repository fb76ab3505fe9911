package main

import (
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// manifestFiles are those under deploy/ that say how to run the program.
func manifestFiles(t *testing.T) map[string]string {
	t.Helper()
	files := make(map[string]string)
	err := filepath.WalkDir("../../deploy", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".yaml" {
			return err
		}
		text, err := os.ReadFile(path)
		files[path] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func slurp(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Error(err)
	}
	return string(text)
}

// argsList is a list of arguments, an item a line.
var argsList = regexp.MustCompile(`(?m)^ +(?:args|command):\n((?: +- .+\n)+)`)

func commandLines(manifest string) (lines [][]string) {
	for _, list := range argsList.FindAllStringSubmatch(manifest, -1) {
		var args []string
		for item := range strings.Lines(list[1]) {
			args = append(args, strings.TrimPrefix(strings.TrimSpace(item), "- "))
		}
		lines = append(lines, args)
	}
	return lines
}

// parsed is the command that a command line means, with its flags.
func parsed(args []string) (*cobra.Command, error) {
	root := newRoot(terminal{out: io.Discard, err: io.Discard}, func(string) (string, bool) { return "", false })
	cmd, rest, err := root.Find(args)
	if err != nil {
		return nil, err
	}
	if err := cmd.ParseFlags(rest); err != nil {
		return nil, err
	}
	return cmd, cmd.ValidateArgs(cmd.Flags().Args())
}

func TestManifestsHaveCommandLines(t *testing.T) {
	commands := make(map[string]bool)
	for path, manifest := range manifestFiles(t) {
		for _, args := range commandLines(manifest) {
			cmd, err := parsed(args)
			if err != nil {
				t.Errorf("%s: %q: %v", path, args, err)
				continue
			}
			commands[cmd.CommandPath()] = true
		}
	}
	for _, want := range []string{"sync", "migrate", "import", "subscribe", "doctor", "db migrate", "emulator"} {
		if !commands["bulksub "+want] {
			t.Errorf("no manifest runs bulksub %s; those that were found run %v", want, commands)
		}
	}
	for _, wrong := range [][]string{{"sink"}, {"sync", "--tabel=users"}, {"sync", "users"}, {"sync", "--older-than=soon"}} {
		if _, err := parsed(wrong); err == nil {
			t.Errorf("%q is taken", wrong)
		}
	}
}

var aVariable = regexp.MustCompile(`\b(?:BULKSUB_[A-Z_]+|DATABASE_URL|GOOGLE_APPLICATION_CREDENTIALS)\b`)

// TestManifestsSetVariablesThatExist: a variable that no flag has would be set in vain.
func TestManifestsSetVariablesThatExist(t *testing.T) {
	known := make(map[string]bool)
	var learn func(*cobra.Command)
	learn = func(cmd *cobra.Command) {
		cmd.Flags().VisitAll(func(f *pflag.Flag) { known[variable(f.Name)] = true })
		for _, below := range cmd.Commands() {
			learn(below)
		}
	}
	learn(newRoot(terminal{}, os.LookupEnv))
	set := 0
	for path, manifest := range manifestFiles(t) {
		for _, name := range aVariable.FindAllString(manifest, -1) {
			if set++; !known[name] {
				t.Errorf("%s sets %s, which no flag has", path, name)
			}
		}
	}
	if set < 10 {
		t.Errorf("only %d variables were found", set)
	}
}

var exitRule = regexp.MustCompile(`- action: (\w+)\n +onExitCodes: .*values: \[([\d, ]+)\]`)

// TestManifestsKnowTheExitCodes: each code has the consequence that the README gives it.
func TestManifestsKnowTheExitCodes(t *testing.T) {
	manifest := slurp(t, "../../deploy/kubernetes/base/job.yaml")
	found := make(map[string][]int)
	for _, rule := range exitRule.FindAllStringSubmatch(manifest, -1) {
		for code := range strings.SplitSeq(rule[2], ", ") {
			n, err := strconv.Atoi(code)
			if err != nil {
				t.Fatal(err)
			}
			found[rule[1]] = append(found[rule[1]], n)
		}
	}
	for action, want := range map[string][]int{
		"Ignore":  {exitInterrupted, exitTerminated},
		"FailJob": {exitBrake, exitUsage, exitInput, exitCredentials, exitConfiguration},
		"Count":   {exitFailedRows, exitUnavailable, exitBug, exitHeld},
	} {
		if !slices.Equal(found[action], want) {
			t.Errorf("%s is for %v, want %v", action, found[action], want)
		}
	}
}

// TestImageIsBuiltFromWholePackages: the Dockerfile names the directories that it takes, and .dockerignore lets
// those through. Each package that the program is made of must lie in one.
func TestImageIsBuiltFromWholePackages(t *testing.T) {
	const module = "github.com/bulksub/bulksub/"
	dockerfile, ignore := slurp(t, "../../deploy/Dockerfile"), slurp(t, "../../.dockerignore")
	packages, err := exec.Command("go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	ours := 0
	for line := range strings.Lines(string(packages)) {
		path, found := strings.CutPrefix(line, module)
		if !found {
			continue
		}
		ours++
		dir, _, _ := strings.Cut(strings.TrimSpace(path), "/")
		if !strings.Contains(dockerfile, "COPY "+dir+" "+dir+"\n") {
			t.Errorf("the Dockerfile leaves %s out", dir)
		}
		if !strings.Contains(ignore, "!"+dir+"\n") {
			t.Errorf(".dockerignore leaves %s out", dir)
		}
	}
	if ours < 10 {
		t.Errorf("only %d packages were found", ours)
	}
}
