package peer

import (
	"net/netip"
	"strings"
)

// cutLast cuts a list at its last comma. Commas within quotes count too: no address has one, and to look for the quotes
// from the beginning would let whoever wrote the beginning decide what the end means.
func cutLast(list string) (before, item string, more bool) {
	i := strings.LastIndexByte(list, ',')
	if i < 0 {
		return "", list, false
	}
	return list[:i], list[i+1:], true
}

// plain reads an item of X-Forwarded-For: an address, which may have a port.
func plain(item string) (netip.Addr, bool) { return address(strings.Trim(item, " \t")) }

// element reads an element of Forwarded (RFC 7239 §4): pairs of which one is for=node. A node that is unknown or
// obfuscated has no address.
func element(item string) (a netip.Addr, ok bool) {
	for pair := range strings.SplitSeq(item, ";") {
		name, value, found := strings.Cut(strings.Trim(pair, " \t"), "=")
		if !found || !strings.EqualFold(name, "for") {
			continue
		}
		if ok {
			return netip.Addr{}, false // RFC 7239 §4: each parameter once
		}
		if inner, opened := strings.CutPrefix(value, `"`); opened {
			if value, opened = strings.CutSuffix(inner, `"`); !opened {
				return netip.Addr{}, false
			}
		}
		if a, ok = address(value); !ok {
			return netip.Addr{}, false
		}
	}
	return a, ok
}

// address reads an IPv4 or IPv6 address. With a port, or in brackets, as URLs have them. A zone means nothing here.
func address(s string) (netip.Addr, bool) {
	a, err := netip.ParseAddr(s)
	if inner, bracketed := strings.CutPrefix(s, "["); err != nil && bracketed && strings.HasSuffix(s, "]") {
		a, err = netip.ParseAddr(strings.TrimSuffix(inner, "]"))
		if err == nil && !a.Is6() {
			return netip.Addr{}, false
		}
	}
	if err != nil {
		var ap netip.AddrPort
		ap, err = netip.ParseAddrPort(s)
		a = ap.Addr()
	}
	if err != nil || a.Zone() != "" {
		return netip.Addr{}, false
	}
	return a.Unmap(), true
}
