package faults

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// numbers are those of the list of faults, which has gaps, and those of what nobody must get.
func numbers() (all []string) {
	for n := 1; n <= 61; n++ {
		if !slices.Contains([]int{26, 45, 57, 58}, n) {
			all = append(all, fmt.Sprintf("F%02d", n))
		}
	}
	for n := 1; n <= 11; n++ {
		all = append(all, fmt.Sprintf("S%02d", n))
	}
	return all
}

// Every fault stands in the table once, with tests that there are; and every test of this package stands there.
func TestTable(t *testing.T) {
	text, err := os.ReadFile("doc.go")
	must(t, err)
	var found []string
	for _, entry := range regexp.MustCompile(`(?m)^\t([FS]\d\d)  [^:]+: (.+)$`).FindAllStringSubmatch(string(text), -1) {
		found = append(found, entry[1])
		for place := range strings.SplitSeq(entry[2], ", ") {
			if !exists(t, place) {
				t.Errorf("%s: there is no %s", entry[1], place)
			}
		}
	}
	if !slices.Equal(found, numbers()) {
		t.Errorf("the table has %v", found)
	}
	for _, name := range testsIn(t, ".") {
		if name != "TestTable" && !strings.Contains(string(text), name) {
			t.Errorf("%s is in no line of the table", name)
		}
	}
}

// exists reports whether there is a test such as "TestX", "sink TestX" or "x.txtar".
func exists(t *testing.T, place string) bool {
	if strings.HasSuffix(place, ".txtar") {
		_, err := os.Stat(filepath.Join("../../cmd/bulksub/testdata/script", place))
		return err == nil
	}
	dir, name, elsewhere := strings.Cut(place, " ")
	if !elsewhere {
		return slices.Contains(testsIn(t, "."), place)
	}
	return slices.Contains(testsIn(t, filepath.Join("../..", dir)), name)
}

var testFunc = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)

func testsIn(t *testing.T, dir string) (names []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	must(t, err)
	for _, file := range files {
		text, err := os.ReadFile(file)
		must(t, err)
		for _, found := range testFunc.FindAllStringSubmatch(string(text), -1) {
			if found[1] != "TestMain" {
				names = append(names, found[1])
			}
		}
	}
	return names
}
