package source

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/bulksub/bulksub/pipeline"
)

// write makes a file and returns its path.
func write(t testing.TB, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func open(t testing.TB, path, column string) (*File, error) {
	c, err := OpenCSV(t.Context(), path, Reading{Token: column, Tasks: Always(subscribe...)})
	if err == nil {
		t.Cleanup(func() { c.Close() })
	}
	return c, err
}

func mustOpen(t testing.TB, text string) *File {
	t.Helper()
	c, err := open(t, write(t, "in.csv", text), "token")
	if err != nil {
		t.Fatalf("%.100q: %v", text, err)
	}
	return c
}

func gzipped(t testing.TB, text string) string {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	w.Write([]byte(text))
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func zstded(t testing.TB, text string) string {
	t.Helper()
	var b bytes.Buffer
	w, err := zstd.NewWriter(&b, zstd.WithEncoderConcurrency(1))
	if err != nil {
		t.Fatal(err)
	}
	w.Write([]byte(text))
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func tokens(all ...string) []pipeline.Row {
	made := make([]pipeline.Row, len(all))
	for i, token := range all {
		made[i] = pipeline.Row{Key: fmt.Sprint(i + 1), Token: token}
	}
	return made
}

func TestCSVReads(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want []pipeline.Row
	}{
		"plain":                 {"token\na\nb\n", tokens("a", "b")},
		"no last newline":       {"token\na\nb", tokens("a", "b")},
		"CRLF":                  {"token\r\na\r\nb\r\n", tokens("a", "b")},
		"CR at the very end":    {"token\na\nb\r", tokens("a", "b")},
		"header alone":          {"token\n", nil},
		"header without end":    {"token", nil},
		"byte order mark":       {"\ufefftoken\na\n", tokens("a")},
		"mark and quotes":       {"\ufeff\"token\"\na\n", tokens("a")},
		"spaces in the header":  {" id , token \n1, a\n", tokens(" a")},
		"other columns":         {"id,token,note\n1,a,x\n2,b,\n", tokens("a", "b")},
		"same name, not token":  {"id,id,token\n1,2,a\n", tokens("a")},
		"quotes":                {"token,note\n\"a\",\"x, \"\"y\"\"\"\n", tokens("a")},
		"newline in quotes":     {"note,token\n\"x\n\ny\",a\n\"x\r\ny\",b\n", tokens("a", "b")},
		"newline in the token":  {"token\n\"a\r\nb\"\n", tokens("a\nb")},
		"blank lines":           {"\n\r\ntoken\n\n\na\n\r\nb\n\n", tokens("a", "b")},
		"very many blank lines": {"token\n" + strings.Repeat("\n", 300_000) + "a\n" + strings.Repeat("\r\n", 300_000), tokens("a")},
		"too few fields": {"id,token\n1,a\n2\n3,c\n", []pipeline.Row{
			{Key: "1", Token: "a"}, {Key: "2", Flaw: "the row has 1 fields, the token is in field 2"}, {Key: "3", Token: "c"}}},
		"too many fields":   {"token\na,b,c\nd\n", tokens("a", "d")},
		"bad tokens":        {"token\n\"\"\n  \na\tb\n\xff\xfe\n" + strings.Repeat("x", 5000) + "\n", tokens("", "  ", "a\tb", "\xff\xfe", strings.Repeat("x", 5000))},
		"null bytes":        {"token\na\x00b\n", tokens("a\x00b")},
		"other Unicode":     {"token\nÄ日\u2028x\n", tokens("Ä日\u2028x")},
		"CR within a field": {"token\na\rb\n", tokens("a\rb")},
		"the largest record": {"token,note\na," + strings.Repeat("x", maxRecord-3) + "\nb," + strings.Repeat("y", maxRecord-4) + "\r\nc\n",
			tokens("a", "b", "c")},
	} {
		t.Run(name, func(t *testing.T) {
			packed := map[string]string{"in.csv": c.text, "in.csv.gz": gzipped(t, c.text), "in.csv.zst": zstded(t, c.text)}
			packed["two.csv.gz"] = gzipped(t, c.text[:len(c.text)/2]) + gzipped(t, c.text[len(c.text)/2:])
			packed["two.csv.zst"] = zstded(t, c.text[:len(c.text)/2]) + zstded(t, c.text[len(c.text)/2:])
			for file, text := range packed {
				in, err := open(t, write(t, file, text), "token")
				if err != nil {
					t.Fatal(file, err)
				}
				testSource(t, in, c.want)
				if in.Count() != int64(len(c.want)) {
					t.Errorf("%s: Count = %d, want %d", file, in.Count(), len(c.want))
				}
				if sum := sha256.Sum256([]byte(text)); in.Digest() != hex.EncodeToString(sum[:]) {
					t.Errorf("%s: the digest is not that of the file", file)
				}
			}
		})
	}
}

func TestCSVSegments(t *testing.T) {
	for _, n := range []int{1, fileSegmentRows, fileSegmentRows + 1, 2*fileSegmentRows + 7} {
		var text strings.Builder
		text.WriteString("n,token\n")
		for _, row := range numbered(n) {
			fmt.Fprintf(&text, "\"%s\n\",%s\n", row.Key, row.Token)
		}
		in := mustOpen(t, text.String())
		if got, want := len(cut(t, in)), (n+fileSegmentRows-1)/fileSegmentRows; got != want {
			t.Errorf("%d rows make %d segments, want %d", n, got, want)
		}
		testSource(t, in, numbered(n))
	}
}

// refusal is what OpenCSV has against the file.
func refusal(t *testing.T, path string) *InputError {
	t.Helper()
	_, err := open(t, path, "token")
	flaw, ok := errors.AsType[*InputError](err)
	if !ok {
		t.Fatalf("%s: %v, want an InputError", path, err)
	}
	if flaw.Input != path {
		t.Errorf("the error is about %q, and the file is %q", flaw.Input, path)
	}
	return flaw
}

func TestCSVRefuses(t *testing.T) {
	long := strings.Repeat("x", 140)
	packed := gzipped(t, "token\na\nb\n"+strings.Repeat("c\n", 1000))
	frame := zstded(t, "token\na\nb\n"+strings.Repeat("c\n", 1000))
	for name, c := range map[string]struct {
		text, want string
	}{
		"empty":             {"", `: the file is empty; it needs a header line that names the token column`},
		"blank":             {"\n\r\n\n", `: the file is empty; it needs a header line that names the token column`},
		"only a mark":       {"\ufeff", `: the file is empty; it needs a header line that names the token column`},
		"no such column":    {"id,Token\n1,a\n", `, line 1: the header has no column "token"; it has "id", "Token". Name one with --token-column, or add a header line if there is none`},
		"no header":         {long + ",1\n" + long + ",2\n", `, line 1: the header has no column "token"; it has "xxxxxxxxxxxx…", "1". Name one with --token-column, or add a header line if there is none`},
		"semicolons":        {"id;token\n1;a\n", `, line 1: the header has no column "token"; it has "id;token". Name one with --token-column, or add a header line if there is none`},
		"many columns":      {strings.Repeat("c,", 20) + "d\n", `, line 1: the header has no column "token"; it has ` + strings.Repeat(`"c", `, 20) + `…. Name one with --token-column, or add a header line if there is none`},
		"column twice":      {"token,id,token\na,1,b\n", `, line 1: the header names the column "token" twice`},
		"UTF-16 LE, marked": {"\xff\xfet\x00o\x00k\x00", `: the file is UTF-16; save it as UTF-8`},
		"UTF-16 BE, marked": {"\xfe\xff\x00t\x00o\x00k", `: the file is UTF-16; save it as UTF-8`},
		"UTF-16 LE":         {"t\x00o\x00k\x00e\x00n\x00\n\x00", `: the file is UTF-16; save it as UTF-8`},
		"UTF-16 BE":         {"\x00t\x00o\x00k\x00e\x00n\x00\n", `: the file is UTF-16; save it as UTF-8`},
		"CR line ends":      {"token\ra\rb\r", `, line 1: the lines end in bare carriage returns; save the file with LF or CRLF`},
		"CR, quoted":        {"\"token\"\r\"a\"\r", `, line 1: the lines end in bare carriage returns; save the file with LF or CRLF`},
		"CR, large":         {"token\r" + strings.Repeat("a\r", 200_000), `, line 1: the lines end in bare carriage returns; save the file with LF or CRLF`},
		"open quote":        {"token\na\n\n\"b\nc\nd\n", `, line 4: the record that begins here is not CSV: extraneous or missing " in quoted-field`},
		"quote closed late": {"token\n\"a\nb\n\"c\"\n", `, line 2: the record that begins here is not CSV: extraneous or missing " in quoted-field`},
		"quote in a field":  {"token\na\n\nb\"c\n", `, line 4: the record that begins here is not CSV: bare " in non-quoted-field`},
		"long record":       {"token\na\n" + strings.Repeat("x", maxRecord) + "\n", `: the record after row 1 is longer than 64 KiB: a quote that is never closed, or not a file of tokens`},
		"long, CRLF":        {"token\na\n" + strings.Repeat("x", maxRecord-1) + "\r\n", `: the record after row 1 is longer than 64 KiB: a quote that is never closed, or not a file of tokens`},
		"long header":       {strings.Repeat("x", maxRecord+1), `: the record after row 0 is longer than 64 KiB: a quote that is never closed, or not a file of tokens`},
		"gzip header":       {"\x1f\x8bxxxxxxxxxx", `: the file cannot be read: the gzip data are damaged or cut short, make the file again: gzip: invalid header`},
		"gzip cut early":    {packed[:8], `: the file cannot be read: the gzip data are damaged or cut short, make the file again: unexpected EOF`},
		"gzip cut late":     {packed[:len(packed)-1], `: the file cannot be read after row 1002: the gzip data are damaged or cut short, make the file again: unexpected EOF`},
		"gzip checksum":     {packed[:len(packed)-8] + "xxxx" + packed[len(packed)-4:], `: the file cannot be read after row 1002: the gzip data are damaged or cut short, make the file again: gzip: invalid checksum`},
		"gzip and garbage":  {packed + "garbage of some length", `: the file cannot be read after row 1002: the gzip data are damaged or cut short, make the file again: gzip: invalid header`},
		"gzip of UTF-16":    {gzipped(t, "\xff\xfet\x00"), `: the file is UTF-16; save it as UTF-8`},
		"gzip of nothing":   {gzipped(t, ""), `: the file is empty; it needs a header line that names the token column`},
		"zstd cut":          {frame[:len(frame)-2], `: the file cannot be read: the zstd data are damaged or cut short, make the file again: unexpected EOF`},
		"zstd checksum":     {frame[:len(frame)-4] + "xxxx", `: the file cannot be read: the zstd data are damaged or cut short, make the file again: CRC check failed`},
		"zstd and garbage":  {frame + "garbage", `: the file cannot be read after row 1002: the zstd data are damaged or cut short, make the file again: invalid input: magic number mismatch`},
		"zstd --long=31":    {rawZstd(31, "token\na\n"), `: the file cannot be read: window size exceeded: compress it again without --long`},
	} {
		t.Run(name, func(t *testing.T) {
			path := write(t, "in.csv", c.text)
			if got := refusal(t, path).Error(); got != path+c.want {
				t.Errorf("\n got %s\nwant %s", got, path+c.want)
			}
		})
	}
}

// rawZstd is a frame with one uncompressed block that asks for a window of
// 2^log bytes.
func rawZstd(log byte, text string) string {
	header := []byte{0x28, 0xb5, 0x2f, 0xfd, 0, (log - 10) << 3}
	size := len(text)<<3 | 1
	return string(header) + string([]byte{byte(size), byte(size >> 8), byte(size >> 16)}) + text
}

// zstd writes windows of 128 MiB with --ultra -22, and reads them unasked.
func TestCSVLargestZstdWindow(t *testing.T) {
	in, err := open(t, write(t, "in.zst", rawZstd(27, "token\na\n")), "token")
	if err != nil {
		t.Fatal(err)
	}
	testSource(t, in, tokens("a"))
}

// Every way to damage a compressed file is found before the first row is used.
func TestCSVFindsEveryDamage(t *testing.T) {
	var text strings.Builder
	text.WriteString("token\n")
	for _, row := range numbered(300) {
		fmt.Fprintln(&text, row.Token)
	}
	want := len(numbered(300))
	for format, whole := range map[string]string{"gzip": gzipped(t, text.String()), "zstd": zstded(t, text.String())} {
		for i := 4; i < len(whole); i++ {
			if in, err := open(t, write(t, "cut", whole[:i]), "token"); err == nil {
				t.Errorf("%s cut to %d of %d bytes is read as %d rows", format, i, len(whole), in.Count())
			}
			broken := []byte(whole)
			broken[i] ^= 0x10
			if in, err := open(t, write(t, "broken", string(broken)), "token"); err == nil && in.Count() != int64(want) {
				t.Errorf("%s with a wrong byte %d is read as %d rows", format, i, in.Count())
			}
		}
	}
}

func TestCSVNotAFile(t *testing.T) {
	dir := t.TempDir()
	file := write(t, "in.csv", "token\n")
	for path, want := range map[string]string{
		filepath.Join(dir, "none.csv"): ": there is no such file",
		dir:                            ": this is a directory; name one file of tokens",
		filepath.Join(file, "x"):       ": the file cannot be opened: not a directory",
	} {
		if got := refusal(t, path).Error(); got != path+want {
			t.Errorf("got %s, want %s", got, path+want)
		}
	}
}

// pipeInto is the path of a pipe that the text is written to.
func pipeInto(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err == nil {
			_, err = f.WriteString(text)
			f.Close()
		}
		done <- err
	}()
	t.Cleanup(func() {
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return path
}

func TestCSVFromPipe(t *testing.T) {
	text := "token\n" + strings.Repeat("a\n", 70_000)
	for _, packed := range []string{text, gzipped(t, text), zstded(t, text)} {
		in, err := open(t, pipeInto(t, packed), "token")
		if err != nil {
			t.Fatal(err)
		}
		testSource(t, in, tokens(strings.Split(strings.TrimSuffix(text[6:], "\n"), "\n")...))
	}
}

func TestCSVFromStandardInput(t *testing.T) {
	stdin, err := os.Open(pipeInto(t, gzipped(t, "token\na\nb\n")))
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	defer func(before *os.File) { os.Stdin = before }(os.Stdin)
	os.Stdin = stdin
	in, err := open(t, "-", "token")
	if err != nil {
		t.Fatal(err)
	}
	testSource(t, in, tokens("a", "b"))
	_, err = open(t, "-", "token")
	if flaw, ok := errors.AsType[*InputError](err); !ok || flaw.Input != "standard input" {
		t.Errorf("from standard input at its end: %v", err)
	}
}
