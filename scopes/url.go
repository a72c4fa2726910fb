package scopes

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// MaxURL bounds a URL, in bytes.
const MaxURL = 2048

// URLForm is how much a URL may hold. Its zero value allows least.
type URLForm int

const (
	Origin    URLForm = iota // scheme, host and port alone, without a slash behind them
	WithPath                 // a path, too
	WithQuery                // a path and a query
)

// CheckURL reports why s is not an address that the server, or somebody with a token, can be sent to: https, or http on
// loopback. Two readers of an address must not find different hosts in it, and addresses are compared as text, so it
// has to be written in one way: printable ASCII without backslashes, scheme and host in lower case, no user, no
// fragment (RFC 3986 §3). Errors are the end of a sentence that begins with what s is.
func CheckURL(s string, most URLForm) error {
	if len(s) > MaxURL {
		return fmt.Errorf("must be at most %d bytes", MaxURL)
	}
	if strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || '~' < r || r == '\\' }) {
		return errors.New("must be printable ASCII without spaces and backslashes")
	}
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Hostname() == "" || u.Opaque != "":
		return errors.New("must be an absolute URL, such as https://host.example")
	case u.Scheme != "https" && (u.Scheme != "http" || !IsLoopback(u.Hostname())):
		return errors.New("must be https; http is for loopback alone")
	case u.User != nil:
		return errors.New("must not hold a user or password")
	case !strings.HasPrefix(s, u.Scheme+"://"+u.Host) || strings.ToLower(u.Host) != u.Host:
		return errors.New("must have its scheme and host in lower case, with nothing escaped")
	case strings.Contains(s, "#"):
		return errors.New("must not hold a fragment")
	case most < WithQuery && strings.Contains(s, "?"):
		return errors.New("must not hold a query")
	case most < WithPath && s != u.Scheme+"://"+u.Host:
		return errors.New("must be an origin: scheme, host and port alone")
	}
	return checkPort(u)
}

func checkPort(u *url.URL) error {
	port := u.Port()
	if port == "" && !strings.HasSuffix(u.Host, ":") {
		return nil
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 || strconv.FormatUint(n, 10) != port {
		return errors.New("must have a port from 1 to 65535 without leading zeros, or none")
	}
	return nil
}

// IsLoopback reports whether a host, without port and brackets, is this machine's own and nobody else's: "localhost",
// or a loopback address.
func IsLoopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.Zone() == "" && addr.IsLoopback()
}
