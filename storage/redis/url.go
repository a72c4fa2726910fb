package redis

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"

	goredis "github.com/redis/go-redis/v9"
)

// Schemes are the URL schemes that Open understands.
func Schemes() []string { return []string{"redis", "rediss", "redis-sentinel", "redis-cluster"} }

// parseURL reads the forms
//
//	redis://[user:password@]host[:port][/db]           rediss:// for TLS
//	redis-sentinel://[user:password@]host[:port],…/master-name[?db=N][&tls=true]
//	redis-cluster://[user:password@]host[:port],…[?tls=true]
//
// Its errors never repeat the URL, which may hold a password.
func parseURL(raw string) (*goredis.UniversalOptions, error) {
	scheme, rest, ok := strings.Cut(raw, "://")
	if !ok {
		return nil, errors.New("the store's URL has no scheme")
	}
	authority, tail := rest, ""
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		authority, tail = rest[:i], rest[i:]
	}
	user, hosts := "", authority
	if i := strings.LastIndexByte(authority, '@'); i >= 0 {
		user, hosts = authority[:i+1], authority[i+1:]
	}
	// net/url knows no list of hosts; it reads everything else.
	u, err := url.Parse("redis://" + user + "host" + tail)
	if err != nil || u.Fragment != "" {
		return nil, errors.New("the store's URL is malformed; escape special characters of the password as %XX")
	}
	o := &goredis.UniversalOptions{}
	if u.User != nil {
		o.Username = u.User.Username()
		o.Password, _ = u.User.Password()
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return nil, errors.New("the query of the store's URL is malformed")
	}
	p := parts{scheme: scheme, path: strings.TrimPrefix(u.Path, "/"), query: query}
	if err := p.into(o); err != nil {
		return nil, err
	}
	o.Addrs, err = parseHosts(hosts, scheme)
	return o, err
}

// parts is what the schemes read differently.
type parts struct {
	scheme, path string
	query        url.Values
}

func (p parts) into(o *goredis.UniversalOptions) (err error) {
	db, secure := "", false
	switch p.scheme {
	case "redis", "rediss":
		db, secure = p.path, p.scheme == "rediss"
	case "redis-sentinel":
		if o.MasterName = p.path; o.MasterName == "" || strings.Contains(p.path, "/") {
			return errors.New("redis-sentinel:// needs the master's name as its path: redis-sentinel://host:26379/name")
		}
	case "redis-cluster":
		if o.IsClusterMode = true; p.path != "" {
			return errors.New("redis-cluster:// has no path: a cluster has only database 0")
		}
	default:
		return fmt.Errorf("the store's URL must begin with one of %s://", strings.Join(Schemes(), "://, "))
	}
	for name, values := range p.query {
		switch value := values[0]; {
		case len(values) > 1:
			return errors.New("the query of the store's URL names a parameter twice")
		case name == "db" && db == "" && !o.IsClusterMode:
			db = value
		case name == "tls" && p.scheme != "rediss":
			if secure, err = strconv.ParseBool(value); err != nil {
				return errors.New("tls in the store's URL is true or false")
			}
		default:
			return errors.New("the query of the store's URL has a parameter that its scheme does not know")
		}
	}
	if secure {
		o.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	if db == "" {
		return nil
	}
	if o.DB, err = strconv.Atoi(db); err != nil || o.DB < 0 {
		return errors.New("the database in the store's URL is not a number")
	}
	return nil
}

func parseHosts(list, scheme string) ([]string, error) {
	port := "6379"
	if scheme == "redis-sentinel" {
		port = "26379"
	}
	hosts := strings.Split(list, ",")
	if len(hosts) > 1 && !strings.Contains(scheme, "-") {
		return nil, errors.New("the store's URL names several hosts; use redis-sentinel:// or redis-cluster://")
	}
	for i, host := range hosts {
		if _, _, err := net.SplitHostPort(host); err != nil {
			host = net.JoinHostPort(strings.Trim(host, "[]"), port)
		}
		name, number, err := net.SplitHostPort(host)
		n, numeric := strconv.ParseUint(number, 10, 16)
		if err != nil || numeric != nil || n == 0 || name == "" || strings.ContainsAny(name, " \t\r\n%[]") {
			return nil, errors.New("a host in the store's URL is not of the form host:port")
		}
		hosts[i] = host
	}
	return hosts, nil
}
