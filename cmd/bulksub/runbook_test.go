package main

import (
	"os"
	"regexp"
	"slices"
	"testing"
)

// The runbook has a section for each exit code and each alert, and for no other; and every command in it works.
func TestRunbook(t *testing.T) {
	text := readText(t, "../../deploy/RUNBOOK.md")
	var want, got []string
	for _, code := range regexp.MustCompile(`(?m)^ +(\d+)  |; (\d+) `).FindAllStringSubmatch(exitCodeHelp, -1) {
		want = append(want, "Exit "+code[1]+code[2])
	}
	for _, alert := range regexp.MustCompile(`- alert: (\w+)`).FindAllStringSubmatch(readText(t, "../../deploy/prometheus/bulksub.rules.yml"), -1) {
		want = append(want, alert[1])
	}
	for _, heading := range regexp.MustCompile(`(?m)^## (Exit \d+|Bulksub\w+)$`).FindAllStringSubmatch(text, -1) {
		got = append(got, heading[1])
	}
	if len(want) < 20 || !slices.Equal(got, want) {
		t.Errorf("there are sections for %v, want %v", got, want)
	}
	r := newReader(t)
	r.env = append(r.env, "DATABASE_URL="+r.database, "GOOGLE_APPLICATION_CREDENTIALS=service-account.json")
	r.run("bulksub db migrate")
	r.run("bulksub subscribe --topic news --table users --token-column fcm_token --job nightly")
	for _, command := range readmeCommands(text) {
		r.run(command)
	}
}

func readText(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
