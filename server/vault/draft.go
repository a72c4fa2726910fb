package vault

import (
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"math/bits"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/bursar-sts/bursar/scopes"
	"github.com/bursar-sts/bursar/server/tools"
)

// Bounds of what can be put.
const (
	// MinSize is the length from which a field that is secret is found in every answer, in bytes. A shorter one needs
	// Draft.Unscrubbable.
	MinSize = 16
	// MinScrub is the length from which it is looked for in bodies at all. A shorter one is only compared with whole
	// values of headers: it would be found in half of all text.
	MinScrub = 8
	// MaxSize bounds all fields together, in bytes.
	MaxSize = 32 << 10
	// MaxVersions bounds the versions of a secret that are not destroyed.
	MaxVersions = 16
	// MaxSecrets bounds the secrets of a tenant.
	MaxSecrets = 1000
)

// Draft is a version that is to be put.
type Draft struct {
	Name   string
	Fields map[string]string
	// Binding.Kinds may be empty: then they are those that the fields are made for, and put nothing into an address or a
	// body.
	Binding      Binding
	DecisionMode bool
	Unscrubbable bool // lets a field be shorter than MinSize
	// Activate makes calls use the version at once; Expect, if given, is the version that must be active before.
	Activate bool
	Expect   *int

	ref string // where a backend has the fields
}

// use is a kind of injection, and what it needs of a value.
type use struct {
	kind  tools.Kind
	needs []string
	asked bool // must be asked for: the secret would stand where logs and caches look, or in a body
}

var uses = []use{
	{tools.InBasic, []string{Username, Password}, false},
	{tools.InBearer, []string{Plain}, false},
	{tools.InCookie, []string{Plain}, true},
	{tools.InForm, []string{Plain}, true},
	{tools.InHeader, []string{Plain}, false},
	{tools.InHMAC, []string{Plain}, true},
	{tools.InJSON, []string{Plain}, true},
	{tools.InMTLS, []string{Certificate, PrivateKey}, false},
	{tools.InOAuth2, []string{ClientID, ClientSecret}, false},
	{tools.InPath, []string{Plain}, true},
	{tools.InQuery, []string{Plain}, true},
	{tools.InSigV4, []string{AccessKeyID, SecretKey}, false},
}

// Fill sets what the draft leaves open, and puts its lists in order.
func (d *Draft) Fill() {
	if len(d.Binding.Kinds) == 0 {
		for _, u := range uses {
			if !u.asked && d.has(u.needs) {
				d.Binding.Kinds = append(d.Binding.Kinds, string(u.kind))
			}
		}
	}
	slices.Sort(d.Binding.Kinds)
	d.Binding.Kinds = slices.Compact(d.Binding.Kinds)
}

func (d *Draft) has(fields []string) bool {
	return !slices.ContainsFunc(fields, func(name string) bool { return d.Fields[name] == "" })
}

// Check lists the draft's mistakes, each with its field, and nothing of a value. Call Fill first.
func (d *Draft) Check() (problems []string) {
	add := func(at string, err error) {
		if err != nil {
			problems = append(problems, at+": "+err.Error())
		}
	}
	add("name", scopes.CheckSlug(d.Name))
	add("host", d.Binding.check())
	if d.Binding.TokenURL != "" {
		add("token_url", scopes.CheckURL(d.Binding.TokenURL, scopes.WithQuery))
	}
	add("fields", d.checkFields())
	for _, name := range slices.Sorted(maps.Keys(fieldForms)) {
		if value, given := d.Fields[name]; given {
			add("fields."+name, d.checkField(name, value))
		}
	}
	if len(d.Binding.Kinds) == 0 {
		add("inject", errors.New("these fields are of no kind of injection; name the kinds"))
	}
	for _, kind := range d.Binding.Kinds {
		add("inject", d.checkKind(kind))
	}
	if d.Binding.allows(tools.InMTLS) && d.has([]string{Certificate, PrivateKey}) {
		if _, err := tls.X509KeyPair([]byte(d.Fields[Certificate]), []byte(d.Fields[PrivateKey])); err != nil {
			add("fields", errors.New("certificate and key are not a pair in PEM")) // the cause could show some of it
		}
	}
	return problems
}

func (d *Draft) checkFields() error {
	size, unknown := 0, false
	for name, value := range d.Fields {
		_, known := fieldForms[name]
		size, unknown = size+len(value), unknown || !known
	}
	switch {
	case unknown: // its name is not repeated: it may be a value that somebody put in the wrong place
		return fmt.Errorf("have a name that is none of %s", strings.Join(slices.Sorted(maps.Keys(fieldForms)), ", "))
	case len(d.Fields) == 0:
		return errors.New("there are none")
	case size > MaxSize:
		return fmt.Errorf("have %d bytes together; at most %d are allowed", size, MaxSize)
	}
	return nil
}

