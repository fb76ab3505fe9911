package iidclient

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strings"
)

// parseEndpoint reads a base address: scheme, host, and a path if there is one.
func parseEndpoint(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return nil, errors.New("not a URL; write it as https://HOST")
	case u.Scheme != "https" && u.Scheme != "http", u.Hostname() == "":
		return nil, fmt.Errorf("%q is no address; write it as https://HOST", cleanText(u.Redacted()))
	case u.User != nil, u.RawQuery != "", u.Fragment != "":
		return nil, fmt.Errorf("%q has more than scheme, host and path; write it as https://HOST", cleanText(u.Host))
	}
	u.Path = strings.TrimRight(u.Path, "/")
	u.RawPath = strings.TrimRight(u.RawPath, "/")
	return u, nil
}

// checkPlainHTTP is the one rule on plain http: https always; http to this
// machine; http elsewhere only where allowed, because everything in between can
// read what is sent.
func checkPlainHTTP(u *url.URL, allowed bool) error {
	switch {
	case u.Scheme == "https":
		return nil
	case u.Scheme != "http":
		return fmt.Errorf("%s: neither https nor http", cleanText(u.Redacted()))
	case isLoopback(u.Hostname()) || allowed:
		return nil
	}
	return fmt.Errorf("http://%s is plain http beyond this machine; use https", cleanText(u.Host))
}

func isLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}
