package iidtest

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
)

// Answer is an HTTP answer before it is sent.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
}

// Send writes all of a to w.
func (a Answer) Send(w http.ResponseWriter) {
	a.sendHeader(w)
	// The caller has gone; there is nobody left to tell.
	_, _ = w.Write(a.Body)
}

func (a Answer) sendHeader(w http.ResponseWriter) {
	for name, values := range a.Header {
		w.Header()[name] = values
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(a.Body)))
	w.WriteHeader(a.Status)
}

// statusWords are the words of google.rpc.Code for HTTP statuses.
var statusWords = map[int]string{
	http.StatusBadRequest:          CodeInvalidArgument,
	http.StatusUnauthorized:        "UNAUTHENTICATED",
	http.StatusForbidden:           CodePermissionDenied,
	http.StatusNotFound:            CodeNotFound,
	http.StatusConflict:            "ALREADY_EXISTS",
	http.StatusTooManyRequests:     CodeResourceExhausted,
	http.StatusInternalServerError: CodeInternal,
	http.StatusServiceUnavailable:  CodeUnavailable,
	http.StatusGatewayTimeout:      CodeDeadlineExceeded,
}

func typed(status int, mediaType string, body []byte) Answer {
	return Answer{Status: status, Header: http.Header{"Content-Type": {mediaType}}, Body: body}
}

func jsonAnswer(status int, body []byte) Answer {
	return typed(status, "application/json; charset=UTF-8", body)
}

// jsonValue is an answer with v as body; v must be something JSON can express.
func jsonValue(status int, v any) Answer {
	body, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return jsonAnswer(status, body)
}

// jsonError is an error as the Instance ID endpoints write it: a string.
func jsonError(status int, text string) Answer {
	return jsonValue(status, map[string]string{"error": text})
}

// objectError is an error as the web part and newer Google APIs write it: an
// object.
func objectError(status int, text string) Answer {
	return jsonValue(status, map[string]any{"error": map[string]any{
		"code":    status,
		"message": text,
		"status":  statusWord(status),
	}})
}

// statusWord is a word for every status.
func statusWord(status int) string {
	return cmp.Or(statusWords[status], http.StatusText(status))
}

// statusOf is the status of a word, 400 for those that have none.
func statusOf(code string) int {
	for status, word := range statusWords {
		if word == code {
			return status
		}
	}
	return http.StatusBadRequest
}

// htmlError is an error page as Google's front end writes it.
func htmlError(status int) Answer {
	const page = "<!DOCTYPE html>\n<html lang=en>\n<title>Error %d (%s)!!1</title>\n" +
		"<p><b>%d.</b> <ins>That\u2019s an error.</ins>\n</html>\n"
	body := fmt.Appendf(nil, page, status, http.StatusText(status), status)
	return typed(status, "text/html; charset=UTF-8", body)
}

// results is the answer to a batch: one object per code, in order.
func results(codes []string) Answer {
	body := make([]byte, 0, 16+4*len(codes))
	body = append(body, `{"results":[`...)
	for i, code := range codes {
		if i > 0 {
			body = append(body, ',')
		}
		body = appendResult(body, code)
	}
	return jsonAnswer(http.StatusOK, append(body, "]}\n"...))
}

func appendResult(body []byte, code string) []byte {
	if code == "" {
		return append(body, "{}"...)
	}
	quoted, err := json.Marshal(code)
	if err != nil {
		panic(err)
	}
	body = append(body, `{"error":`...)
	body = append(body, quoted...)
	return append(body, '}')
}
