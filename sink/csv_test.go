package sink

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/bulksub/bulksub/pipeline"
)

// odd are the results of segments 1 and 2, and lines how they stand in the file.
var (
	odd = []pipeline.Result{
		{Key: "11", Token: "t11", Fate: &pipeline.Fate{Topic: "news", Status: pipeline.OK, Attempts: 1, RegistrationToken: "r:11"}},
		{Key: "12", Token: "a,b", Fate: &pipeline.Fate{Topic: "news", Status: pipeline.Malformed}},
		{Key: "13", Token: "a\"b\r\nc", Fate: &pipeline.Fate{Topic: "news", Status: pipeline.Malformed}},
		{Key: "21", Token: "t21", Fate: &pipeline.Fate{Topic: "news", Status: pipeline.NotFound, Code: "NOT_FOUND", Attempts: 2, Detail: `{"a":"b, c"}`}},
		{Key: "22", Token: "\n\xff\x00", Fate: &pipeline.Fate{Topic: "news", Status: pipeline.Malformed}},
		{Key: "23", Token: " t23", Fate: &pipeline.Fate{Topic: "news", Status: pipeline.Denied, Code: "PERMISSION_DENIED", Attempts: 1}},
	}
	lines = []string{
		"row,token,topic,status,code,attempts,registration_token,detail\n",
		"11,t11,news,ok,,1,r:11,\n",
		"12,\"a,b\",news,malformed,,0,,\n",
		"13,\"a\"\"b\r\nc\",news,malformed,,0,,\n",
		"21,t21,news,not_found,NOT_FOUND,2,,\"{\"\"a\"\":\"\"b, c\"\"}\"\n",
		"22,\"\n\ufffd\ufffd\",news,malformed,,0,,\n",
		"23,\" t23\",news,denied,PERMISSION_DENIED,1,,\n",
	}
)

func newCSV(t *testing.T, path string) *CSV {
	t.Helper()
	c, err := OpenCSV(path, asked)
	must(t, err)
	t.Cleanup(func() { c.Close() })
	return c
}

// carryOdd records what has no result of the odd rows, a segment at a time.
func carryOdd(t *testing.T, c *CSV) {
	t.Helper()
	for range 2 {
		claim, err := c.Claim(t.Context(), plan(t, 2))
		must(t, err)
		var results []pipeline.Result
		for _, r := range odd[3*claim.Segment.Number-3 : 3*claim.Segment.Number] {
			if !claim.Recorded(r.Key) {
				results = append(results, r)
			}
		}
		must(t, c.Record(t.Context(), results))
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	must(t, os.WriteFile(path, []byte(text), 0o600))
}

func wantFile(t *testing.T, path, want string) {
	t.Helper()
	got, err := os.ReadFile(path)
	must(t, err)
	if string(got) != want {
		t.Errorf("%s holds\n%q, want\n%q", filepath.Base(path), got, want)
	}
}

func wantFiles(t *testing.T, path string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(path))
	must(t, err)
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("files %v, want %v", got, want)
	}
}

func TestCSVBytes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out.csv")
	c := newCSV(t, path)
	wantFile(t, path+".partial", lines[0])
	carryOdd(t, c)
	wantFile(t, path+".partial", strings.Join(lines, ""))
	wantFile(t, path+".job.json", "{\n  \"bulksub\": 1,\n  \"asked\": {\n    \"command\": \"subscribe\",\n    \"table\": \"public.devices\",\n    \"topic\": \"news\"\n  }\n}\n")
	for _, name := range []string{".partial", ".job.json"} {
		info, err := os.Stat(path + name)
		must(t, err)
		if info.Mode() != 0o600 {
			t.Errorf("%s has mode %v", name, info.Mode())
		}
	}
	must(t, c.Complete(t.Context()))
	wantFile(t, path, strings.Join(lines, ""))
	wantFiles(t, path, "out.csv", "out.csv.job.json")
}

