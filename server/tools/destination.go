package tools

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/pem"
	"net"
	"net/url"
	"strconv"
)

// Destination is where a secret is sent, and by what the receiver is known. A secret is bound to it when it is put, and
// goes nowhere else.
type Destination struct {
	Scheme string // https or http
	Host   string // a name in lower case, or an IP address without brackets
	Port   int    // 443 and 80 if the URL has none
	CA     string // hex of the SHA-256 of the certificates that alone may sign the receiver's; "" for the system's roots
}

// Address is where an upstream is.
type Address struct {
	Destination
	Authority string // host and port as the URL has them
	HostPort  string // with the port in any case, and without brackets that need not be
}

// address is what was read of a URL and a CA.
type address struct {
	url, ca string
	Address
}

func addressOf(raw, ca string) Address {
	a := Address{Destination: destination(raw, ca)}
	if u, err := url.Parse(raw); err == nil {
		a.Authority, a.HostPort = u.Host, net.JoinHostPort(a.Host, strconv.Itoa(a.Port))
	}
	return a
}

// Address returns where calls of the upstream go. That of a URL that cannot be read is nowhere.
func (u *Upstream) Address() Address {
	if u.at != nil && u.at.url == u.URL && u.at.ca == u.Network.CA {
		return u.at.Address
	}
	return addressOf(u.URL, u.Network.CA)
}

// Destination is that of the upstream's address.
func (u *Upstream) Destination() Destination { return u.Address().Destination }

// Destination returns where the client credentials of kind oauth2 go; those of no other kind go anywhere but to the
// upstream. The certificates of the upstream's network are no matter there.
func (o *OAuth2) Destination() Destination { return destination(o.TokenURL, "") }

func destination(raw, ca string) Destination {
	u, err := url.Parse(raw)
	if err != nil {
		return Destination{}
	}
	d := Destination{Scheme: u.Scheme, Host: u.Hostname(), CA: HashCA(ca)}
	if d.Port, err = strconv.Atoi(u.Port()); err != nil {
		d.Port = map[string]int{"https": 443, "http": 80}[u.Scheme]
	}
	return d
}

// HashCA returns the hex SHA-256 of the certificates in a PEM text, in their order: however the text is wrapped, the
// same certificates have the same hash. That of no text is ""; text without certificates is not the same as none.
func HashCA(text string) string {
	if text == "" {
		return ""
	}
	sum := sha256.New()
	for block, rest := pem.Decode([]byte(text)); block != nil; block, rest = pem.Decode(rest) {
		sum.Write(block.Bytes) // DER says its own length
	}
	return hex.EncodeToString(sum.Sum(nil))
}
