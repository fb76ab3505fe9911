package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/pflag"

	"github.com/bulksub/bulksub/iidclient"
)

// vapidFlags name the public key of the application server that may send to push
// subscriptions.
type vapidFlags struct{ key, file string }

func (f *vapidFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.key, "vapid-key", "", "the application server's public VAPID `KEY`, in base64url")
	flags.StringVar(&f.file, "vapid-key-file", "", "`FILE` with the application server's public VAPID key")
}

// mostKeyBytes is more than any key has, with white space around it.
const mostKeyBytes = 4096

// read gives the key.
func (f *vapidFlags) read() (string, error) {
	switch {
	case f.key != "" && f.file != "":
		return "", usagef("there is one VAPID key: give either --vapid-key or --vapid-key-file")
	case f.key != "":
		return f.key, iidclient.CheckVAPIDKey(f.key)
	case f.file == "":
		return "", usagef("push subscriptions are for one application server: give its public key, --vapid-key KEY or --vapid-key-file FILE")
	}
	text, err := readStart(f.file)
	if err != nil {
		return "", &configError{fmt.Errorf("--vapid-key-file %s cannot be read: %w", f.file, err)}
	}
	key := strings.TrimSpace(text)
	if err := iidclient.CheckVAPIDKey(key); err != nil {
		return "", &configError{fmt.Errorf("--vapid-key-file %s: %v", f.file, err)}
	}
	return key, nil
}

// readStart reads the start of a file: all of it, if it holds a key.
func readStart(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", withoutPath(err)
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, mostKeyBytes))
	return string(text), withoutPath(err)
}

func withoutPath(err error) error {
	if about, ok := errors.AsType[*fs.PathError](err); ok {
		return about.Err
	}
	return err
}