// TestCSVCutAnywhere cuts the file at every byte, as a kill in mid-write does.
func TestCSVCutAnywhere(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out.csv")
	must(t, newCSV(t, path).Close())
	whole := strings.Join(lines, "")
	for at := range len(whole) {
		kept, records := lines[0], 0
		for records+1 < len(lines) && len(kept)+len(lines[records+1]) <= at {
			records++
			kept += lines[records]
		}
		write(t, path+".partial", whole[:at])
		c := newCSV(t, path)
		wantFile(t, path+".partial", kept)
		for i, r := range odd {
			if c.recorded(r.Key) != (i < records) {
				t.Errorf("cut at %d: row %s has a result: %t", at, r.Key, i >= records)
			}
		}
		wantCounts(t, c, tally(odd[:records]))
		carryOdd(t, c)
		wantFile(t, path+".partial", whole)
		must(t, c.Close())
	}
}

func tally(results []pipeline.Result) pipeline.Counts {
	counts := make(pipeline.Counts)
	for _, r := range results {
		counts[r.Status]++
	}
	return counts
}

// TestCSVHeaderCutAnywhere cuts the job's header, as a power cut may.
func TestCSVHeaderCutAnywhere(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out.csv")
	must(t, newCSV(t, path).Close())
	whole, err := os.ReadFile(path + ".job.json")
	must(t, err)
	for at := range len(whole) {
		must(t, os.Remove(path+".partial"))
		write(t, path+".job.json", string(whole[:at]))
		must(t, newCSV(t, path).Close())
		wantFile(t, path+".job.json", string(whole))
	}
}

// TestCSVForgetsOnlyWhatFailed asks failed rows again and leaves every other
// line as it is, byte for byte.
func TestCSVForgetsOnlyWhatFailed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out.csv")
	must(t, newCSV(t, path).Close())
	must(t, os.Remove(path+".partial"))
	failed := "31,t31,news,failed,INTERNAL,5,,\n"
	finished := strings.Join(lines[:4], "") + failed + strings.Join(lines[4:], "")
	write(t, path, finished)
	write(t, path+".partial.new", "from a run that was killed before it could rename this")
	must(t, newCSV(t, path).Close())
	wantFile(t, path, finished)
	wantFile(t, path+".partial", strings.Join(lines, ""))
	wantFiles(t, path, "out.csv", "out.csv.job.json", "out.csv.partial")

	c := newCSV(t, path)
	must(t, c.Record(t.Context(), []pipeline.Result{{Key: "31", Token: "t31", Fate: &pipeline.Fate{Topic: "news", Status: pipeline.OK, Attempts: 1}}}))
	must(t, c.Complete(t.Context()))
	wantFile(t, path, strings.Join(lines, "")+"31,t31,news,ok,,1,,\n")
}

