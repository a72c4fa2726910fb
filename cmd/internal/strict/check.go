package strict

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/bursar-sts/bursar/scopes"
)

// Check finds what is missing of the certificate.
func (t TLS) Check() (found Checks) {
	if t.Cert == "" && t.Key != "" {
		found.Add("tls.cert", "is required beside tls.key")
	}
	if t.Key == "" && t.Cert != "" {
		found.Add("tls.key", "is required beside tls.cert")
	}
	return found
}

// AddressRange checks a range of addresses; instead says what to do about one that holds all of them.
func AddressRange(prefix netip.Prefix, instead string) error {
	switch {
	case !prefix.IsValid():
		return fmt.Errorf("must be an address range such as 10.2.0.0/16")
	case prefix.Addr().Is4In6():
		return fmt.Errorf("must be written as an IPv4 range")
	case prefix.Bits() == 0:
		return fmt.Errorf("allows every address; %s", instead)
	case prefix != prefix.Masked():
		return fmt.Errorf("has bits beyond its length; did you mean %s?", prefix.Masked())
	}
	return nil
}

// BaseURL checks that s is an origin in the one spelling that issuers are compared with (RFC 8414 §3.3 compares them
// character by character).
func BaseURL(s string) error {
	if s == "" {
		return fmt.Errorf("is required; it is the origin under which the server is reached, such as https://sts.example")
	}
	if err := scopes.CheckURL(s, scopes.Origin); err != nil {
		return err
	}
	scheme, host, _ := strings.Cut(s, "://")
	if scheme == "https" && strings.HasSuffix(host, ":443") || scheme == "http" && strings.HasSuffix(host, ":80") {
		return fmt.Errorf("must not name the port that its scheme has anyway")
	}
	return nil
}

// ShimURL checks the URL at which a shim is reached. Tools are told apart by the path behind it, so that it is an
// origin and plain segments, which nobody writes in two ways; base is the origin of the authorization server, whose own
// paths are no shim's.
func ShimURL(s, base string) error {
	if s == "" {
		return fmt.Errorf("is required; it is where the shim is reached, such as https://sts.example/shim")
	}
	if err := scopes.CheckURL(s, scopes.WithPath); err != nil {
		return err
	}
	scheme, rest, _ := strings.Cut(s, "://")
	host, path, _ := strings.Cut(rest, "/")
	if err := BaseURL(scheme + "://" + host); err != nil {
		return err
	}
	segments := strings.Split(path, "/")
	odd := func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' && r != '_' }
	if strings.Contains(rest, "/") && slices.ContainsFunc(segments, func(x string) bool {
		return x == "" || strings.ContainsFunc(x, odd)
	}) {
		return fmt.Errorf("must have a path of a-z, 0-9, hyphens and underscores without a slash at its end, or none")
	}
	if scheme+"://"+host == base && slices.Contains(own, segments[0]) {
		return fmt.Errorf("is among the server's own paths; give it one of its own, such as %s/shim", base)
	}
	return nil
}

// own begin the paths of an authorization server.
var own = []string{"", "t", "admin", "console", "log", "healthz", "readyz", "metrics", "v1"}

// Listener checks an address that tokens pass through; secure is whether there is a certificate.
func Listener(address string, secure bool) error {
	if address == "" {
		return fmt.Errorf("is required, such as 127.0.0.1:8080")
	}
	host, err := HostPort(address)
	if err == nil && !secure && !scopes.IsLoopback(host) {
		return fmt.Errorf("is not a loopback address, and plain HTTP is for those only; give tls.cert and tls.key, " +
			"or listen on 127.0.0.1 behind a proxy")
	}
	return err
}

// HostPort checks an address to listen on, and returns its host.
func HostPort(address string) (host string, err error) {
	host, p, err := net.SplitHostPort(address)
	if err != nil {
		return "", fmt.Errorf("must be host:port, such as 127.0.0.1:8080")
	}
	if _, err := strconv.ParseUint(p, 10, 16); err != nil {
		return "", fmt.Errorf("must end in a port from 0 to 65535")
	}
	return host, nil
}

// RedisSchemes are those of the URL of a Redis.
func RedisSchemes() []string { return []string{"redis", "rediss", "redis-sentinel", "redis-cluster"} }

// RedisURL checks the URL of a Redis, which holds no password.
func RedisURL(store string) error {
	u, err := url.Parse(store)
	if err != nil || !slices.Contains(RedisSchemes(), u.Scheme) {
		return fmt.Errorf("must be redis://, rediss://, redis-sentinel:// or redis-cluster://")
	}
	if u.Host == "" {
		return fmt.Errorf("must name a host, such as redis://127.0.0.1:6379/0")
	}
	if _, has := u.User.Password(); has || u.Query().Has("password") {
		return fmt.Errorf("holds a password; name its place in store_password instead")
	}
	return nil
}

// WithPassword returns a URL that RedisURL accepts with the password of its user.
func WithPassword(store, password string) string {
	u, err := url.Parse(store)
	if err != nil { // RedisURL has parsed it
		return store
	}
	u.User = url.UserPassword(u.User.Username(), password)
	return u.String()
}
