package dial_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/bursar-sts/bursar/server/dial"
)

// TestCheckRefusesWhatIsNotPublic (T-58): in every form that an address can be written in.
func TestCheckRefusesWhatIsNotPublic(t *testing.T) {
	for _, addr := range []string{
		"127.0.0.1", "127.255.0.9", "::1", "10.0.0.1", "172.16.3.4", "172.31.255.255", "192.168.1.1",
		"100.64.0.1", "100.127.255.254", "169.254.1.1", "169.254.169.254", "169.254.170.2", "fe80::1", "fe80::1%eth0",
		"fd00::1", "fc00::1", "fd00:ec2::254", "100.100.100.200", "168.63.129.16", "192.0.0.192",
		"0.0.0.0", "0.1.2.3", "::", "224.0.0.1", "239.1.1.1", "ff02::1", "255.255.255.255", "240.0.0.1",
		"198.18.0.1", "198.19.255.255", "192.88.99.1", "192.0.0.1", "192.0.2.1", "198.51.100.1", "203.0.113.1",
		"2001:db8::1", "3fff::1", "100::1", "fec0::1", "5f00::1", "::7f00:1", "64:ff9b:1::1",
		"::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254",
		"64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b::a00:1",
		"2002:7f00:1::", "2002:808:808::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001:2::1",
	} {
		if err := new(dial.Guard).Check(at(addr, 443)); !errors.Is(err, dial.ErrRefused) {
			t.Errorf("%s: %v, want a refusal", addr, err)
		}
	}
	for _, addr := range []string{
		"8.8.8.8", "1.1.1.1", "172.32.0.1", "100.128.0.1", "192.0.1.1", "198.20.0.1",
		"2606:4700::1111", "2001:4860:4860::8888", "::ffff:8.8.8.8", "64:ff9b::808:808",
	} {
		if err := new(dial.Guard).Check(at(addr, 443)); err != nil {
			t.Errorf("%s: %v, want no refusal", addr, err)
		}
	}
}

func TestAllowOpensPrivateRangesAndNothingWorse(t *testing.T) {
	everything := &dial.Guard{
		Allow: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")},
		Deny:  deny(at("10.0.0.5", 6379), at("10.0.0.6", 0), at("::ffff:10.0.0.7", 80)),
	}
	for addr, port := range map[string]uint16{
		"169.254.169.254": 80, "fd00:ec2::254": 80, "100.100.100.200": 80, "168.63.129.16": 80, "fd20:ce::254": 80,
		"fe80::1": 80, "169.254.7.7": 80, "0.0.0.0": 80, "::": 80, "224.0.0.1": 80, "ff02::1": 80,
		"::ffff:169.254.169.254": 80, "64:ff9b::a9fe:a9fe": 80,
		"10.0.0.5": 6379, "::ffff:10.0.0.5": 6379, "64:ff9b::a00:5": 6379, "10.0.0.6": 12345, "10.0.0.7": 80,
	} {
		if err := everything.Check(at(addr, port)); !errors.Is(err, dial.ErrRefused) {
			t.Errorf("%s port %d: %v, want a refusal", addr, port, err)
		}
	}
	for addr, port := range map[string]uint16{"10.0.0.5": 443, "127.0.0.1": 80, "fd12::1": 80, "10.0.0.7": 81} {
		if err := everything.Check(at(addr, port)); err != nil {
			t.Errorf("%s port %d: %v, want no refusal", addr, port, err)
		}
	}
	narrow := &dial.Guard{Allow: []netip.Prefix{netip.MustParsePrefix("10.2.0.0/16")}}
	if narrow.Check(at("10.2.9.9", 1)) != nil || narrow.Check(at("10.3.0.1", 1)) == nil {
		t.Error("Allow does not end where its prefix ends")
	}
}

