package source

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/bulksub/bulksub/pipeline"
)

func openLines(t testing.TB, path string) (*File, error) {
	f, err := OpenJSONLines(t.Context(), path, Reading{Token: "token", Tasks: Always(subscribe...)})
	if err == nil {
		t.Cleanup(func() { f.Close() })
	}
	return f, err
}

// flawed is a row without a usable token.
func flawed(key, token, flaw string) pipeline.Row {
	return pipeline.Row{Key: key, Token: token, Flaw: flaw}
}

func TestJSONLinesReads(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want []pipeline.Row
	}{
		"nothing":               {"", nil},
		"only a mark":           {"\ufeff", nil},
		"plain":                 {"{\"token\":\"a\"}\n{\"token\":\"b\"}\n", tokens("a", "b")},
		"no last newline":       {"{\"token\":\"a\"}\n{\"token\":\"b\"}", tokens("a", "b")},
		"CRLF":                  {"{\"token\":\"a\"}\r\n{\"token\":\"b\"}\r\n", tokens("a", "b")},
		"byte order mark":       {"\ufeff{\"token\":\"a\"}", tokens("a")},
		"blank lines":           {"\n \t\r\n{\"token\":\"a\"}\n\n\n{\"token\":\"b\"}\n\n", tokens("a", "b")},
		"very many blank lines": {strings.Repeat("\n", 300_000) + "{\"token\":\"a\"}" + strings.Repeat("\r\n", 300_000), tokens("a")},
		"spaces":                {"  { \"token\" :\t\"a\" } \n", tokens("a")},
		"other keys":            {`{"id":{"token":"x"},"Token":"y","token":"a","n":[1,{"token":"z"}]}`, tokens("a")},
		"escapes":               {`{"tok\u0065n":"\u0061\"\\\n\u0000"}`, tokens("a\"\\\n\x00")},
		"bad tokens":            {`{"token":""}` + "\n" + `{"token":"` + strings.Repeat("x", 5000) + `"}`, tokens("", strings.Repeat("x", 5000))},
		"surrogates":            {`{"token":"\ud83d\ude00"}`, tokens("\U0001f600")},
		"no token": {`{}` + "\n" + `{"token":null}` + "\n" + `{"token":7}` + "\n" + `{"token":{"a":"b"}}` + "\n" + `{"token":"a","token":"b"}` + "\n" + `{"token":"c"}`, []pipeline.Row{
			flawed("1", "", `the line has no "token"`), flawed("2", "", "null"), flawed("3", "7", `"token" is no string`),
			flawed("4", `{"a":"b"}`, `"token" is no string`), flawed("5", "", `the key "token" is there twice`), {Key: "6", Token: "c"}}},
		"not UTF-8": {"{\"token\":\"a\xff\"}\n" + `{"token":"a\ud83d"}`, []pipeline.Row{
			flawed("1", "a\ufffd", "not valid UTF-8"), flawed("2", "a\ufffd", "not valid UTF-8")}},
		"the longest line": {`{"token":"a","n":"` + strings.Repeat("x", maxRecord-21) + "\"}\n" + `{"token":"b"}`, tokens("a", "b")},
	} {
		t.Run(name, func(t *testing.T) {
			for file, text := range map[string]string{"in.jsonl": c.text, "in.jsonl.gz": gzipped(t, c.text), "in.jsonl.zst": zstded(t, c.text)} {
				in, err := openLines(t, write(t, file, text))
				if err != nil {
					t.Fatal(file, err)
				}
				testSource(t, in, c.want)
				if in.Count() != int64(len(c.want)) {
					t.Errorf("%s: Count = %d, want %d", file, in.Count(), len(c.want))
				}
			}
		})
	}
}

// TestJSONLinesColumns: what the further columns hold, in objects under keys too.
func TestJSONLinesColumns(t *testing.T) {
	text := `{"endpoint":"e1","expirationTime":null,"keys":{"auth":"a1","p256dh":"p1"}}
{"keys":{"p256dh":"p2","auth":7},"endpoint":"e2"}
{"endpoint":"e3","keys":null}
{"endpoint":"e4","keys":"none"}
{"endpoint":"e5","keys":{"auth":"a5","auth":"a6"}}
`
	var got []string
	tasks := func(token string, fields []string) Task {
		got = append(got, token+" "+strings.Join(fields, " "))
		return Task{Actions: subscribe}
	}
	in, err := OpenJSONLines(t.Context(), write(t, "in.jsonl", text), Reading{Token: "endpoint", Columns: []string{"keys.auth", "keys.p256dh"}, Tasks: tasks})
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	all := allRows(t, in)
	if want := []string{"e1 a1 p1", "e2 7 p2", "e3  ", "e4  "}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if last := all[4]; last.Token != "e5" || last.Flaw != `the key "auth" is there twice` {
		t.Errorf("%+v", last)
	}
}

func TestJSONLinesSegments(t *testing.T) {
	for _, n := range []int{1, fileSegmentRows, fileSegmentRows + 1} {
		var text strings.Builder
		for _, row := range numbered(n) {
			fmt.Fprintf(&text, "{\"token\":%q}\n", row.Token)
		}
		in, err := openLines(t, write(t, "in.jsonl", text.String()))
		if err != nil {
			t.Fatal(err)
		}
		if got, want := len(cut(t, in)), (n+fileSegmentRows-1)/fileSegmentRows; got != want {
			t.Errorf("%d rows make %d segments, want %d", n, got, want)
		}
		testSource(t, in, numbered(n))
	}
}

