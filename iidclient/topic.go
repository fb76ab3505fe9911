package iidclient

import (
	"fmt"
	"strings"
)

const (
	topicPrefix   = "/topics/"
	privatePrefix = "private/"
	maxTopic      = 900
)

// CheckTopic returns the bare name of a topic, without the optional /topics/
// prefix, or an [*ArgumentError] that says which character is wrong. A name is
// one to 900 of a-z A-Z 0-9 - _ . ~ %, after an optional private/; the alphabet
// is the one that the Admin SDKs accept, the length the one of the successor API.
func CheckTopic(s string) (string, error) {
	name := strings.TrimPrefix(s, topicPrefix)
	word := strings.TrimPrefix(name, privatePrefix)
	switch {
	case word == "":
		return "", topicError("%s has no name", quoteText(s))
	case len(name) > maxTopic:
		return "", topicError("%s has %d characters, at most %d are allowed", quoteText(s), len(name), maxTopic)
	}
	for i, r := range word {
		if !topicRune(r) {
			at := len(s) - len(word) + i
			return "", topicError("%s has %q at position %d; allowed are a-z A-Z 0-9 - _ . ~ %%", quoteText(s), r, at+1)
		}
	}
	return name, nil
}

func topicError(format string, args ...any) error {
	return &ArgumentError{Name: "topic", Problem: fmt.Sprintf(format, args...)}
}

func topicRune(r rune) bool { return isAlphanumeric(r) || strings.ContainsRune("-_.~%", r) }

func isAlphanumeric(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9'
}
