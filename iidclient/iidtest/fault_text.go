package iidtest

import (
	"cmp"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// FaultSyntax is the text form of a plan, for a command line's help.
const FaultSyntax = `NAME[+ARGUMENT][=WHEN][@PATH][#SEED]
WHEN is 2% of calls, first:3, every:100, or always (the default);
PATH is the beginning of a path (default /iid/, /v1/web/ and /v1/projects/). Examples:
503=2%   429+7=every:50   401-html=first:3   truncated+100=1%@/iid/v1:batchAdd#7
503-empty+date (400 to 599; body: -object, -html, -empty; Retry-After: +SECONDS, +date)`

// ParseFault reads the text form of a plan; see FaultSyntax and FaultNames.
func ParseFault(text string) (Plan, error) {
	rest, seed, hasSeed := strings.Cut(text, "#")
	rest, path, _ := strings.Cut(rest, "@")
	name, when, _ := strings.Cut(rest, "=")
	plan := Plan{Path: path}
	err := plan.parseWhen(when)
	if err == nil && hasSeed {
		plan.Seed, err = strconv.ParseUint(seed, 10, 64)
	}
	if err == nil {
		plan.Fault, err = parseFaultName(name)
	}
	if err != nil {
		return Plan{}, fmt.Errorf("fault %q: %w", text, err)
	}
	return plan, nil
}

func (p *Plan) parseWhen(when string) (err error) {
	if percent, ok := strings.CutSuffix(when, "%"); ok {
		p.Share, err = strconv.ParseFloat(percent, 64)
		p.Share /= 100
		if err == nil && !(p.Share > 0 && p.Share <= 1) {
			err = fmt.Errorf("%s is not above 0 and up to 100 %%", when)
		}
		return err
	}
	kind, count, _ := strings.Cut(when, ":")
	switch kind {
	case "", "always":
		return nil
	case "first":
		p.First, err = positive(count)
	case "every":
		p.Every, err = positive(count)
	default:
		err = fmt.Errorf("%q is not N%%, first:N, every:N or always", when)
	}
	return err
}

func positive(text string) (int, error) {
	n, err := strconv.Atoi(text)
	if err == nil && n <= 0 {
		err = fmt.Errorf("%d is not positive", n)
	}
	return n, err
}

func parseFaultName(text string) (Fault, error) {
	name, argument, _ := strings.Cut(text, "+")
	for _, entry := range faultTable {
		if entry.name == name {
			return entry.make(cmp.Or(argument, entry.argument))
		}
	}
	status, form, _ := strings.Cut(name, "-")
	if code, err := strconv.Atoi(status); err == nil && code >= 400 && code < 600 {
		return parseRefusal(Refusal{Status: code, Form: Form(form), RetryAfter: argument})
	}
	for _, m := range mangled {
		if m.name == name {
			return Mangled(m.name, m.change), nil
		}
	}
	return Fault{}, fmt.Errorf("no fault is called %q", name)
}

func parseRefusal(f Refusal) (Fault, error) {
	switch f.Form {
	case StringForm, ObjectForm, HTMLForm, EmptyForm:
		return f.Fault(), nil
	}
	return Fault{}, fmt.Errorf("no body is called %q", f.Form)
}

// faultTable are the faults that are neither a refusal nor a mangled answer,
// with their default argument.
var faultTable = []struct {
	name, argument, help string
	make                 func(argument string) (Fault, error)
}{
	{"reset", "", "connection reset, nothing applied", func(string) (Fault, error) { return Reset(), nil }},
	{"applied-reset", "", "applied, then connection reset", func(string) (Fault, error) { return AppliedThenReset(), nil }},
	{"truncated", "10", "applied, then cut after so many bytes of the body", func(n string) (Fault, error) {
		bytes, err := strconv.Atoi(n)
		return Truncated(bytes), err
	}},
	{"slow", "30s", "applied, then headers after that time", timed(Slow)},
	{"drip", "1s", "applied, then one byte of the body per interval", timed(Dripping)},
	{"endless", "", "applied, then a body without end", func(string) (Fault, error) { return Endless(), nil }},
	{"redirect", "", "redirect to another host", func(string) (Fault, error) {
		return Redirected("http://elsewhere.invalid/"), nil
	}},
}

func timed(make func(time.Duration) Fault) func(string) (Fault, error) {
	return func(text string) (Fault, error) {
		d, err := time.ParseDuration(text)
		return make(d), err
	}
}

var refusalStatuses = []int{400, 401, 403, 404, 405, 408, 413, 429, 500, 502, 503, 504}

// FaultNames are the names that ParseFault knows, with their meaning. Other
// statuses from 400 to 599 work as well; a status may be followed by -object,
// -html or -empty, and by + and a Retry-After of seconds or "date".
func FaultNames() [][2]string {
	var names [][2]string
	for _, status := range refusalStatuses {
		names = append(names, [2]string{strconv.Itoa(status), http.StatusText(status)})
	}
	for _, entry := range faultTable {
		names = append(names, [2]string{entry.name, entry.help})
	}
	for _, m := range mangled {
		names = append(names, [2]string{m.name, "applied, then " + m.help})
	}
	return names
}