func TestJSONLinesGrouped(t *testing.T) {
	var text strings.Builder
	for n := range 2000 {
		fmt.Fprintf(&text, "{\"topic\":%q,\"token\":\"token-%d\"}\n", topicOf(n+1), n+1)
	}
	in, err := OpenJSONLines(t.Context(), write(t, "in.jsonl", text.String()), Reading{Token: "token", Columns: []string{"topic"}, Grouped: true, Tasks: byField})
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	wantGroups(t, in, 2000)
}

func TestJSONLinesRefuses(t *testing.T) {
	good := "{\"token\":\"a\"}\n"
	packed := gzipped(t, strings.Repeat(good, 1000))
	for name, c := range map[string]struct {
		text, want string
	}{
		"CSV":           {"token\na\n", `, line 1: this is not JSON; each line needs to be one object: invalid character 'o' in literal true (expecting 'r')`},
		"cut":           {good + "\n" + `{"token":"b`, `, line 3: this is not JSON; each line needs to be one object: unexpected end of JSON input`},
		"one array":     {`[{"token":"a"},` + "\n", `, line 1: this is not JSON; each line needs to be one object: unexpected end of JSON input`},
		"two on a line": {good + good[:len(good)-1] + good, `, line 2: this is not JSON; each line needs to be one object: invalid character '{' after top-level value`},
		"an array":      {good + `["token"]`, `, line 2: this is JSON, but no object; each line needs to be one`},
		"a string":      {`"token"`, `, line 1: this is JSON, but no object; each line needs to be one`},
		"null":          {good + good + "null\n", `, line 3: this is JSON, but no object; each line needs to be one`},
		"long line":     {good + `{"token":"` + strings.Repeat("x", maxRecord) + `"}`, `, line 2: the line is longer than 64 KiB; it needs to be one JSON object`},
		"UTF-16":        {"\xff\xfe{\x00", `: the file is UTF-16; save it as UTF-8`},
		"CR line ends":  {"{}\r{}\r", `, line 1: the lines end in bare carriage returns; save the file with LF or CRLF`},
		"gzip cut":      {packed[:len(packed)-1], `: the file cannot be read after row 1000: the gzip data are damaged or cut short, make the file again: unexpected EOF`},
	} {
		t.Run(name, func(t *testing.T) {
			path := write(t, "in.jsonl", c.text)
			_, err := openLines(t, path)
			if flaw, ok := errors.AsType[*InputError](err); !ok || flaw.Error() != path+c.want {
				t.Errorf("\n got %v\nwant %s", err, path+c.want)
			}
		})
	}
}

// An endless line is refused before it fills the memory.
func TestEndlessJSONLineIsRefusedEarly(t *testing.T) {
	in := &endless{head: `{"token":"`, words: "xxxxxxx"}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	r, err := readJSONLines("in.jsonl", in, []string{"token"})
	if err == nil {
		_, err = r.next()
	}
	runtime.ReadMemStats(&after)
	if flaw, ok := errors.AsType[*InputError](err); !ok || flaw.Line != 1 {
		t.Errorf("error %v", err)
	}
	if in.read > 2*maxRecord || after.TotalAlloc-before.TotalAlloc > 1<<20 {
		t.Errorf("%d bytes were read and %d allocated", in.read, after.TotalAlloc-before.TotalAlloc)
	}
}

// FuzzJSONLines: a file is refused as a whole, or each line that is not blank is a row; and
// a token is the one that encoding/json finds.
func FuzzJSONLines(f *testing.F) {
	for _, seed := range []string{
		"{\"token\":\"a\"}\n\n{\"token\":\"b\"}", "\ufeff{}\r\n{\"token\":null}", "[]", "{\"token\":\"\xff\"}", `{"token":"a","token":"b"}`,
		`{"token":"\ud800"}`, gzipped(f, "{}\n"), "{\r}", "{\"a\":{\"token\":1}}", "\"",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		in, err := openLines(t, write(t, "in.jsonl", string(text)))
		if err != nil {
			if _, ok := errors.AsType[*InputError](err); !ok {
				t.Fatalf("%v is no InputError", err)
			}
			return
		}
		got := allRows(t, in)
		if in.Count() != int64(len(got)) {
			t.Fatalf("Count = %d, and there are %d rows", in.Count(), len(got))
		}
		if bytes.HasPrefix(text, gzipMagic) || bytes.HasPrefix(text, zstdMagic) {
			return
		}
		lines := slices.DeleteFunc(bytes.Split(bytes.TrimPrefix(text, []byte("\ufeff")), []byte("\n")), func(line []byte) bool {
			return len(bytes.TrimSpace(line)) == 0
		})
		if len(lines) != len(got) {
			t.Fatalf("%d lines and %d rows", len(lines), len(got))
		}
		for i, row := range got {
			var want map[string]any
			if err := json.Unmarshal(lines[i], &want); err != nil {
				t.Fatalf("encoding/json refuses what was accepted: %v", err)
			}
			if row.Flaw == "" && row.Token != want["token"] {
				t.Fatalf("row %s is %q, and encoding/json has %q", row.Key, row.Token, want["token"])
			}
		}
	})
}