func (d *Draft) checkKind(kind string) error {
	i := slices.IndexFunc(uses, func(u use) bool { return string(u.kind) == kind })
	switch {
	case i < 0:
		return fmt.Errorf("must be some of %s", strings.Join(kindNames(), ", "))
	case !d.has(uses[i].needs):
		return fmt.Errorf("%s needs the fields %s", kind, strings.Join(uses[i].needs, " and "))
	case kind == string(tools.InOAuth2) && d.Binding.TokenURL == "":
		return errors.New("oauth2 needs token_url, where the tokens are got")
	}
	return nil
}

func kindNames() (names []string) {
	for _, u := range uses {
		names = append(names, string(u.kind))
	}
	return names
}

// form is what a field may hold.
type form struct {
	max    int
	ok     func(rune) bool
	reason string
}

var (
	// header is text that can stand in a header whole (RFC 9110 §5.5), without what a server may strip or split at.
	header = form{8 << 10, func(r rune) bool { return ' ' <= r && r <= '~' },
		"must be printable ASCII, for a header has no room for line breaks and other characters"}
	// cookie is a cookie-octet (RFC 6265 §4.1.1).
	cookie = form{4 << 10, func(r rune) bool { return ' ' < r && r <= '~' && !strings.ContainsRune("\",;\\", r) },
		"must be what a cookie can hold: printable ASCII without space, quotes, comma, semicolon and backslash"}
	text = form{MaxSize, func(r rune) bool { return r != utf8.RuneError && !unicode.IsControl(r) },
		"must be UTF-8 text without control characters"}
	pem = form{MaxSize, func(r rune) bool { return r == '\n' || r == '\r' || ' ' <= r && r <= '~' }, "must be PEM"}
)

var fieldForms = map[string]form{
	Plain: text, Username: text, Password: text, AccessKeyID: header, SecretKey: header, SessionToken: header,
	ClientID: text, ClientSecret: text, Certificate: pem, PrivateKey: pem,
}

// checkField judges one field for all that it may be used for.
func (d *Draft) checkField(name, value string) error {
	f := fieldForms[name]
	switch {
	case value == "":
		return errors.New("is empty")
	case name == Plain && d.Binding.allows(tools.InCookie):
		f = cookie
	case name == Plain && (d.Binding.allows(tools.InHeader) || d.Binding.allows(tools.InBearer)):
		f = header
	case name == Username && strings.Contains(value, ":"):
		return errors.New("must not hold a colon (RFC 7617 §2)")
	}
	switch {
	case len(value) > f.max:
		return fmt.Errorf("has %d bytes; at most %d are allowed", len(value), f.max)
	case strings.ContainsFunc(value, func(r rune) bool { return !f.ok(r) }):
		return errors.New(f.reason)
	case f.max == header.max && strings.TrimSpace(value) != value:
		return errors.New("must not begin or end with a space, which servers strip")
	case len(value) < MinSize && !d.Unscrubbable && !slices.Contains(public, name):
		return fmt.Errorf("has less than %d bytes, so that it cannot be told from other text in an answer; make it longer, "+
			"or say that it is unscrubbable", MinSize)
	}
	return nil
}

// short reports whether a field that is secret is shorter than that.
func (d *Draft) short(than int) bool {
	for name, value := range d.Fields {
		if len(value) < than && !slices.Contains(public, name) {
			return true
		}
	}
	return false
}

// Warnings says what is allowed and still dangerous.
func (d *Draft) Warnings() (all []string) {
	switch {
	case d.short(MinScrub):
		all = append(all, "A field has less than 8 bytes: an answer is searched for it in whole values of headers alone.")
	case d.short(MinSize):
		all = append(all, "A field has less than 16 bytes: masking it can hit other text of an answer.")
	}
	if d.Binding.Scheme == "http" {
		all = append(all, "The destination is plain http: whoever is on the way can read the secret.")
	}
	if d.Binding.allows(tools.InQuery) || d.Binding.allows(tools.InPath) {
		all = append(all, "The secret may stand in addresses, which servers write to their logs.")
	}
	return all
}

// size is the class of the length of all fields together, so that the length itself is not told: "16-31".
func (d *Draft) size() string {
	n := 0
	for _, value := range d.Fields {
		n += len(value)
	}
	low := 1 << (bits.Len(uint(max(n, 1))) - 1)
	return fmt.Sprintf("%d-%d", low, 2*low-1)
}
