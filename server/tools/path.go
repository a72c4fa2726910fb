package tools

import (
	"errors"
	"strings"
	"unicode"
	"unicode/utf8"
)

// folded are characters that some servers turn into dots, slashes, percent signs or semicolons after they were checked.
const folded = "\uff0e\u2024\u2025\u2026\ufe52\u3002" + "\uff0f\u2044\u2215\u29f8" + "\uff3c\u2216\ufe68\u29f5" +
	"\uff05\ufe6a\u066a" + "\uff1b\ufe54\u037e"

// Errors of a path; each is the end of a sentence that begins with what is wrong.
var (
	errPathStart  = errors.New("must begin with a slash")
	errPathByte   = errors.New("holds a character that has to be percent-encoded")
	errPathEscape = errors.New("holds an escape that is not %XX with capital hex digits")
	errPathPlain  = errors.New("escapes a character that needs no escape")
	errPathHidden = errors.New("escapes a character that another reader could take for part of the path's structure")
	errPathUTF8   = errors.New("is not UTF-8 when it is decoded, or holds control characters")
	errPathEmpty  = errors.New("holds an empty segment")
	errPathDots   = errors.New("holds a segment of dots, or one that ends with a dot or a space")
	errPathFolded = errors.New("holds a character that some servers take for a dot or a slash")
)

// segments splits the raw path of a request at its slashes and decodes each segment. It refuses every path that is not
// written in the one canonical form, or that two servers could read differently (RFC 3986 §3.3, §6.2): what is judged
// here is what the upstream has to see. A last segment that is empty is a slash at the end. slash admits %2F within a
// segment, and nothing there that would be refused if it were a slash.
func segments(raw string, slash bool) ([]string, error) {
	if raw == "" || raw[0] != '/' {
		return nil, errPathStart
	}
	all := strings.Split(raw[1:], "/")
	for i, text := range all {
		if text == "" && i == len(all)-1 {
			break
		}
		decoded, err := decodeSegment(text, slash)
		if err != nil {
			return nil, err
		}
		for part := range strings.SplitSeq(decoded, "/") {
			if err := checkSegment(part); err != nil {
				return nil, err
			}
		}
		all[i] = decoded
	}
	return all, nil
}

// decodeSegment undoes the escapes of a segment.
func decodeSegment(text string, slash bool) (string, error) {
	if !strings.Contains(text, "%") {
		return text, checkPlain(text)
	}
	decoded := make([]byte, 0, len(text))
	for i := 0; i < len(text); i++ {
		c := text[i]
		if c != '%' {
			if !isPathByte(c) {
				return "", errPathByte
			}
			decoded = append(decoded, c)
			continue
		}
		if i+2 >= len(text) || !isUpperHex(text[i+1]) || !isUpperHex(text[i+2]) {
			return "", errPathEscape
		}
		c = unhex(text[i+1])<<4 | unhex(text[i+2])
		switch {
		case isUnreserved(c):
			return "", errPathPlain
		case c == '/' && slash:
		case strings.IndexByte(`/\%;?#`, c) >= 0:
			return "", errPathHidden
		}
		decoded = append(decoded, c)
		i += 2
	}
	return string(decoded), nil
}

func checkPlain(text string) error {
	for i := range len(text) {
		if !isPathByte(text[i]) {
			return errPathByte
		}
	}
	return nil
}

// checkSegment judges a decoded segment.
func checkSegment(s string) error {
	switch {
	case s == "":
		return errPathEmpty
	case s[len(s)-1] == '.' || s[len(s)-1] == ' ':
		return errPathDots // . and .. among them; some file systems drop the dots and spaces that a name ends with
	case !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl):
		return errPathUTF8
	case strings.ContainsAny(s, folded):
		return errPathFolded
	}
	return nil
}

// isPathByte reports whether a byte may stand in a segment as it is: pchar of RFC 3986 §3.3 without the semicolon,
// which begins parameters for some servers.
func isPathByte(c byte) bool { return isUnreserved(c) || strings.IndexByte("!$&'()*+,=:@", c) >= 0 }

// isUnreserved is unreserved of RFC 3986 §2.3.
func isUnreserved(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("-._~", c) >= 0
}

func isUpperHex(c byte) bool { return '0' <= c && c <= '9' || 'A' <= c && c <= 'F' }

// unhex returns the value of a hex digit.
func unhex(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return c&^0x20 - 'A' + 10
}
