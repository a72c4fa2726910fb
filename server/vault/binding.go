package vault

import (
	"errors"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/bursar-sts/bursar/scopes"
	"github.com/bursar-sts/bursar/server/tools"
)

// Binding is where a version may go, and how it may be put on a request.
type Binding struct {
	Scheme   string   `json:"scheme"` // https, or http
	Host     string   `json:"host"`
	Port     int      `json:"port"`
	CA       string   `json:"ca,omitempty"`        // of tools.HashCA
	TokenURL string   `json:"token_url,omitempty"` // where kind oauth2 gets its tokens; verbatim
	Kinds    []string `json:"kinds"`               // of injection, sorted
}

// NewBinding returns the binding to an origin (scheme, host and port alone) whose certificates chain to those of a PEM
// text, or to the system's if there is none. The rest of it is checked with the draft. Errors are the end of a
// sentence.
func NewBinding(origin, ca, tokenURL string, kinds []string) (Binding, error) {
	secure := origin
	if rest, plain := strings.CutPrefix(origin, "http://"); plain { // whoever puts it says so, and is warned
		secure = "https://" + rest
	}
	if err := scopes.CheckURL(secure, scopes.Origin); err != nil {
		return Binding{}, err
	}
	if _, err := tools.CanonicalResource(secure); err != nil {
		return Binding{}, err
	}
	d := (&tools.Upstream{URL: origin, Network: tools.Network{CA: ca}}).Destination()
	if d == (tools.Destination{}) {
		return Binding{}, errors.New("must be an origin, such as https://api.example")
	}
	b := Binding{Scheme: d.Scheme, Host: d.Host, Port: d.Port, CA: d.CA, TokenURL: tokenURL, Kinds: slices.Clone(kinds)}
	return b, nil
}

func (b Binding) check() error {
	switch {
	case b.Scheme != "https" && b.Scheme != "http":
		return errors.New("must be https, or http")
	case b.Host == "":
		return errors.New("has no host")
	case b.Port < 1 || b.Port > 65535:
		return errors.New("must have a port from 1 to 65535")
	}
	return nil
}

// destination is where the binding leads.
func (b Binding) destination() tools.Destination {
	return tools.Destination{Scheme: b.Scheme, Host: b.Host, Port: b.Port, CA: b.CA}
}

// tokens is where the client credentials of kind oauth2 go.
func (b Binding) tokens() tools.Destination {
	return (&tools.OAuth2{TokenURL: b.TokenURL}).Destination()
}

// Fits reports whether a secret with this binding may be put on the calls of an upstream in that way.
func (b Binding) Fits(u *tools.Upstream, i *tools.Injection) bool {
	return b.allows(i.In) && b.reaches(u, i)
}

// reaches reports whether the binding leads where an upstream's calls go, and for oauth2 where their tokens are got.
func (b Binding) reaches(u *tools.Upstream, i *tools.Injection) bool {
	if b.Host == "" || u == nil || b.destination() != u.Destination() {
		return false
	}
	return i.In != tools.InOAuth2 || i.OAuth2 != nil && b.tokens() == i.OAuth2.Destination()
}

// allows reports whether the binding allows that kind of injection.
func (b Binding) allows(k tools.Kind) bool { return k != "" && slices.Contains(b.Kinds, string(k)) }

// Origin returns the destination as a URL has it.
func (b Binding) Origin() string {
	host := b.Host
	if ip, err := netip.ParseAddr(host); err == nil && ip.Is6() {
		host = "[" + host + "]"
	}
	if port := map[string]int{"https": 443, "http": 80}[b.Scheme]; port == b.Port {
		return b.Scheme + "://" + host
	}
	return b.Scheme + "://" + host + ":" + strconv.Itoa(b.Port)
}
