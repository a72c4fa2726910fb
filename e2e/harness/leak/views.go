package leak

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"encoding/base64"
	"encoding/hex"
	"html"
	"io"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
)

// view is content with an encoding undone.
type view struct {
	form    string
	content []byte
}

// undoings undo the encodings that leave most of a text as it is.
var undoings = []struct {
	form string
	undo func([]byte) []byte
}{
	{"percent", unpercent}, {"json", unquote},
	{"html", func(b []byte) []byte { return []byte(html.UnescapeString(string(b))) }},
}

// views returns what content may stand for: itself, with any of the encodings undone in any order, once each, and what
// stands in hex and base64 in each of those.
func views(content []byte) []view {
	texts := []view{{"raw", content}}
	if inner, ok := inflate(content); ok {
		texts = append(texts, view{"compressed", inner})
	}
	for from := 0; from < len(texts); from++ {
		if strings.Count(texts[from].form, " in ") >= len(undoings) {
			continue
		}
		for _, u := range undoings {
			if strings.Contains(texts[from].form, u.form) {
				continue
			}
			if undone := u.undo(texts[from].content); !bytes.Equal(undone, texts[from].content) {
				texts = append(texts, view{u.form + " in " + texts[from].form, undone})
			}
		}
	}
	all := texts
	if joined := bytes.ReplaceAll(content, []byte(" "), nil); len(joined) < 64<<10 { // folded headers come with blanks
		texts = append(slices.Clone(texts), view{"joined", joined})
	}
	for _, v := range texts {
		for phase := range 2 {
			all = append(all, view{"hex in " + v.form, unhex(v.content, phase)})
		}
		for phase := range 4 {
			all = append(all, view{"base64 in " + v.form, unbase64(v.content, phase)})
		}
	}
	return all
}

// inflate undoes a compression of the whole.
func inflate(b []byte) ([]byte, bool) {
	var r io.Reader
	var err error
	switch {
	case bytes.HasPrefix(b, []byte{0x1f, 0x8b}):
		r, err = gzip.NewReader(bytes.NewReader(b))
	case bytes.HasPrefix(b, []byte{0x78}):
		r, err = zlib.NewReader(bytes.NewReader(b))
	default:
		return nil, false
	}
	if err != nil {
		return nil, false
	}
	inner, _ := io.ReadAll(io.LimitReader(r, 64<<20)) // as much as can be read
	return inner, len(inner) > 0
}

// unpercent undoes %XX, and leaves what is none.
func unpercent(b []byte) []byte {
	out := make([]byte, 0, len(b))
	for i := 0; i < len(b); i++ {
		if b[i] == '%' && i+2 < len(b) {
			if c, err := strconv.ParseUint(string(b[i+1:i+3]), 16, 8); err == nil {
				out = append(out, byte(c))
				i += 2
				continue
			}
		}
		out = append(out, b[i])
	}
	return out
}

// unquote undoes the escapes of JSON strings (RFC 8259 §7), and leaves what is none.
func unquote(b []byte) []byte {
	short := map[byte]byte{'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}
	out := make([]byte, 0, len(b))
	for i := 0; i < len(b); i++ {
		if b[i] != '\\' || i+1 == len(b) {
			out = append(out, b[i])
			continue
		}
		if c, ok := short[b[i+1]]; ok {
			out = append(out, c)
			i++
			continue
		}
		if b[i+1] == 'u' && i+5 < len(b) {
			if c, err := strconv.ParseUint(string(b[i+2:i+6]), 16, 16); err == nil {
				out = append(out, string(utf16.Decode([]uint16{uint16(c)}))...)
				i += 5
				continue
			}
		}
		out = append(out, b[i])
	}
	return out
}

// runs returns the longest stretches of content that are written in an alphabet, and long enough for a part of a key.
// Line breaks within one are left out, with the blanks or the name of an event's data that begin the next line.
func runs(b []byte, alphabet string) (all [][]byte) {
	var member [256]bool
	for _, c := range []byte(alphabet) {
		member[c] = true
	}
	var run []byte
	end := func() {
		if len(run) >= fragment {
			all = append(all, slices.Clone(run))
		}
		run = run[:0]
	}
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case member[c]:
			run = append(run, c)
		case c == '\n' || c == '\r' && i+1 < len(b) && b[i+1] == '\n':
			i += indent(b[i+1:])
		default:
			end()
		}
	}
	end()
	return all
}

// indent returns the length of what begins a line and is not of its text.
func indent(line []byte) int {
	text := bytes.TrimLeft(line, " \t")
	if rest, ok := bytes.CutPrefix(text, []byte("data:")); ok {
		text = bytes.TrimPrefix(rest, []byte(" "))
	}
	return len(line) - len(text)
}

// unhex decodes every run of hexadecimal digits, from its first or second one on.
func unhex(b []byte, phase int) (out []byte) {
	for _, run := range runs(b, "0123456789abcdefABCDEF") {
		run = run[phase:]
		decoded := make([]byte, len(run)/2)
		_, _ = hex.Decode(decoded, run[:len(run)/2*2]) // it has nothing else
		out = append(append(out, decoded...), ' ')
	}
	return out
}

// unbase64 decodes every run of base64, of either alphabet, from one of its first four characters on.
func unbase64(b []byte, phase int) (out []byte) {
	for _, run := range runs(b, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_") {
		run = bytes.ReplaceAll(bytes.ReplaceAll(run[phase:], []byte("-"), []byte("+")), []byte("_"), []byte("/"))
		if len(run)%4 == 1 {
			run = run[:len(run)-1]
		}
		decoded := make([]byte, base64.RawStdEncoding.DecodedLen(len(run)))
		n, _ := base64.RawStdEncoding.Decode(decoded, run) // it has nothing else
		out = append(append(out, decoded[:n]...), ' ')
	}
	return out
}

// patternsOf returns the texts that stand for a key or one of its halves.
func patternsOf(key string) (all []pattern) {
	pieces := map[string]string{"": key, " backwards": string(backwards(key))}
	if half := len(key) / 2; half >= fragment {
		pieces[" (first half)"], pieces[" (second half)"] = key[:half], key[half:]
	}
	for name, piece := range pieces {
		add := func(form, text string) { all = append(all, pattern{form + name, []byte(text)}) }
		add("raw", piece)
		digits := hex.EncodeToString([]byte(piece))
		add("hex", digits)
		add("hex", strings.ToUpper(digits))
		for shift := range 3 {
			inner := inBase64(piece, shift)
			add("base64", inner)
			if other := strings.NewReplacer("+", "-", "/", "_").Replace(inner); other != inner {
				add("base64url", other)
			}
		}
		if escaped := url.QueryEscape(piece); escaped != piece {
			add("percent", escaped)
			add("percent", strings.ToLower(escaped))
		}
		var wide []byte
		for _, c := range utf16.Encode([]rune(piece)) {
			wide = append(wide, byte(c), byte(c>>8))
		}
		all = append(all, pattern{"utf-16" + name, wide})
	}
	return all
}

// inBase64 returns the characters that depend on text alone, where it begins shift bytes after a multiple of three.
func inBase64(text string, shift int) string {
	whole := base64.RawStdEncoding.EncodeToString([]byte(strings.Repeat("\x00", shift) + text))
	from := (shift*8 + 5) / 6
	return whole[from : (shift+len(text))*8/6]
}
