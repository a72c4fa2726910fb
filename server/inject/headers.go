package inject

import (
	"encoding/base64"
	"strings"

	"github.com/bursar-sts/bursar/server/tools"
	"github.com/bursar-sts/bursar/server/vault"
)

const authorization = "Authorization"

func (t *Target) header(x tools.Injection, v *vault.Value) ([]string, error) {
	value, format := v.Field(vault.Plain), x.Format
	if format == "" {
		format = "{value}"
	}
	before, after, ok := strings.Cut(format, "{value}")
	if !ok || x.Name == "" {
		return nil, errPlace()
	}
	return []string{value}, t.set(x.Name, before+value+after, value)
}

func (t *Target) bearer(token string) ([]string, error) {
	return []string{token}, t.set(authorization, "Bearer "+token, token)
}

// basic is RFC 7617 §2. The pair is returned as it is sent, too: so the name of the user is masked with the password.
func (t *Target) basic(v *vault.Value) ([]string, error) {
	user, password := v.Field(vault.Username), v.Field(vault.Password)
	if !isText(user) || !isText(password) || strings.Contains(user, ":") {
		return nil, errValue()
	}
	pair := base64.StdEncoding.EncodeToString([]byte(user + ":" + password))
	return []string{password, pair}, t.set(authorization, "Basic "+pair, pair)
}

// cookie sets one cookie beside those that were set before it (RFC 6265 §4.2.1).
func (t *Target) cookie(name, value string) ([]string, error) {
	if !isText(value) || !isPrintable(value) || strings.ContainsAny(value, " \",;\\") {
		return nil, errValue()
	}
	var kept []string
	for _, line := range t.Request.Header["Cookie"] {
		for pair := range strings.SplitSeq(line, ";") {
			pair = strings.Trim(pair, " \t")
			if own, _, _ := strings.Cut(pair, "="); pair != "" && strings.Trim(own, " \t") != name {
				kept = append(kept, pair)
			}
		}
	}
	t.remove("Cookie")
	t.Request.Header.Set("Cookie", strings.Join(append(kept, name+"="+value), "; "))
	return []string{value}, nil
}

// set sets a header to text, of which secret is a part.
func (t *Target) set(name, text, secret string) error {
	if !isHeaderText(secret) || !isHeaderText(text) {
		return errValue()
	}
	t.remove(name)
	t.Request.Header.Set(name, text)
	return nil
}

// remove removes a header in every spelling that a server may take for it.
func (t *Target) remove(name string) {
	for other := range t.Request.Header {
		if alike(other, name) {
			delete(t.Request.Header, other)
		}
	}
}

// alike reports whether somebody could take one name of a header for the other: names have no case, and some servers
// take an underscore or a dot for a hyphen.
func alike(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if folded[a[i]] != folded[b[i]] {
			return false
		}
	}
	return true
}

// folded are the bytes of names as alike has them.
var folded = func() (to [256]byte) {
	for i := range to {
		to[i] = byte(i)
		if 'A' <= i && i <= 'Z' {
			to[i] = byte(i) | 0x20
		}
	}
	to['_'], to['.'] = '-', '-'
	return to
}()
