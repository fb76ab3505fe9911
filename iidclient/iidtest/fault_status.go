package iidtest

import (
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// Form is how the body of a refusal looks.
type Form string

// The forms of refusal that clients meet.
const (
	// StringForm is {"error":"UNAVAILABLE"}, as the Instance ID endpoints write.
	StringForm Form = ""
	// ObjectForm is {"error":{"code":503,...}}, as newer Google APIs write.
	ObjectForm Form = "object"
	// HTMLForm is an error page of the front end.
	HTMLForm Form = "html"
	// EmptyForm is no body at all.
	EmptyForm Form = "empty"
)

// Refusal is a call refused as a whole and not carried out.
type Refusal struct {
	Status int
	Form   Form
	// RetryAfter is the value of that header: seconds, an HTTP date, or
	// anything else, such as a negative number. Empty is no header. "date"
	// stands for the HTTP date of ten seconds after each refusal.
	RetryAfter string
}

// Fault is the refusal as a fault. Its name is the text form: "503-html+2".
func (f Refusal) Fault() Fault {
	return Fault{Name: f.name(), Serve: func(w http.ResponseWriter, _ *http.Request, _ func() Answer) {
		a := f.answer()
		if after := f.retryAfter(time.Now()); after != "" {
			a.Header.Set("Retry-After", after)
		}
		a.Send(w)
	}}
}

func (f Refusal) name() string {
	name := strconv.Itoa(f.Status)
	if f.Form != StringForm {
		name += "-" + string(f.Form)
	}
	if f.RetryAfter != "" {
		name += "+" + f.RetryAfter
	}
	return name
}

func (f Refusal) retryAfter(now time.Time) string {
	if f.RetryAfter == "date" {
		return now.Add(10 * time.Second).UTC().Format(http.TimeFormat)
	}
	return f.RetryAfter
}

func (f Refusal) answer() Answer {
	switch f.Form {
	case ObjectForm:
		return objectError(f.Status, fmt.Sprintf("The request met a fault of the stand-in: %s.", f.name()))
	case HTMLForm:
		return htmlError(f.Status)
	case EmptyForm:
		return Answer{Status: f.Status, Header: http.Header{}}
	}
	return jsonError(f.Status, statusWord(f.Status))
}
