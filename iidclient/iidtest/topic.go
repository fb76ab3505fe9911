package iidtest

import "strings"

const (
	topicPrefix = "/topics/"
	topicLength = 900
)

// validTopic reports whether name follows the grammar [a-zA-Z0-9-_.~%]+ with
// an optional "private/" before it, as the Admin SDKs check it.
func validTopic(name string) bool {
	if len(name) > topicLength {
		return false
	}
	name = strings.TrimPrefix(name, "private/")
	return name != "" && !strings.ContainsFunc(name, notInTopic)
}

func notInTopic(r rune) bool {
	switch {
	case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9':
		return false
	}
	return !strings.ContainsRune("-_.~%", r)
}
