package tools

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strings"

	"github.com/bursar-sts/bursar/scopes"
)

// CanonicalResource returns the form in which resource URIs are compared: scheme and host in lower case, no default
// port, everything else byte for byte, so that a trailing slash is significant (RFC 8707 §2, RFC 3986 §6.2.3). It
// refuses what scopes.CheckURL refuses of that form, and what two parsers could still read differently. Errors are the
// end of a sentence.
func CanonicalResource(raw string) (string, error) {
	scheme, rest, _ := strings.Cut(raw, "://")
	host := rest
	if end := strings.IndexAny(rest, "/?#"); end >= 0 {
		host = rest[:end]
	}
	rest = rest[len(host):]
	scheme, host = lower(scheme), lower(host)
	if err := scopes.CheckURL(scheme+"://"+host+rest, scopes.WithQuery); err != nil {
		return "", err
	}
	u, err := url.Parse(scheme + "://" + host + rest)
	if err != nil {
		return "", errors.New("must be an absolute URL")
	}
	for segment := range strings.SplitSeq(strings.ReplaceAll(u.Path, "\\", "/"), "/") {
		if name, _, _ := strings.Cut(segment, ";"); name == "." || name == ".." {
			return "", errors.New("must not hold dot segments")
		}
	}
	if err := checkHost(u.Hostname()); err != nil {
		return "", err
	}
	return scheme + "://" + strings.TrimSuffix(host, defaultPorts[scheme]) + rest, nil
}

var defaultPorts = map[string]string{"https": ":443", "http": ":80"}

// lower is strings.ToLower for ASCII alone: no other letter becomes one of a host name.
func lower(s string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			r += 'a' - 'A'
		}
		return r
	}, s)
}

// checkHost refuses second spellings of a host, by which two names would be one server.
func checkHost(host string) error {
	last := host[strings.LastIndexByte(host, '.')+1:]
	if strings.Contains(host, ":") || strings.Trim(last, "0123456789") == "" || strings.HasPrefix(last, "0x") {
		if ip, err := netip.ParseAddr(host); err != nil || ip.Is4In6() || ip.String() != host {
			return errors.New("must hold a host name without a trailing dot, or an IP address in its usual form")
		}
		return nil
	}
	odd := func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && !strings.ContainsRune("-._", r)
	}
	if strings.ContainsFunc(host, odd) || strings.HasPrefix(host, ".") || strings.Contains(host, "..") {
		return errors.New("must hold a host name of letters, digits, hyphens and dots")
	}
	return nil
}

// Place is where a tenant stands, by which a resource is its own or somebody else's.
type Place struct {
	BaseURL string // the server's origin
	ShimURL string // where the shim is reached, without a slash at the end; "" if there is none
	Tenant  string // the tenant's slug
	// Stored says that the tools are in force already. They are read even if they are not where the shim is now, or nobody
	// could mend them.
	Stored bool
}

// Resource returns the resource of a tool that stands behind the shim: the address at which it is called.
func (at Place) Resource(tool string) string { return at.ShimURL + "/t/" + at.Tenant + "/" + tool }

// check reports why the tenant may not register the tool's resource.
func (at Place) check(t *Tool) error {
	if _, err := CanonicalResource(t.Resource); err != nil {
		return err
	}
	if t.Upstream != nil {
		return at.checkBehind(t)
	}
	_, shims := Under(t.Resource, at.ShimURL)
	if shims {
		if t.Resource != at.Resource(t.Name) && !at.Stored {
			return fmt.Errorf("lies under the shim's address; only %s is this tool's there", at.Resource(t.Name))
		}
		return nil
	}
	// Everything under the server's own origin belongs to somebody: a tenant may name its own path only.
	if rest, ours := Under(t.Resource, at.BaseURL); ours {
		if own := "/t/" + at.Tenant; rest != own && !strings.HasPrefix(rest, own+"/") {
			return fmt.Errorf("lies under this server's own address; only paths below %s%s/ are this tenant's", at.BaseURL, own)
		}
	}
	return nil
}

// checkBehind reports why a tool with an upstream may not have its resource, which its callers call.
func (at Place) checkBehind(t *Tool) error {
	switch {
	case at.Stored || t.Resource == at.Resource(t.Name) && at.ShimURL != "":
		return nil
	case at.ShimURL == "":
		return errors.New("cannot be right: a tool with an upstream stands behind the shim, and the platform has none " +
			"(shim.url in bursar.yaml)")
	}
	return fmt.Errorf("must be %s, where the shim has the tool", at.Resource(t.Name))
}

// Under reports whether a URI is an address or lies under it, and returns what follows that.
func Under(uri, address string) (rest string, ok bool) {
	canonical, err := CanonicalResource(uri)
	root, rootErr := CanonicalResource(address)
	if err != nil || rootErr != nil {
		return "", false
	}
	rest, ok = strings.CutPrefix(canonical, root)
	return rest, ok && (rest == "" || rest[0] == '/' || rest[0] == '?')
}
