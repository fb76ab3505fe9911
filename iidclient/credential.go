package iidclient

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
)

// Credential authorizes calls. [*OAuth] and [*ServerKey] are the two of this
// package. It must be safe for concurrent use.
type Credential interface {
	// Authorize sets the headers of one call. It may wait for an access token,
	// until ctx is done. The returned Report must be called at most once.
	Authorize(ctx context.Context, header http.Header) (Report, error)
	// PlainHTTP tells whether the credential may go over plain http beyond this
	// machine: only if it is worth nothing to someone who reads it.
	PlainHTTP() bool
}

// Report tells a credential the HTTP status of the complete reply to the call that
// it authorized. It returns true if the status is 401 and a call with what
// Authorize sets next has a chance.
type Report func(status int) (fresh bool)

// maxCredential bounds files that hold a secret: a device given by mistake must
// not be read for ever.
const maxCredential = 1 << 20

// readSecret reads a small file, and says what to do if it cannot.
func readSecret(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, unreadable(path, err)
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.IsDir() {
		return nil, badFile(path, "is a directory; name the file in it")
	}
	data, err := io.ReadAll(io.LimitReader(f, maxCredential+1))
	if err != nil {
		return nil, unreadable(path, err)
	}
	if len(data) > maxCredential {
		return nil, badFile(path, fmt.Sprintf("has more than %d bytes and can be no credential", maxCredential))
	}
	return bytes.TrimSpace(data), nil
}

func badFile(path, problem string) error {
	return &CredentialError{Final: true, Reason: path + " " + problem}
}

func unreadable(path string, err error) error {
	problem := "cannot be read; check the path and its rights: "
	if errors.Is(err, os.ErrNotExist) {
		problem = "does not exist; check the path, or what should mount it: "
	}
	var cause *os.PathError
	if errors.As(err, &cause) {
		err = cause.Err
	}
	return &CredentialError{Final: true, Reason: path + " " + problem + err.Error(), Err: err}
}

// ServerKey is the old form of authorization, "Authorization: key=…", of the
// oldest edition of the reference. The live service has refused it since June
// 2024; stand-ins may still take it.
type ServerKey struct {
	header string
}

var _ Credential = (*ServerKey)(nil)

// ServerKeyFile reads a server key from a file that holds nothing else. White
// space around it is dropped.
func ServerKeyFile(path string) (*ServerKey, error) {
	data, err := readSecret(path)
	if err != nil {
		return nil, err
	}
	key := string(data)
	switch {
	case key == "":
		return nil, badFile(path, "is empty; it should hold the server key")
	case key[0] == '{':
		return nil, badFile(path, "holds JSON, not a server key; give it as the credentials file")
	case strings.ContainsFunc(key, func(r rune) bool { return r <= ' ' || r > '~' }):
		return nil, badFile(path, "holds more than one word of printable ASCII; it should hold the server key alone")
	}
	return &ServerKey{header: "key=" + key}, nil
}

// Authorize sets the Authorization header. The header access_token_auth must be
// absent with this form.
func (k *ServerKey) Authorize(_ context.Context, header http.Header) (Report, error) {
	header["Authorization"] = []string{k.header}
	return func(int) bool { return false }, nil
}

// PlainHTTP is false: nothing tells a stand-in's key from a real one.
func (k *ServerKey) PlainHTTP() bool { return false }

// String hides the key.
func (k *ServerKey) String() string { return "key=…" }

// GoString hides the key.
func (k *ServerKey) GoString() string { return k.String() }
