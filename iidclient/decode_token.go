package iidclient

// decodeToken reads the reply of a web import or refresh, {"token":"…"} and nothing
// else. What is not exactly this is a [*ReplyError].
func decodeToken(body []byte) (string, error) {
	s := scanner{text: body}
	if !s.take('{') || !s.key(`"token"`) {
		return "", s.opening(`{"token":`)
	}
	word, err := s.word()
	switch {
	case err != nil:
		return "", err
	case !s.take('}') || !s.atEnd():
		return "", s.unexpected("the end of the reply after the token")
	case !isToken(string(word)):
		return "", &ReplyError{Reason: "a registration token that can be none"}
	}
	return string(word), nil
}
