package decide

import (
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/shim"
)

// prefix begins the names of headers by which proxies and this package talk. An agent has no business with them.
const prefix = "X-Bursar-"

// misleading are headers by which an agent could make an upstream see another call than the one that is judged. A proxy
// should take them away, and might not.
var misleading = map[string]bool{
	"X-Http-Method": true, "X-Http-Method-Override": true, "X-Method-Override": true,
	"X-Original-Url": true, "X-Rewrite-Url": true, "X-Rewrite-Uri": true,
}

// CheckHeaders refuses the call of an agent for its headers, of which a proxy shows all, some or none; names are in
// their canonical spelling. What the shim never passes on a proxy may pass on, so that it is refused here. Errors are
// *fault.Error.
func CheckHeaders(h http.Header) error {
	if err := shim.CheckFields(h); err != nil {
		return err
	}
	for name := range h {
		switch {
		case misleading[name]:
			return malformed("request.override", "A header says that the request is another one than it is.")
		case strings.HasPrefix(name, prefix):
			return malformed("request.header", "A header has a name that is for proxies.")
		case name == "Upgrade":
			return malformed("upgrade.not_allowed", "A proxy that asks may pass no other protocol on, and no WebSocket.")
		}
	}
	return nil
}

// Bearer returns the access token of a call (RFC 6750 §2.1), "" if it has none.
func Bearer(h http.Header) (string, error) {
	value, _, err := single(h, "Authorization")
	if err != nil {
		return "", err
	}
	if strings.Contains(value, ",") { // several, which a proxy has made into one; a token has none (RFC 6750 §2.1)
		return "", twice("Authorization")
	}
	return shim.Bearer(value), nil
}

// single returns the value of a header that may come once.
func single(h http.Header, name string) (value string, given bool, err error) {
	values := h[name]
	switch len(values) {
	case 0:
		return "", false, nil
	case 1:
		return values[0], true, nil
	}
	return "", true, twice(name)
}

func twice(name string) error {
	return malformed("request.headers", "There must be one "+name+" header.")
}

func malformed(reason, public string) error { return fault.New(fault.InvalidRequest, reason, public) }

// credentials are headers of the agent's own credentials.
var credentials = []string{"Authorization", "Proxy-Authorization", "Cookie", "Dpop"}

// Withheld returns the headers of the agent that a proxy must take off a call, in lower case and alphabetical order:
// its credentials and what misleads, but for those under whose names the proxy puts keys.
func Withheld(keys http.Header) (names []string) {
	for _, name := range slices.AppendSeq(slices.Clone(credentials), maps.Keys(misleading)) {
		if _, replaced := keys[name]; !replaced {
			names = append(names, strings.ToLower(name))
		}
	}
	slices.Sort(names)
	return names
}