func TestDenyOfAnUnspecifiedAddressIsEveryAddressOfThisHost(t *testing.T) {
	g := &dial.Guard{
		Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")},
		Deny:  deny(at("::", 8080)),
	}
	for _, addr := range []string{"127.0.0.1", "127.9.9.9", "::1"} {
		if g.Check(at(addr, 8080)) == nil {
			t.Errorf("%s leads to a listener on all addresses, and is not refused", addr)
		}
		if err := g.Check(at(addr, 8081)); err != nil {
			t.Errorf("%s on another port: %v", addr, err)
		}
	}
	interfaces, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range interfaces {
		addr := netip.MustParsePrefix(a.String()).Addr()
		g.Allow = []netip.Prefix{netip.PrefixFrom(addr, addr.BitLen())}
		if g.Check(netip.AddrPortFrom(addr, 8080)) == nil {
			t.Errorf("%s is an address of this host, and is not refused", addr)
		}
	}
}

// lookup answers every name with the given addresses.
func lookup(addrs ...string) func(context.Context, string) ([]netip.Addr, error) {
	return func(context.Context, string) ([]netip.Addr, error) {
		var all []netip.Addr
		for _, a := range addrs {
			all = append(all, netip.MustParseAddr(a))
		}
		return all, nil
	}
}

func TestDialContext(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	accepted := make(chan net.Conn, 16)
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				close(accepted)
				return
			}
			accepted <- conn
		}
	}()
	port := strconv.Itoa(listener.Addr().(*net.TCPAddr).Port)
	loopback := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	many := make([]string, dial.MaxAddresses+1)
	for i := range many {
		many[i] = "127.0.0.1"
	}
	for _, row := range []struct {
		name    string
		guard   dial.Guard
		network string
		address string
		refused bool
		fails   bool
	}{
		{name: "a name that resolves to an allowed address is dialled",
			guard: dial.Guard{Allow: loopback, Lookup: lookup("127.0.0.1")}, address: "issuer.example:" + port},
		{name: "a mapped address is dialled as what it is",
			guard: dial.Guard{Allow: loopback, Lookup: lookup("::ffff:127.0.0.1")}, address: "issuer.example:" + port},
		{name: "the second address is tried when the first does not answer",
			guard:   dial.Guard{Allow: loopback, Lookup: lookup("127.0.0.2", "127.0.0.1"), Timeout: 5e9},
			address: "a.example:" + port},
		{name: "a literal loopback address is refused by default", address: "127.0.0.1:" + port, refused: true},
		{name: "one private address among public ones refuses the name",
			guard: dial.Guard{Lookup: lookup("8.8.8.8", "127.0.0.1")}, address: "rebind.example:" + port,
			refused: true},
		{name: "metadata among allowed addresses refuses the name",
			guard:   dial.Guard{Allow: loopback, Lookup: lookup("127.0.0.1", "169.254.169.254")},
			address: "rebind.example:" + port, refused: true},
		{name: "localhost is refused by default", address: "localhost:" + port, refused: true},
		{name: "a name with too many addresses is refused",
			guard: dial.Guard{Allow: loopback, Lookup: lookup(many...)}, address: "many.example:" + port,
			refused: true},
		{name: "only TCP is dialled", guard: dial.Guard{Allow: loopback}, network: "udp", address: "127.0.0.1:" + port,
			refused: true},
		{name: "a port by name is refused", guard: dial.Guard{Allow: loopback}, address: "127.0.0.1:http",
			refused: true},
		{name: "port 0 is refused", guard: dial.Guard{Allow: loopback}, address: "127.0.0.1:0", refused: true},
		{name: "a name without addresses fails", guard: dial.Guard{Lookup: lookup()}, address: "none.example:80",
			fails: true},
		{name: "tcp6 does not reach an IPv4 address",
			guard: dial.Guard{Allow: loopback}, network: "tcp6", address: "127.0.0.1:" + port, fails: true},
	} {
		t.Run(row.name, func(t *testing.T) {
			if row.network == "" {
				row.network = "tcp"
			}
			conn, err := row.guard.DialContext(t.Context(), row.network, row.address)
			if conn != nil {
				conn.Close()
				(<-accepted).Close()
			}
			if errors.Is(err, dial.ErrRefused) != row.refused || (err != nil) != (row.refused || row.fails) {
				t.Errorf("error %v, want refused %v, failed %v", err, row.refused, row.fails)
			}
		})
	}
	listener.Close()
	for conn := range accepted {
		t.Errorf("a refused dial reached %v", conn.LocalAddr())
	}
}

