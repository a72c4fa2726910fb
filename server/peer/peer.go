// Package peer finds out who is at the other end of a request. That is the other end of its connection, unless that is
// a proxy which the operator trusts to say for whom it asks.
package peer

import (
	"net/http"
	"net/netip"
)

// Of returns the address of whoever sent the request; the zero address if that is not known, as behind a Unix socket.
// Forwarding headers count only where Proxies.Believe has seen to it.
func Of(r *http.Request) netip.Addr {
	ap, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap()
}

// Proxies are the addresses of those whose word is taken for whom they ask. Its zero value trusts nobody.
type Proxies []netip.Prefix

func (p Proxies) trusts(a netip.Addr) bool {
	for _, prefix := range p {
		if prefix.Contains(a) {
			return true
		}
	}
	return false
}

// Believe lets next see, in place of a trusted proxy, whom it asks for: the last in the chain of a request's
// X-Forwarded-For or Forwarded (RFC 7239) header who is not a trusted proxy too. What stands before that one is
// whatever the caller liked to write. If that place in the chain holds no address, or the request has both headers and
// they differ, nobody knows who asks: the proxy minds only one of them, and passes on what a caller put into the other.
// Of returns the zero address then, and not the proxy's, which conditions may trust and callers could choose.
func (p Proxies) Believe(next http.Handler) http.Handler {
	if len(p) == 0 {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		near := Of(r)
		if p.trusts(near) {
			if far := p.origin(r.Header, near); far != near {
				forwarded := *r
				forwarded.RemoteAddr = "" // of nobody known
				if far.IsValid() {
					forwarded.RemoteAddr = netip.AddrPortFrom(far, 0).String()
				}
				r = &forwarded
			}
		}
		next.ServeHTTP(w, r)
	})
}

// origin returns for whom the trusted proxy near sends a request with those headers: the proxy itself if it says
// nothing, the zero address if it cannot be told.
func (p Proxies) origin(h http.Header, near netip.Addr) netip.Addr {
	list, standard := h.Values("X-Forwarded-For"), h.Values("Forwarded")
	switch {
	case len(list) > 0 && len(standard) > 0:
		if a := p.last(list, near, plain); a == p.last(standard, near, element) {
			return a
		}
		return netip.Addr{}
	case len(standard) > 0:
		return p.last(standard, near, element)
	}
	return p.last(list, near, plain)
}

// maxHops bounds how far a chain of trusted proxies is followed.
const maxHops = 32

// last returns the last of the chain who is not trusted. Values that say only trusted ones end with the first of those;
// what cannot be read before somebody else was found is the zero address.
func (p Proxies) last(values []string, near netip.Addr, read func(string) (netip.Addr, bool)) netip.Addr {
	far, hops := near, 0
	for i := len(values) - 1; i >= 0; i-- {
		for rest := values[i]; ; {
			before, item, more := cutLast(rest)
			a, ok := read(item)
			if hops++; !ok || hops > maxHops {
				return netip.Addr{}
			}
			if far = a; !p.trusts(a) {
				return far
			}
			if rest = before; !more {
				break
			}
		}
	}
	return far
}

// Said returns for whom a proxy says that it asks, the last in its X-Forwarded-For header; the zero address if it does
// not say. It is for listeners that nobody but proxies can reach.
func Said(h http.Header) netip.Addr {
	var nobody Proxies
	return nobody.last(h.Values("X-Forwarded-For"), netip.Addr{}, plain)
}