func TestCSVLeavesOtherFilesAlone(t *testing.T) {
	header := func(t *testing.T, path string) {
		must(t, newCSV(t, path).Close())
		must(t, os.Remove(path+".partial"))
	}
	for name, test := range map[string]struct {
		ours   bool // a job of ours has begun
		file   string
		text   string
		linked bool
	}{
		"results without a header":   {file: "", text: strings.Join(lines, "")},
		"partial without a header":   {file: ".partial", text: lines[0]},
		"a job.json that is none":    {file: ".job.json", text: "name: demo\n"},
		"of another program":         {file: ".job.json", text: `{"name": "demo"}`},
		"of a later version":         {file: ".job.json", text: `{"bulksub": 2, "asked": {}}`},
		"an OUT of somebody":         {ours: true, file: "", text: "id,name\n1,a\n"},
		"a partial of somebody":      {ours: true, file: ".partial", text: "id,name\n1,a\n"},
		"OUT is a link":              {file: "", linked: true, text: strings.Join(lines, "")},
		"OUT became a link":          {ours: true, file: "", linked: true, text: strings.Join(lines, "")},
		"the partial is a link":      {ours: true, file: ".partial", linked: true, text: lines[0]},
		"the job.json is a link":     {file: ".job.json", linked: true},
		"an OUT damaged in the end":  {ours: true, file: "", text: lines[0] + "11,t11,news"},
		"an OUT damaged before it":   {ours: true, file: "", text: lines[0] + "11,t11\n" + lines[2]},
		"a partial damaged likewise": {ours: true, file: ".partial", text: lines[0] + "eleven,t11,news,ok,,1,,\n" + lines[2]},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "out.csv")
			if test.ours {
				header(t, path)
			}
			target := path + test.file
			if test.linked {
				target = filepath.Join(t.TempDir(), "elsewhere")
				must(t, os.Symlink(target, path+test.file))
			}
			write(t, target, test.text)
			c, err := OpenCSV(path, asked)
			if err == nil {
				c.Close()
			}
			if flaw, ok := errors.AsType[*ResultsError](err); !ok || !flaw.Foreign {
				t.Errorf("opened: %v", err)
			} else {
				wantText(t, flaw.Error(), path+test.file, "--results")
			}
			wantFile(t, target, test.text)
			if _, err := os.Lstat(path + ".job.json"); !test.ours && test.file != ".job.json" && !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("a header is left behind: %v", err)
			}
		})
	}
}

func TestCSVReplacesALinkAtPartialNew(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out.csv")
	c := newCSV(t, path)
	must(t, c.Record(t.Context(), []pipeline.Result{{Key: "1", Fate: &pipeline.Fate{Status: pipeline.Failed}}}))
	must(t, c.Close())
	target := filepath.Join(t.TempDir(), "elsewhere")
	write(t, target, "mine")
	must(t, os.Symlink(target, path+".partial.new"))
	newCSV(t, path)
	wantFile(t, target, "mine")
	wantFile(t, path+".partial", lines[0])
}

// TestCSVCompleteSparesAFileThatCameMeanwhile: OUT was free when the job began.
func TestCSVCompleteSparesAFileThatCameMeanwhile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out.csv")
	c := newCSV(t, path)
	carryOdd(t, c)
	write(t, path, "id,name\n")
	if flaw, ok := errors.AsType[*ResultsError](c.Complete(t.Context())); !ok || !flaw.Foreign {
		t.Errorf("completed over it: %v", flaw)
	}
	wantFile(t, path, "id,name\n")
	must(t, os.Remove(path))
	must(t, c.Complete(t.Context()))
	wantFile(t, path, strings.Join(lines, ""))
}

func TestCSVIsForOneAtATime(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out.csv")
	c := newCSV(t, path)
	_, err := OpenCSV(path, asked)
	if held, ok := errors.AsType[*HeldError](err); !ok || held.Job != path {
		t.Errorf("opened twice: %v", err)
	}
	must(t, c.Close())
	newCSV(t, path)
}

func TestCSVThatCannotBeLockedIsNotHeld(t *testing.T) {
	file, err := os.Create(filepath.Join(t.TempDir(), "closed"))
	must(t, err)
	must(t, file.Close())
	if held, err := lock(file); held || err == nil {
		t.Errorf("lock a closed file: held %t, %v", held, err)
	}
}

func TestCSVWithoutADirectory(t *testing.T) {
	_, err := OpenCSV(filepath.Join(t.TempDir(), "none", "out.csv"), asked)
	if _, ok := errors.AsType[*ResultsError](err); !ok || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("opened in a directory that is not there: %v", err)
	}
}

const fullDisk = "SINK_TEST_FULL_DISK"

