package sink

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bulksub/bulksub/pipeline"
)

// sealOf is the line that stands behind what was asked when the results are text.
func sealOf(text string) string {
	return fmt.Sprintf("{\"bytes\":%d,\"sha256\":\"%x\"}\n", len(text), sha256.Sum256([]byte(text)))
}

// sealed is the result file of a job that finished with the odd results, and the
// header before the end.
func sealed(t *testing.T) (path, header string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "out.csv")
	c := newCSV(t, path)
	text, err := os.ReadFile(path + ".job.json")
	must(t, err)
	carryOdd(t, c)
	must(t, c.Complete(t.Context()))
	must(t, c.Close())
	return path, string(text)
}

func TestCSVFinishedAndChangedIsRefused(t *testing.T) {
	path, _ := sealed(t)
	whole := strings.Join(lines, "")
	for name, test := range map[string]struct{ text, difference string }{
		"a line deleted":    {strings.Join(lines[:6], ""), "it has 236 bytes, and had 280 when the job finished"},
		"a line added":      {whole + "31,t31,news,ok,,1,,\n", "it has 300 bytes, and had 280"},
		"a line cut short":  {whole[:len(whole)-3], "a line in it is not"},
		"a byte changed":    {strings.Replace(whole, "t11", "t99", 1), "it is as long as when the job finished"},
		"to be asked again": {strings.Replace(whole, "denied", "failed", 1), "it is as long as when the job finished"},
		"all lines deleted": {lines[0], "it has 63 bytes, and had 280"},
		"emptied":           {"", "it has 0 bytes, and had"},
	} {
		t.Run(name, func(t *testing.T) {
			write(t, path, test.text)
			c, err := OpenCSV(path, asked)
			if err == nil {
				c.Close()
			}
			if flaw, ok := errors.AsType[*ResultsError](err); !ok || !flaw.Foreign {
				t.Errorf("opened: %v", err)
			} else {
				wantText(t, flaw.Error(), path+": "+test.difference, "estore", "--results")
			}
			wantFile(t, path, test.text)
			wantFiles(t, path, "out.csv", "out.csv.job.json")
		})
	}
	write(t, path, whole)
	if c := newCSV(t, path); !c.Finished() {
		t.Error("restored, and not taken as finished")
	}
}

// TestCSVSealCutAnywhere is a kill at any instant of the end: before the results
// have their name, and with a seal that somebody has cut off after that.
func TestCSVSealCutAnywhere(t *testing.T) {
	path, header := sealed(t)
	whole, seal := strings.Join(lines, ""), sealOf(strings.Join(lines, ""))
	wantFile(t, path+".job.json", header+seal)
	for at := range len(seal) + 1 {
		write(t, path+".job.json", header+seal[:at])
		if c := newCSV(t, path); !c.Finished() {
			t.Errorf("seal cut at %d: not finished", at)
		} else {
			must(t, c.Close())
		}
		must(t, os.Rename(path, path+".partial"))
		c := newCSV(t, path)
		carryOdd(t, c)
		must(t, c.Complete(t.Context()))
		must(t, c.Close())
		wantFile(t, path, whole)
		wantFile(t, path+".job.json", header+seal)
	}
}

// TestCSVSealOfALaterRun replaces a longer one. Until the results of that run have
// their name, those of the one before are there with a seal that is not theirs.
func TestCSVSealOfALaterRun(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out.csv")
	c := newCSV(t, path)
	r := pipeline.Result{Key: "31", Token: "t31", Fate: &pipeline.Fate{Topic: "news", Status: pipeline.Failed, Detail: strings.Repeat("1", 1000)}}
	must(t, c.Record(t.Context(), []pipeline.Result{r}))
	must(t, c.Complete(t.Context()))
	must(t, c.Close())
	before, err := os.ReadFile(path)
	must(t, err)
	c = newCSV(t, path)
	r.Status, r.Detail = pipeline.OK, ""
	must(t, c.Record(t.Context(), []pipeline.Result{r}))
	must(t, c.Complete(t.Context()))
	must(t, c.Close())
	after := lines[0] + "31,t31,news,ok,,0,,\n"
	header, err := os.ReadFile(path + ".job.json")
	must(t, err)
	if !strings.HasSuffix(string(header), "\n}\n"+sealOf(after)) {
		t.Errorf("the header is %s", header)
	}
	must(t, os.Rename(path, path+".partial"))
	write(t, path, string(before))
	c = newCSV(t, path)
	must(t, c.Complete(t.Context()))
	wantFile(t, path, after)
}

// TestCSVKeepsItsAPI through the seal, another run and a note that is cut short.
func TestCSVKeepsItsAPI(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out.csv")
	c := newCSV(t, path)
	if c.API() != "" {
		t.Errorf("a new job goes by %q", c.API())
	}
	must(t, c.SetAPI(t.Context(), "iid"))
	header, err := os.ReadFile(path + ".job.json")
	must(t, err)
	must(t, c.SetAPI(t.Context(), "fcm"))
	must(t, c.Close())
	c = newCSV(t, path)
	if c.API() != "fcm" {
		t.Errorf("it goes on by %q", c.API())
	}
	must(t, c.Complete(t.Context()))
	must(t, c.Close())
	c = newCSV(t, path)
	if c.API() != "fcm" || !c.Finished() {
		t.Errorf("it has ended by %q", c.API())
	}
	must(t, c.Close())
	write(t, path+".job.json", string(header[:len(header)-3]))
	c = newCSV(t, path)
	if c.API() != "" || !c.Finished() {
		t.Errorf("with half a note it goes by %q", c.API())
	}
}
