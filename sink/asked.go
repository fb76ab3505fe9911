package sink

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Asked is what a job was asked to do: everything that, were it different, would
// make the results already recorded wrong. The keys are words for people.
type Asked map[string]string

// differences says how now differs from what was asked before.
func (before Asked) differences(now Asked) []string {
	keys := maps.Clone(before)
	maps.Copy(keys, now)
	var found []string
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		if before[key] != now[key] {
			found = append(found, fmt.Sprintf("%s was %s, is now %s", key, shown(before[key]), shown(now[key])))
		}
	}
	return found
}

func shown(value string) string {
	if value == "" {
		return "not given"
	}
	return fmt.Sprintf("%q", value)
}

// series is a name made from what is asked: words for people, and a digest of
// everything.
func (a Asked) series() string {
	text, _ := json.Marshal(a)
	words := slices.DeleteFunc([]string{a["command"], a["topic"], a["from"], a["to"], a["application"], a["table"]}, func(w string) bool { return w == "" })
	return fmt.Sprintf("%s-%.6x", plainWords(strings.Join(words, "-")), sha256.Sum256(text))
}

// plainWords leaves out what would want quoting in a shell.
func plainWords(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_.~%", r) {
			return r
		}
		return -1
	}, s)
}

// MismatchError is a job of the same name that was asked to do something else.
type MismatchError struct {
	Job         string
	Differences []string
}

func (e *MismatchError) Error() string {
	return fmt.Sprintf("%s was begun as another job: %s. Ask for the same again to continue it, or choose another name",
		e.Job, strings.Join(e.Differences, "; "))
}

// HeldError is a job that another process is at work on.
type HeldError struct {
	Job string // "job NAME", or the path of a file with results
	Why string // what makes another job stand in our way; "": it is the same
	// Until is when the last of its calls is over of which nobody has heard the end, if it is not
	// at work itself.
	Until time.Time
}

func (e *HeldError) Error() string {
	if !e.Until.IsZero() {
		return fmt.Sprintf("what %s has sent may be carried out until %s, and a topic of it comes under sync now; run again then",
			e.Job, e.Until.UTC().Format(time.TimeOnly+"Z"))
	}
	return fmt.Sprintf("%s is in another process's hands%s; run again when that has ended", e.Job, e.Why)
}
