package inject

import (
	"net/http"
	"net/url"
	"strings"
)

// Place makes path and query what net/http writes as the target of a request, byte by byte. The path is canonical, as
// tools.Match has it, and the query without its question mark.
func Place(out *http.Request, path, query string) {
	out.URL.Opaque, out.URL.RawQuery = path, query
	out.URL.Path, out.URL.RawPath, out.URL.ForceQuery = "", "", false
}

// query appends a parameter. The caller's own of that name are gone with the rule; they are looked for again, in every
// case, because servers differ on that.
func (t *Target) query(name, value string) ([]string, error) {
	if !isText(value) {
		return nil, errValue()
	}
	kept, ok := without(t.Request.URL.RawQuery, name)
	if !ok {
		return nil, errPlace()
	}
	t.Request.URL.RawQuery = appended(kept, name, value)
	return spellings(value, escape(value)), nil
}

// spellings are the texts of a value that goes out as sent: an upstream that repeats what it got in base64 repeats that
// spelling of it.
func spellings(value, sent string) []string {
	if value == sent {
		return []string{value}
	}
	return []string{value, sent}
}

// without returns a query, or the body of a form, without the parameters of a name. It reports false if somebody could
// read another name in it.
func without(raw, name string) (kept string, ok bool) {
	var all []string
	for pair := range strings.SplitSeq(raw, "&") {
		own, _, _ := strings.Cut(pair, "=")
		own, err := url.QueryUnescape(own)
		switch {
		case err != nil || strings.Contains(pair, ";"):
			return "", false
		case pair != "" && !strings.EqualFold(strings.TrimSpace(own), strings.TrimSpace(name)):
			all = append(all, pair)
		}
	}
	return strings.Join(all, "&"), true
}

func appended(raw, name, value string) string {
	pair := escape(name) + "=" + escape(value)
	if raw == "" {
		return pair
	}
	return raw + "&" + pair
}

// path replaces the segment that stands for the secret. It is found by its number, since what was put in before it may
// be longer than what it replaced.
func (t *Target) path(name, value string) ([]string, error) {
	if t.Match == nil {
		return nil, errPlace()
	}
	start, _, ok := t.Match.Segment(name)
	segments := strings.Split(t.Request.URL.Opaque, "/")
	number := strings.Count(t.Match.Path[:start], "/")
	switch {
	case !ok || number >= len(segments) || segments[number] != name:
		return nil, errPlace()
	case !isText(value) || strings.Trim(value, ".") == "": // a segment of dots leads elsewhere
		return nil, errValue()
	}
	segments[number] = escape(value)
	t.Request.URL.Opaque = strings.Join(segments, "/")
	return spellings(value, escape(value)), nil
}

// escape escapes everything but what is unreserved (RFC 3986 §2.3), so that there is one reading of it.
func escape(s string) string {
	const digits = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		if 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("-._~", c) >= 0 {
			b.WriteByte(c)
			continue
		}
		b.Write([]byte{'%', digits[c>>4], digits[c&15]})
	}
	return b.String()
}
