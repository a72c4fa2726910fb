package upstream

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html"
	"net/url"
	"strings"
)

// Form is a way of writing a text down, from which everybody can read it again.
type Form struct {
	Name   string
	Encode func(text string) string
}

// Forms are the ways in which an API may give back what it got.
func Forms() []Form {
	return []Form{
		{"raw", func(s string) string { return s }},
		{"base64-0", func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }},
		{"base64-1", func(s string) string { return base64.StdEncoding.EncodeToString([]byte("x" + s)) }},
		{"base64-2", func(s string) string { return base64.StdEncoding.EncodeToString([]byte("xy" + s)) }},
		{"base64url-0", func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }},
		{"base64url-1", func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte("x" + s)) }},
		{"base64url-2", func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte("xy" + s)) }},
		{"base64-folded", func(s string) string { return fold(base64.StdEncoding.EncodeToString([]byte(s)), 76, "\r\n") }},
		{"base64-narrow", func(s string) string { return fold(base64.StdEncoding.EncodeToString([]byte(s)), 64, "\n") }},
		{"hex", func(s string) string { return hex.EncodeToString([]byte(s)) }},
		{"hex-upper", func(s string) string { return strings.ToUpper(hex.EncodeToString([]byte(s))) }},
		{"hex-mixed", func(s string) string { return mixed(hex.EncodeToString([]byte(s))) }},
		{"percent", url.QueryEscape},
		{"percent-path", url.PathEscape},
		{"percent-all", func(s string) string { return each(s, 1, "%%%02x") }},
		{"percent-upper", func(s string) string { return each(s, 1, "%%%02X") }},
		{"percent-some", func(s string) string { return each(s, 3, "%%%02X") }},
		{"json", quote},
		{"json-all", func(s string) string { return each(s, 1, `\u%04x`) }},
		{"json-upper", func(s string) string { return each(s, 1, `\u%04X`) }},
		{"json-some", func(s string) string { return each(s, 2, `\u%04x`) }},
		{"json-slash", func(s string) string { return strings.ReplaceAll(quote(s), "/", `\/`) }},
		{"html", html.EscapeString},
		{"html-decimal", func(s string) string { return each(s, 1, "&#%d;") }},
		{"html-hex", func(s string) string { return each(s, 1, "&#x%x;") }},
		{"html-upper", func(s string) string { return each(s, 2, "&#X%04X;") }},
	}
}

// FormNamed returns the form of a name.
func FormNamed(name string) (Form, bool) {
	for _, f := range Forms() {
		if f.Name == name {
			return f, true
		}
	}
	return Form{}, false
}

// quote writes s as within a JSON string.
func quote(s string) string {
	quoted, err := json.Marshal(s)
	if err != nil {
		return s // a bug: strings marshal
	}
	return string(quoted[1 : len(quoted)-1])
}

// each writes every nth byte of s in a format. A control character, which could not stay as it is in a line, is always
// written so.
func each(s string, nth int, format string) string {
	var b strings.Builder
	for i := range len(s) {
		if i%nth == 0 || s[i] < ' ' {
			fmt.Fprintf(&b, format, s[i])
		} else {
			b.WriteByte(s[i])
		}
	}
	return b.String()
}

// fold breaks s into lines.
func fold(s string, width int, end string) string {
	var b strings.Builder
	for len(s) > width {
		b.WriteString(s[:width] + end)
		s = s[width:]
	}
	return b.String() + s
}

// mixed writes every second letter in upper case.
func mixed(s string) string {
	b := []byte(s)
	for i := range b {
		if i%2 == 0 && b[i] >= 'a' && b[i] <= 'z' {
			b[i] -= 'a' - 'A'
		}
	}
	return string(b)
}

// line makes a text fit for a header's value. A line break folds the header (RFC 9112 §5.2), as careless servers do.
func line(text string) string {
	text = strings.ReplaceAll(strings.ReplaceAll(text, "\r\n", "\n"), "\n\n", "\n")
	return strings.ReplaceAll(strings.Map(blank, strings.Trim(text, "\n")), "\n", "\r\n ")
}

// flat is line for what cannot be folded.
func flat(text string) string { return strings.ReplaceAll(line(text), "\r\n", "") }

func blank(r rune) rune {
	if r < ' ' && r != '\n' || r == 0x7f {
		return ' '
	}
	return r
}