// TestCSVOnAFullDisk runs in a process of its own, for the limit on the size of
// files stands in for the disk and is the whole process's.
func TestCSVOnAFullDisk(t *testing.T) {
	if os.Getenv(fullDisk) == "" {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestCSVOnAFullDisk$")
		cmd.Env = append(os.Environ(), fullDisk+"=1")
		if out, err := cmd.CombinedOutput(); err != nil || !bytes.Contains(out, []byte("PASS")) {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	signal.Ignore(syscall.SIGXFSZ)
	path := filepath.Join(t.TempDir(), "out.csv")
	room(t, 10)
	if _, err := OpenCSV(path, asked); !full(err) {
		t.Errorf("opened without room for the job's header: %v", err)
	}
	wantFiles(t, path)
	room(t, 1<<20)
	c := newCSV(t, path)
	must(t, c.Record(t.Context(), odd[:3]))
	before := strings.Join(lines[:4], "")
	for at := range len(strings.Join(lines[4:], "")) {
		room(t, len(before)+at)
		if err := c.Record(t.Context(), odd[3:]); !full(err) {
			t.Errorf("recorded with room for %d bytes: %v", at, err)
		}
		wantFile(t, path+".partial", before)
	}
	wantCounts(t, c, tally(odd[:3]))
	room(t, 1<<20)
	must(t, c.Record(t.Context(), odd[3:]))
	must(t, c.Close())
	c = newCSV(t, path)
	wantCounts(t, c, tally(odd))
	room(t, 10)
	if err := c.Complete(t.Context()); !full(err) {
		t.Errorf("completed without room for the seal: %v", err)
	}
	wantFiles(t, path, "out.csv.job.json", "out.csv.partial")
	room(t, 1<<20)
	must(t, c.Complete(t.Context()))
	wantFile(t, path, strings.Join(lines, ""))
}

// TestCSVWithoutRoomToForget cannot write OUT.partial.new: nothing is changed.
func TestCSVWithoutRoomToForget(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out.csv")
	c := newCSV(t, path)
	must(t, c.Record(t.Context(), []pipeline.Result{{Key: "1", Fate: &pipeline.Fate{Status: pipeline.Failed}}}))
	must(t, c.Complete(t.Context()))
	must(t, c.Close())
	must(t, os.MkdirAll(path+".partial.new/full", 0o700))
	if _, err := OpenCSV(path, asked); err == nil {
		t.Error("opened")
	}
	wantFile(t, path, lines[0]+"1,,,failed,,0,,\n")
	must(t, os.RemoveAll(path+".partial.new"))
	wantKeys(t, "left", work(t, newCSV(t, path), 1, nil), "11", "12", "13")
}

func room(t *testing.T, bytes int) {
	t.Helper()
	must(t, syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: uint64(bytes), Max: 1 << 30}))
}

func full(err error) bool {
	_, ok := errors.AsType[*ResultsError](err)
	return ok && errors.Is(err, syscall.EFBIG)
}

// TestCSVCompletesOnlyItsOwnFile: results that somebody else wrote to, or replaced,
// are not given the job's name.
func TestCSVCompletesOnlyItsOwnFile(t *testing.T) {
	for name, meddle := range map[string]func(string) error{
		"replaced": func(partial string) error {
			text, err := os.ReadFile(partial)
			return errors.Join(err, os.Remove(partial), os.WriteFile(partial, text, 0o600))
		},
		"cut off": func(partial string) error { return os.Truncate(partial, 10) },
		"removed": os.Remove,
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "out.csv")
			c, err := OpenCSV(path, Asked{"topic": "news"})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			must(t, c.Record(t.Context(), []pipeline.Result{{Key: "1", Token: "a", Fate: &pipeline.Fate{Status: pipeline.OK}}}))
			must(t, meddle(path+".partial"))
			if err := c.Record(t.Context(), []pipeline.Result{{Key: "2", Token: "b", Fate: &pipeline.Fate{Status: pipeline.OK}}}); err == nil {
				t.Error("recorded")
			}
			if err := c.Complete(t.Context()); err == nil {
				t.Error("completed")
			}
			if _, err := os.Lstat(path); err == nil {
				t.Error("the results have their name")
			}
		})
	}
}
