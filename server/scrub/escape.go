package scrub

import (
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// nested is how many escapes deep a character is looked for: \u0026#x2F; is two, an HTML entity within JSON.
const nested = 3

// escapes reports whether an escape can begin with c, however deep it is nested.
func escapes(c byte) bool { return c == '%' || c == '\\' || c == '&' }

// unit is one character as it was before it was escaped.
type unit struct {
	text [utf8.UTFMax]byte
	size int
	end  int // where what follows the escape begins
}

// units are the ways to read the escape that begins at one place, besides as it is: %2526 is either %26 or &.
type units struct {
	all [nested]unit
	n   int
	// short tells that b ended before the escape did, or could have.
	short bool
}

// read finds the units at b[i], at most deep escapes deep. Each but the first is an escape that begins with the one
// before it.
func (us *units) read(b []byte, i, deep int) {
	us.n, us.short = 0, false
	if n := 1 << deep; len(b)-i >= n && string(b[i:i+n]) == backslashes[:n] {
		for ; us.n < deep; us.n++ { // as below, and much faster: each escape doubles them
			us.all[us.n] = unit{text: [utf8.UTFMax]byte{'\\'}, size: 1, end: i + 2<<us.n}
		}
		return
	}
	head, end := b[i], i+1
	for us.n < deep && escapes(head) {
		r := reader{b: b, at: end, deep: deep - 1, level: us.n}
		u, ok := r.unit(head)
		us.short = us.short || r.short
		if !ok {
			return
		}
		us.all[us.n] = u
		us.n++
		if u.size != 1 {
			return
		}
		head, end = u.text[0], u.end
	}
}

var backslashes = strings.Repeat(`\`, 1<<nested)

// reader reads what follows the first character of an escape; that can itself be escaped.
type reader struct {
	b     []byte
	at    int
	deep  int // how many escapes deep that can be
	level int // how many escapes deep the first character was: what follows most likely is the same
	short bool
}

// unit reads the rest of the escape that begins with head.
func (r *reader) unit(head byte) (u unit, ok bool) {
	var code rune
	switch head {
	case '%':
		code, ok = r.percent()
	case '\\':
		code, ok = r.backslash()
	case '&':
		code, ok = r.entity()
	}
	if !ok {
		return unit{}, false
	}
	u.end = r.at
	if code < 0 { // a byte, and no character
		u.text[0], u.size = byte(^code), 1
	} else {
		u.size = utf8.EncodeRune(u.text[:], code)
	}
	return u, true
}

// percent reads %41 (RFC 3986 §2.1) and %u0041, as old programs write it. The byte of the former comes back inverted.
func (r *reader) percent() (rune, bool) {
	if r.char('u') {
		return r.hex(4)
	}
	c, ok := r.hex(2)
	return ^c, ok
}

// backslash reads an escape of JSON (RFC 8259 §7), or \x41 and \' as JavaScript and others have them.
func (r *reader) backslash() (rune, bool) {
	c, ok := r.next(func(c byte) bool { return plainEscapes[c] != 0 || c == 'u' || c == 'x' })
	switch {
	case !ok:
		return 0, false
	case c == 'x':
		c, ok := r.hex(2)
		return ^c, ok
	case c != 'u':
		return rune(plainEscapes[c]), true
	}
	code, ok := r.hex(4)
	if !ok || !utf16.IsSurrogate(code) {
		return code, ok
	}
	if !r.char('\\') || !r.char('u') {
		return 0, false
	}
	low, ok := r.hex(4)
	code = utf16.DecodeRune(code, low)
	return code, ok && code != utf8.RuneError
}

var plainEscapes = [256]byte{
	'"': '"', '\\': '\\', '/': '/', '\'': '\'', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t',
}

// entity reads &amp;, &#38; or &#x26; (HTML Living Standard §13.2.5.72 and following). A number may lack its
// semicolon, as it may there.
func (r *reader) entity() (rune, bool) {
	if !r.char('#') {
		return r.named()
	}
	digit, base := isDecimal, rune(10)
	if r.char('x') || r.char('X') {
		digit, base = isHex, 16
	}
	code, n := rune(0), 0
	for ; n < 8; n++ {
		c, ok := r.next(digit)
		if !ok {
			break
		}
		code = min(code*base+nibble(c), utf8.MaxRune+1)
	}
	r.char(';')
	return code, n > 0 && code <= utf8.MaxRune
}

func (r *reader) named() (rune, bool) {
	var name [longestName]byte
	n := 0
	for ; n < len(name); n++ {
		c, ok := r.next(isAlphanumeric)
		if !ok {
			break
		}
		name[n] = c
	}
	if !r.char(';') {
		return 0, false
	}
	c := entities[string(name[:n])]
	return rune(c), c != 0
}

const longestName = 8

// entities are the names of ASCII characters.
var entities = map[string]byte{
	"amp": '&', "AMP": '&', "lt": '<', "LT": '<', "gt": '>', "GT": '>', "quot": '"', "QUOT": '"', "apos": '\'',
	"Tab": '\t', "NewLine": '\n', "excl": '!', "num": '#', "dollar": '$', "percnt": '%', "lpar": '(', "rpar": ')',
	"ast": '*', "midast": '*', "plus": '+', "comma": ',', "period": '.', "sol": '/', "colon": ':', "semi": ';',
	"equals": '=', "quest": '?', "commat": '@', "lsqb": '[', "lbrack": '[', "bsol": '\\', "rsqb": ']', "rbrack": ']',
	"Hat": '^', "lowbar": '_', "UnderBar": '_', "grave": '`', "lcub": '{', "lbrace": '{', "verbar": '|', "vert": '|',
	"VerticalLine": '|', "rcub": '}', "rbrace": '}',
}

// hex reads n digits.
func (r *reader) hex(n int) (code rune, ok bool) {
	for range n {
		c, ok := r.next(isHex)
		if !ok {
			return 0, false
		}
		code = code<<4 | nibble(c)
	}
	return code, true
}

func (r *reader) char(want byte) bool {
	_, ok := r.next(func(c byte) bool { return c == want })
	return ok
}

// next reads one character that fits, as it is or escaped.
func (r *reader) next(fits func(byte) bool) (byte, bool) {
	if r.at >= len(r.b) {
		r.short = true
		return 0, false
	}
	c := r.b[r.at]
	asItIs := fits(c)
	if r.deep > 0 && escapes(c) && (r.level > 0 || !asItIs) {
		if c, ok := r.escaped(fits); ok {
			return c, true
		}
	}
	if asItIs {
		r.at++
	}
	return c, asItIs
}

// escaped reads one character that fits and is escaped, as deep as the first one if it can.
func (r *reader) escaped(fits func(byte) bool) (byte, bool) {
	var us units
	us.read(r.b, r.at, r.deep)
	r.short = r.short || us.short
	best := -1
	for n, u := range us.all[:us.n] {
		if u.size == 1 && fits(u.text[0]) && (best < 0 || n < r.level) {
			best = n
		}
	}
	if best < 0 {
		return 0, false
	}
	r.at = us.all[best].end
	return us.all[best].text[0], true
}

func isDecimal(c byte) bool      { return '0' <= c && c <= '9' }
func isHex(c byte) bool          { return isDecimal(c) || 'a' <= c|0x20 && c|0x20 <= 'f' }
func isAlphanumeric(c byte) bool { return isDecimal(c) || 'a' <= c|0x20 && c|0x20 <= 'z' }

func nibble(c byte) rune {
	if isDecimal(c) {
		return rune(c - '0')
	}
	return rune(c|0x20-'a') + 10
}

// breakEnd returns where the text goes on after a line break at b[i], or 0 if none is there or an empty line follows:
// that ends an event (HTML Living Standard §9.2.6), which must not wait for the next one. What begins the next line is
// passed over: blanks, or the name of an event's data field. All of it can be escaped. short tells that b ended before
// that was known.
func breakEnd(b []byte, i int) (end int, short bool) {
	r := reader{b: b, at: i, deep: nested}
	c, ok := r.next(isBreak)
	if !ok {
		return 0, r.short
	}
	if c == '\r' {
		r.char('\n')
	}
	for n := 0; n < widest && r.blank(); n++ {
	}
	r.dataField()
	if end = r.at; r.short {
		return end, true
	}
	if _, empty := r.next(isBreak); empty {
		return 0, false
	}
	return end, r.short
}

// widest is how far a line may be indented.
const widest = 64

func isBreak(c byte) bool { return c == '\r' || c == '\n' }

func (r *reader) blank() bool {
	_, ok := r.next(func(c byte) bool { return c == ' ' || c == '\t' })
	return ok
}

// dataField reads the name of the field, and the blank after it, if they are there.
func (r *reader) dataField() {
	start := r.at
	for _, c := range []byte("data:") {
		if !r.char(c) {
			r.at = start
			return
		}
	}
	r.blank()
}
