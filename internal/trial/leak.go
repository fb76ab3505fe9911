package trial

import "regexp"

// Secret is a password that opens nothing. Tests put it where a secret goes, and look for it everywhere else.
const Secret = "Mark-of-a-secret-7f3a"

// secret is what may be nowhere but in the files and variables that hold it, whole tokens what may be in results alone (P8).
var (
	secret     = regexp.MustCompile(Secret + `|BEGIN [A-Z ]*PRIVATE KEY|ya29\.[A-Za-z0-9._-]{10}|eyJ[A-Za-z0-9_-]{10,}\.eyJ`)
	wholeToken = regexp.MustCompile(`[A-Za-z0-9_-]{11,22}:APA91b[A-Za-z0-9_-]{134}`)
)

// Leak finds a secret or a whole token in what a program has said. It is empty if there is none.
func Leak(text string) string {
	if found := secret.FindString(text); found != "" {
		return "a secret: " + found
	}
	if found := wholeToken.FindString(text); found != "" {
		return "a whole token: " + found
	}
	return ""
}
