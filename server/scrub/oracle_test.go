package scrub_test

import (
	"encoding/base64"
	"encoding/hex"
	"html"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf16"
)

// leak looks for the key by undoing encodings, as somebody would who has the output and wants the key. It knows nothing
// of how the scrubber works. It returns eight or more characters in a row that only the key can have put there, or "".
func leak(output, key string) string { return leakOf(output, key, 8) }

// leakOf looks for n characters in a row.
func leakOf(output, key string, n int) string {
	seen := map[string]bool{}
	texts := []string{output}
	for level := 0; level <= 3; level++ {
		var decoded []string
		for _, text := range texts {
			if seen[text] {
				continue
			}
			seen[text] = true
			if found := leakAsIs(text, key, n); found != "" {
				return found
			}
			decoded = append(decoded, unpercent(text), unbackslash(text), html.UnescapeString(text), unfold(text))
		}
		texts = decoded
	}
	return ""
}

func leakAsIs(text, key string, n int) string {
	if found := common(text, key, n); found != "" {
		return found
	}
	if found := common(strings.ToLower(text), hex.EncodeToString([]byte(key)), 16); found != "" {
		return found
	}
	standard := strings.NewReplacer("-", "+", "_", "/").Replace(text)
	for _, around := range []string{"", "x", "xx"} {
		// What differs between two surroundings does not come from the key.
		one := base64.StdEncoding.EncodeToString([]byte(around + key + "yyy"))
		other := base64.StdEncoding.EncodeToString([]byte(strings.ReplaceAll(around, "x", "\xff") + key + "\xff\xff\xff"))
		from, to := -1, 0
		for i := range min(len(one), len(other)) {
			if one[i] == other[i] && from < 0 {
				from = i
			}
			if one[i] == other[i] && i*6 < (len(around)+len(key))*8 {
				to = i + 1
			}
		}
		if found := common(standard, one[from:to], n); found != "" {
			return found
		}
	}
	return ""
}

// common returns n characters in a row that are in both texts.
func common(text, secret string, n int) string {
	for i := 0; i+n <= len(secret); i++ {
		if strings.Contains(text, secret[i:i+n]) {
			return secret[i : i+n]
		}
	}
	return ""
}

var percents = regexp.MustCompile(`%[0-9A-Fa-f]{2}`)

func unpercent(text string) string {
	return percents.ReplaceAllStringFunc(text, func(e string) string {
		c, _ := strconv.ParseUint(e[1:], 16, 8)
		return string([]byte{byte(c)})
	})
}

var backslashes = regexp.MustCompile(`(\\u[0-9A-Fa-f]{4})+|\\x[0-9A-Fa-f]{2}|\\.`)

func unbackslash(text string) string {
	return backslashes.ReplaceAllStringFunc(text, func(e string) string {
		switch {
		case e[1] == 'u' && len(e) >= 6:
			var codes []uint16
			for ; e != ""; e = e[6:] {
				c, _ := strconv.ParseUint(e[2:6], 16, 16)
				codes = append(codes, uint16(c))
			}
			return string(utf16.Decode(codes))
		case e[1] == 'x' && len(e) == 4:
			c, _ := strconv.ParseUint(e[2:], 16, 8)
			return string([]byte{byte(c)})
		case e[1] == 'n':
			return "\n"
		case e[1] == 'r':
			return "\r"
		case e[1] == 't':
			return "\t"
		}
		return e[1:]
	})
}

var folds = regexp.MustCompile(`\r?\n(data: ?|[ \t]*)`)

func unfold(text string) string { return folds.ReplaceAllString(text, "") }
