package iidclient

import (
	"strings"
	"unicode"
)

// maxToken is the longest token that is believed; Google calls them opaque and
// speaks of up to 4 KB.
const maxToken = 4096

// decodeImport reads the reply of batchImport:
//
//	{"results":[{"registration_token":"…","apns_token":"…","status":"OK"},
//	            {"apns_token":"…","status":"Internal Server Error"},…]}
//
// in any order, with one result for every token that was asked about. As in
// decodeResults, what is not exactly this is a [*ReplyError], and nothing of it is
// returned. The answers are in the order of asked.tokens.
func decodeImport(body []byte, asked importIndex) ([]Imported, error) {
	s := scanner{text: body}
	answers := make([]Imported, len(asked.tokens))
	answered := make([]bool, len(asked.tokens))
	err := s.results(len(asked.tokens), func() error {
		r, err := s.importResult()
		if err != nil {
			return err
		}
		place, known := asked.places[foldAPNs(*r.apnsToken)]
		switch {
		case !known:
			return &ReplyError{Reason: "a result for an APNs token that was not sent"}
		case answered[place]:
			return &ReplyError{Reason: "two results for one APNs token"}
		}
		answers[place], err = r.imported()
		answered[place] = true
		return err
	})
	if err != nil {
		return nil, err
	}
	return answers, nil
}

// statusOK is the only status of an import that is success; "ok" is not.
const statusOK = "OK"

// importResult is one result as it came, with nil for what it does not have.
type importResult struct {
	apnsToken         *string
	status            *string
	registrationToken *string
}

// imported checks what a result says against itself.
func (r importResult) imported() (Imported, error) {
	token := ""
	if r.registrationToken != nil {
		token = *r.registrationToken
	}
	switch {
	case *r.status == statusOK && token == "":
		return Imported{Code: CodeNoRegistrationToken}, nil
	case *r.status == statusOK && isToken(token):
		return Imported{RegistrationToken: token}, nil
	case *r.status == statusOK:
		return Imported{}, &ReplyError{Reason: "a registration token that can be none"}
	case token != "":
		return Imported{}, &ReplyError{Reason: "a registration token beside a status that is not OK"}
	}
	return Imported{Code: internCode([]byte(*r.status))}, nil
}

// isToken tells whether a registration token from outside can be one.
func isToken(token string) bool {
	return token != "" && len(token) <= maxToken &&
		!strings.ContainsFunc(token, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) })
}

// importResult takes a result: its token and status, and a registration token if
// there is one, in any order.
func (s *scanner) importResult() (r importResult, err error) {
	if !s.take('{') {
		return r, s.unexpected("a result object")
	}
	for more := true; more; more = s.take(',') {
		if err := s.importField(&r); err != nil {
			return r, err
		}
	}
	switch {
	case !s.take('}'):
		return r, s.unexpected("a comma or the end of a result")
	case r.apnsToken == nil, r.status == nil, *r.status == "":
		return r, s.unexpected("a result with an apns_token and a status before this")
	}
	return r, nil
}

// importField takes one field. A key that is not known, or that comes twice, is
// refused.
func (s *scanner) importField(r *importResult) error {
	var field **string
	switch {
	case s.key(`"apns_token"`):
		field = &r.apnsToken
	case s.key(`"status"`):
		field = &r.status
	case s.key(`"registration_token"`):
		field = &r.registrationToken
	default:
		return s.unexpected("apns_token, status or registration_token in a result")
	}
	if *field != nil {
		return s.unexpected("every key only once in a result")
	}
	word, err := s.word()
	text := string(word)
	*field = &text
	return err
}
