package source

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/klauspost/compress/zstd"
)

// openInput opens a file for reading from its start as often as is wanted.
// Standard input ("-") is copied to an unnamed temporary file first, so that it
// can be checked as a whole before the first call, like any other input.
func openInput(path string) (*os.File, error) {
	if path == "-" {
		return spool(os.Stdin)
	}
	f, err := os.Open(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, &InputError{Input: path, Problem: "there is no such file"}
	case err != nil:
		return nil, &InputError{Input: path, Problem: "the file cannot be opened", Err: cause(err)}
	}
	info, err := f.Stat()
	switch {
	case err != nil:
		err = &InputError{Input: path, Problem: "the file cannot be examined", Err: cause(err)}
	case info.IsDir():
		err = &InputError{Input: path, Problem: "this is a directory; name one file of tokens"}
	case !info.Mode().IsRegular():
		spooled, err := spool(f)
		f.Close()
		return spooled, err
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// cause drops the path that the os package put in front of an error.
func cause(err error) error {
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		return pe.Err
	}
	return err
}

func spool(from io.Reader) (*os.File, error) {
	f, err := os.CreateTemp("", "bulksub-input-*")
	if err != nil {
		return nil, fmt.Errorf("a temporary copy of the input: %w", err)
	}
	if err := os.Remove(f.Name()); err != nil {
		f.Close()
		return nil, fmt.Errorf("a temporary copy of the input: %w", err)
	}
	if _, err := io.Copy(f, from); err != nil {
		f.Close()
		return nil, fmt.Errorf("a temporary copy of the input: %w", err)
	}
	return f, nil
}

const unreadable = "the file cannot be read"

// checkEncoding steps over a UTF-8 byte order mark, and refuses UTF-16 and line
// ends that are none.
func checkEncoding(name string, r *bufio.Reader) error {
	head, err := r.Peek(3)
	if err != nil && !errors.Is(err, io.EOF) {
		return &InputError{Input: name, Problem: unreadable, Err: cause(err)}
	}
	switch {
	case bytes.Equal(head, []byte{0xef, 0xbb, 0xbf}):
		r.Discard(3)
	case bytes.HasPrefix(head, []byte{0xff, 0xfe}), bytes.HasPrefix(head, []byte{0xfe, 0xff}), bytes.IndexByte(head, 0) >= 0:
		return &InputError{Input: name, Problem: "the file is UTF-16; save it as UTF-8"}
	}
	buffered, _ := r.Peek(r.Buffered())
	line, _, _ := bytes.Cut(buffered, []byte{'\n'})
	if bytes.IndexByte(bytes.TrimSuffix(line, []byte{'\r'}), '\r') >= 0 {
		return &InputError{Input: name, Line: 1, Problem: "the lines end in bare carriage returns; save the file with LF or CRLF"}
	}
	return nil
}

var (
	gzipMagic = []byte{0x1f, 0x8b}
	zstdMagic = []byte{0x28, 0xb5, 0x2f, 0xfd}
)

// decompressed reads gzip and zstd as what they hold, and all else as it is.
func decompressed(r io.Reader) (io.Reader, error) {
	peek := bufio.NewReader(r)
	head, err := peek.Peek(4)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, cause(err)
	}
	switch {
	case bytes.HasPrefix(head, gzipMagic):
		d, err := gzip.NewReader(peek)
		return &compressed{format: "gzip", data: d}, damage("gzip", err)
	case bytes.HasPrefix(head, zstdMagic):
		d, err := zstd.NewReader(peek, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxZstdWindow))
		return &compressed{format: "zstd", data: d}, damage("zstd", err)
	default:
		return peek, nil
	}
}

// maxZstdWindow is what zstd itself decompresses without being asked twice.
const maxZstdWindow = 128 << 20

// compressed says of a decompressor's errors what they mean.
type compressed struct {
	format string
	data   io.Reader
}

func (c *compressed) Read(p []byte) (int, error) {
	n, err := c.data.Read(p)
	return n, damage(c.format, err)
}

func damage(format string, err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	if errors.Is(err, zstd.ErrWindowSizeExceeded) {
		return fmt.Errorf("%w: compress it again without --long", err)
	}
	return fmt.Errorf("the %s data are damaged or cut short, make the file again: %w", format, cause(err))
}