// silent returns the port of an address that answers nothing: its queue is full, so that the kernel drops what comes.
func silent(t *testing.T, addr string) uint16 {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(fd) })
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: netip.MustParseAddr(addr).As4()}); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	port := uint16(name.(*syscall.SockaddrInet4).Port)
	conn, err := net.Dial("tcp", at(addr, port).String()) // a queue of length 0 has room for one
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return port
}

func TestASilentAddressLeavesTimeForTheNext(t *testing.T) {
	t.Parallel()
	port := silent(t, "127.0.0.2")
	listener, err := net.Listen("tcp", at("127.0.0.1", port).String())
	if err != nil {
		t.Skip(err) // somebody else has that port
	}
	defer listener.Close()
	g := dial.Guard{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, Timeout: 2 * time.Second,
		Lookup: lookup("127.0.0.2", "127.0.0.1")}
	conn, err := g.DialContext(t.Context(), "tcp", fmt.Sprintf("a.example:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
}

// TestDialConnectsToWhatWasJudged (T-58) has a name that changes its answer between two look-ups.
func TestDialConnectsToWhatWasJudged(t *testing.T) {
	lookups := 0
	g := dial.Guard{Lookup: func(context.Context, string) ([]netip.Addr, error) {
		if lookups++; lookups > 1 {
			return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
		}
		return []netip.Addr{netip.MustParseAddr("2606:4700::1111")}, nil
	}}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := g.DialContext(ctx, "tcp", "rebind.example:80"); err == nil || lookups != 1 {
		t.Errorf("error %v after %d look-ups, want one look-up and a cancelled dial", err, lookups)
	}
}

func deny(list ...netip.AddrPort) func() []netip.AddrPort {
	return func() []netip.AddrPort { return list }
}

func at(addr string, port uint16) netip.AddrPort {
	return netip.AddrPortFrom(netip.MustParseAddr(addr), port)
}

// FuzzCheck holds the guard against the standard library's own classes of addresses.
func FuzzCheck(f *testing.F) {
	for _, s := range []string{"127.0.0.1", "::ffff:10.1.1.1", "64:ff9b::a9fe:a9fe", "2606:4700::1111", "fd00::1"} {
		addr := netip.MustParseAddr(s)
		f.Add(addr.AsSlice(), uint16(443))
	}
	f.Fuzz(func(t *testing.T, raw []byte, port uint16) {
		addr, ok := netip.AddrFromSlice(raw)
		err := new(dial.Guard).Check(netip.AddrPortFrom(addr, port))
		switch plain := addr.Unmap(); {
		case !ok && err == nil:
			t.Error("no address is allowed")
		case err == nil && (plain.IsPrivate() || plain.IsLoopback() || !plain.IsGlobalUnicast() ||
			plain.IsLinkLocalUnicast()):
			t.Errorf("%s is allowed", addr)
		}
		metadata := &dial.Guard{Allow: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"),
			netip.MustParsePrefix("::/0")}}
		if err := metadata.Check(netip.AddrPortFrom(addr, port)); err == nil &&
			(!ok || addr.Unmap().IsLinkLocalUnicast() ||
				addr.Unmap().IsMulticast() || addr.Unmap().IsUnspecified()) {
			t.Errorf("%s is allowed by a guard that allows every private range", addr)
		}
	})
}

// TestNothingOpensMetadataServices (T-58): not even the widest ceiling, in whatever form the address is written.
func TestNothingOpensMetadataServices(t *testing.T) {
	guard := &dial.Guard{Allow: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}}
	for _, addr := range []string{
		"169.254.169.254", "::ffff:169.254.169.254", "::a9fe:a9fe", "::ffff:0:a9fe:a9fe", "64:ff9b::a9fe:a9fe",
		"64:ff9b:1::a9fe:a9fe",
		"2002:a9fe:a9fe::", "2001:0:4136:e378:8000:63bf:5601:5601", "fd00:ec2::254", "fd00:c1::a9fe:a9fe", "fd00:42::42",
		"fd20:ce::254", "100.100.100.200", "168.63.129.16",
	} {
		if err := guard.Check(at(addr, 80)); !errors.Is(err, dial.ErrRefused) {
			t.Errorf("%s: %v, want a refusal", addr, err)
		}
	}
}
