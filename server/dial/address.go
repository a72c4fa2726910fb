package dial

import "net/netip"

// never are the addresses that no configuration opens: those that mean this host or this link, groups, and the services
// from which clouds hand out credentials.
var never = prefixes(
	"0.0.0.0/8",          // this network (RFC 1122 §3.2.1.3)
	"169.254.0.0/16",     // link-local, and most metadata services (RFC 3927)
	"100.100.100.200/32", // metadata service of Alibaba Cloud
	"168.63.129.16/32",   // host agent of Azure
	"192.0.0.192/32",     // metadata service of Oracle Cloud
	"224.0.0.0/4",        // multicast
	"255.255.255.255/32", // broadcast
	"::/128",             // unspecified
	"fe80::/10",          // link-local
	"fd00:ec2::/32",      // metadata services of AWS
	"fd20:ce::254/128",   // metadata service of Google Cloud
	"fd00:c1::/32",       // metadata service of Oracle Cloud
	"fd00:42::/32",       // metadata service of Scaleway
	"64:ff9b:1::/48",     // wraps an IPv4 address, for local translators (RFC 8215)
	"2001::/32",          // Teredo, wraps an IPv4 address (RFC 4380)
	"2002::/16",          // 6to4, wraps an IPv4 address (RFC 3056)
	"ff00::/8",           // multicast
)

// special4 is what is not public of IPv4 (IANA special-purpose registry, RFC 6890), besides never.
var special4 = prefixes(
	"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", // private (RFC 1918)
	"100.64.0.0/10",                                     // shared by carriers (RFC 6598)
	"127.0.0.0/8",                                       // loopback
	"192.0.0.0/24",                                      // protocol assignments
	"192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", // documentation (RFC 5737)
	"192.88.99.0/24", // relays of 6to4 (RFC 7526)
	"198.18.0.0/15",  // benchmarking (RFC 2544)
	"240.0.0.0/4",    // reserved
)

// special6 is what is not public within global6.
var special6 = prefixes(
	"2001::/23",                  // protocol assignments: Teredo, benchmarking, ORCHID
	"2001:db8::/32", "3fff::/20", // documentation (RFC 3849, RFC 9637)
	"2002::/16", // 6to4, which wraps any IPv4 address (RFC 3056)
)

// global6 is all that is assigned as global unicast.
var global6 = netip.MustParsePrefix("2000::/3")

// wrapping are the ranges whose last 32 bits are an IPv4 address.
var wrapping = prefixes(
	"64:ff9b::/96",    // for translators (RFC 6052 §2.1)
	"::ffff:0:0:0/96", // likewise (RFC 2765 §2.1)
	"::/96",           // IPv4-compatible, deprecated (RFC 4291 §2.5.5.1)
)

// unwrap returns the IPv4 address that an IPv6 one stands for, if it does: what is judged is where packets end.
func unwrap(addr netip.Addr) netip.Addr {
	addr = addr.Unmap()
	if addr.Is4() || addr.IsLoopback() || addr.IsUnspecified() || !within(wrapping, addr) {
		return addr
	}
	bytes := addr.As16()
	return netip.AddrFrom4([4]byte(bytes[12:]))
}

// public reports whether addr, unwrapped, is on the public internet. IPv6 is judged by what is global, so that ranges
// assigned later are refused until they are known here.
func public(addr netip.Addr) bool {
	if addr.Is4() {
		return !within(special4, addr)
	}
	return global6.Contains(addr) && !within(special6, addr)
}

func within(set []netip.Prefix, addr netip.Addr) bool {
	for _, p := range set {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}

func prefixes(all ...string) []netip.Prefix {
	parsed := make([]netip.Prefix, len(all))
	for i, s := range all {
		parsed[i] = netip.MustParsePrefix(s)
	}
	return parsed
}
