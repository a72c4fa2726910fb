package tools

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/bursar-sts/bursar/scopes"
)

// places are where an injection puts something. Two of one upstream must not share one.
func (x Injection) places() []string {
	var all []string
	for _, name := range x.headers() {
		all = append(all, "header "+strings.ToLower(name))
	}
	switch x.In {
	case InQuery, InCookie, InPath, InForm:
		return append(all, string(x.In)+" "+x.Name)
	case InMTLS:
		return append(all, "the client certificate")
	case InSigV4, InHMAC:
		return append(all, "the signature of the call") // each would have to be the last
	}
	return all
}

// headers are the request headers that an injection sets.
func (x Injection) headers() []string {
	switch x.In {
	case InHeader:
		return []string{x.Name}
	case InBearer, InBasic, InOAuth2:
		return []string{"Authorization"}
	case InSigV4:
		return []string{"Authorization", "X-Amz-Date", "X-Amz-Content-Sha256", "X-Amz-Security-Token"}
	case InHMAC:
		if x.HMAC != nil {
			return slices.DeleteFunc([]string{x.HMAC.Header, x.HMAC.TimestampHeader, x.HMAC.NonceHeader},
				func(name string) bool { return name == "" })
		}
	}
	return nil
}

func (u *Upstream) checkInjections(p *problems) {
	if len(u.Inject) == 0 || len(u.Inject) > maxInject {
		p.add("inject", fmt.Sprintf("must list from 1 to %d secrets", maxInject))
	}
	taken := map[string]int{}
	for i := range u.Inject {
		x, path := &u.Inject[i], fmt.Sprintf("inject[%d]", i)
		p.under(path, u.checkInjection(x))
		for _, place := range x.places() {
			if other, twice := taken[place]; twice && other == i {
				p.add(path, "puts two things in "+place)
			} else if twice {
				p.add(path, fmt.Sprintf("puts a secret where inject[%d] does: %s", other, place))
			} else {
				taken[place] = i
			}
		}
		for j := range u.Inject[:i] {
			if y := u.Inject[j]; x.In == InJSON && y.In == InJSON && nested(x.Name, y.Name) {
				p.add(path, fmt.Sprintf("puts a secret where inject[%d] does: json %s", j, y.Name))
			}
		}
	}
	if u.has(InJSON) && u.has(InForm) {
		p.add("inject", "puts secrets in json and in form; a body is one of them")
	}
}

// nested reports whether of two JSON pointers one is at or below the other.
func nested(a, b string) bool {
	p, err := parsePointer(a)
	q, also := parsePointer(b)
	return err == nil && also == nil && (p.within(q) || q.within(p))
}

// checkInjection lists the mistakes that an injection has by itself.
func (u *Upstream) checkInjection(x *Injection) []string {
	var p problems
	if !slices.Contains(Kinds(), x.In) {
		p.add("in", "must be one of header, bearer, basic, query, cookie, path, json, form, sigv4, hmac, oauth2, mtls")
		return p
	}
	p.err("secret", scopes.CheckSlug(x.Secret))
	u.checkName(&p, x)
	if x.Format != "" && x.In != InHeader {
		p.add("format", "is for header alone")
	} else if x.Format != "" && (strings.Count(x.Format, "{value}") != 1 || !isHeaderText(x.Format)) {
		p.add("format", "must be printable ASCII, without spaces at its ends, that holds {value} once")
	}
	for _, params := range []struct {
		of    Kind
		given bool
		check func() []string
	}{
		{InSigV4, x.SigV4 != nil, func() []string { return x.SigV4.check(u) }},
		{InHMAC, x.HMAC != nil, func() []string { return x.HMAC.check() }},
		{InOAuth2, x.OAuth2 != nil, func() []string { return x.OAuth2.check(u) }},
	} {
		switch path, is := string(params.of), x.In == params.of; {
		case is && !params.given:
			p.add(path, "is required")
		case !is && params.given:
			p.add(path, "is for in: "+path+" alone")
		case is:
			p.under(path, params.check())
		}
	}
	if x.In == InMTLS && !strings.HasPrefix(u.URL, "https://") {
		p.add("in", "is mtls, which needs an https url")
	}
	return p
}

// checkName reports what is wrong with where a secret is put.
func (u *Upstream) checkName(p *problems, x *Injection) {
	ok, want := x.Name == "", "is not for this kind"
	switch x.In {
	case InHeader:
		ok, want = mayInject(x.Name), "must be a header that does not frame the message, name its receiver or say what the "+
			"body is; for cookies there is in: cookie"
	case InQuery, InForm:
		ok, want = isParameter(x.Name), "must be the name of a parameter: letters, digits and -._~$@:[]"
	case InCookie:
		ok, want = isToken(x.Name), "must be the name of a cookie (RFC 6265 §4.1.1)"
	case InPath:
		ok, want = isParamName(x.Name), "must be the name of a parameter of the rules' paths"
	case InJSON:
		at, err := parsePointer(x.Name)
		ok, want = err == nil && at[len(at)-1] != "", "must be a JSON pointer to a member, such as /auth/key (RFC 6901)"
	}
	if !ok {
		p.add("name", want)
	}
}

// isHeaderText reports whether s may be in a header's value, as it is.
func isHeaderText(s string) bool {
	return len(s) <= 1024 && strings.TrimSpace(s) == s && !strings.ContainsFunc(s, func(r rune) bool {
		return r < ' ' ||
			r > '~'
	})
}

func (s *SigV4) check(u *Upstream) []string {
	var p problems
	for _, x := range []struct{ path, text string }{{"region", s.Region}, {"service", s.Service}} {
		if err := scopes.CheckSlug(x.text); err != nil {
			p.err(x.path, err)
		}
	}
	if s.UnsignedPayload && !strings.HasPrefix(u.URL, "https://") {
		p.add("unsigned_payload", "needs an https url: nothing else protects the body")
	}
	return p
}

// placeholders are what an HMAC template can name.
var placeholders = []string{"method", "path", "query", "body", "body_sha256", "timestamp", "nonce"}

func (h *HMAC) check() []string {
	var p problems
	p.choice("hash", h.Hash, "sha256", "sha512")
	p.choice("encoding", h.Encoding, "hex", "base64")
	if !mayInject(h.Header) {
		p.add("header", "must be a header that does not frame the message, name its receiver or say what the body is")
	}
	if !isHeaderText(h.Prefix + ".") {
		p.add("prefix", "must be printable ASCII that begins with no space")
	}
	used, err := templateNames(h.Template)
	p.err("template", err)
	for _, x := range []struct{ path, name, header string }{
		{"timestamp_header", "timestamp", h.TimestampHeader}, {"nonce_header", "nonce", h.NonceHeader},
	} {
		switch {
		case err != nil:
		case used[x.name] && !mayInject(x.header):
			p.add(x.path, "must be a header, in which the receiver gets the {"+x.name+"} of the template")
		case !used[x.name] && x.header != "":
			p.add(x.path, "would not be signed, because the template has no {"+x.name+"}")
		}
	}
	return p
}

// templateNames returns what an HMAC template names.
func templateNames(template string) (map[string]bool, error) {
	used, rest := map[string]bool{}, template
	for {
		before, after, some := strings.Cut(rest, "{")
		name, behind, closed := strings.Cut(after, "}")
		switch known := closed && slices.Contains(placeholders, name); {
		case len(template) > 1024 || strings.Contains(before, "}") || some && !known:
			return nil, fmt.Errorf("must be text of at most 1024 bytes with any of {%s} in it",
				strings.Join(placeholders, "} {"))
		case !some && len(used) == 0:
			return nil, errors.New("holds nothing of the call, so that one signature would do for all")
		case !some:
			return used, nil
		}
		used[name], rest = true, behind
	}
}

// reserved are parameters of a token request that the other fields say, or that nobody may.
var reserved = []string{"grant_type", "client_id", "client_secret", "client_assertion", "client_assertion_type",
	"scope",
	"audience", "resource"}

func (o *OAuth2) check(u *Upstream) []string {
	var p problems
	p.err("token_url", scopes.CheckURL(o.TokenURL, scopes.WithQuery))
	if strings.HasPrefix(o.TokenURL, "http://") && !u.AllowPlaintext {
		p.add("token_url",
			"must be https, or else the secret can be read on the way; allow_plaintext admits http on loopback")
	}
	if _, err := scopes.Words(o.Scope); err != nil {
		p.add("scope", "must be words separated by single spaces (RFC 6749 §3.3)")
	}
	p.choice("auth", o.Auth, "basic", "post")
	for _, name := range slices.Sorted(maps.Keys(o.Params)) {
		if slices.Contains(reserved, name) || !isParameter(name) || len(o.Params[name]) > 1024 {
			p.add(fmt.Sprintf("params[%q]", name), "is not a further parameter of a token request, or is too long")
		}
	}
	for _, x := range []struct{ path, text string }{{"audience", o.Audience}, {"resource", o.Resource}} {
		if !isHeaderText(x.text) {
			p.add(x.path, "must be printable ASCII without spaces at its ends")
		}
	}
	if len(o.Params) > maxList {
		p.add("params", fmt.Sprintf("has more than %d entries", maxList))
	}
	return p
}
