// Package names is a name server for tests: it answers as the test says, differently each time if it wants.
package names

import (
	"encoding/binary"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// Server answers queries for A and AAAA records (RFC 1035, RFC 3596).
type Server struct {
	// Conf is the path of a resolver configuration that names this server alone.
	Conf string

	answer func(name string, turn int) []string
	conn   net.PacketConn

	mu    sync.Mutex
	asked map[string]int
}

// The types and the class of records.
const (
	typeA    = 1
	typeAAAA = 28
	classIN  = 1
)

// Serve listens at port 53 of an address of its own until the test ends, which needs a privilege; it skips the test
// without it. answer returns the addresses of a name, in lower case and without a dot at its end, when it is asked for
// the turn'th time, counted from 0, for each type of address; nil if there is no such name.
func Serve(t testing.TB, answer func(name string, turn int) []string) *Server {
	t.Helper()
	s := &Server{answer: answer, asked: map[string]int{}}
	var err error
	var host string
	for third := range 250 { // the first that nobody has
		host = netip.AddrFrom4([4]byte{127, 53, byte(os.Getpid()), byte(third + 1)}).String()
		if s.conn, err = net.ListenPacket("udp", host+":53"); err == nil {
			break
		}
	}
	if err != nil {
		t.Skipf("no name server can listen here: %v", err)
	}
	t.Cleanup(func() { _ = s.conn.Close() })
	s.Conf = filepath.Join(t.TempDir(), "resolv.conf")
	if err := os.WriteFile(s.Conf, []byte("nameserver "+host+"\noptions timeout:1 attempts:5\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	go s.serve()
	return s
}

// Asked returns how often a name was asked for, whatever the type of address.
func (s *Server) Asked(name string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked[name+"/4"] + s.asked[name+"/6"]
}

func (s *Server) serve() {
	query := make([]byte, 1500)
	for {
		n, from, err := s.conn.ReadFrom(query)
		if err != nil {
			return
		}
		if reply := s.reply(query[:n]); reply != nil {
			_, _ = s.conn.WriteTo(reply, from)
		}
	}
}

// reply answers a query of one question; nil to anything else.
func (s *Server) reply(query []byte) []byte {
	name, kind, end, ok := question(query)
	if !ok {
		return nil
	}
	reply := append([]byte{}, query[:end]...)
	binary.BigEndian.PutUint16(reply[2:], 0x8580) // an authoritative answer, without an error
	clear(reply[6:12])
	addresses, known := s.addresses(name, kind)
	if !known {
		reply[3] |= 3 // no such name
	}
	for _, a := range addresses {
		reply = append(reply, 0xc0, 12) // the name of the question
		reply = binary.BigEndian.AppendUint16(reply, kind)
		reply = binary.BigEndian.AppendUint16(reply, classIN)
		reply = binary.BigEndian.AppendUint32(reply, 0) // seconds to live
		raw := a.AsSlice()
		reply = binary.BigEndian.AppendUint16(reply, uint16(len(raw)))
		reply = append(reply, raw...)
	}
	binary.BigEndian.PutUint16(reply[6:], uint16(len(addresses)))
	return reply
}

// question takes a query apart. end is where its question ends.
func question(query []byte) (name string, kind uint16, end int, ok bool) {
	if len(query) < 12 || binary.BigEndian.Uint16(query[4:]) != 1 {
		return "", 0, 0, false
	}
	var labels []string
	at := 12
	for {
		if at >= len(query) || query[at] > 63 || at+1+int(query[at]) > len(query) {
			return "", 0, 0, false
		}
		n := int(query[at])
		if at++; n == 0 {
			break
		}
		labels = append(labels, string(query[at:at+n]))
		at += n
	}
	if at+4 > len(query) {
		return "", 0, 0, false
	}
	return strings.ToLower(strings.Join(labels, ".")), binary.BigEndian.Uint16(query[at:]), at + 4, true
}

// addresses returns those of one type.
func (s *Server) addresses(name string, kind uint16) (some []netip.Addr, known bool) {
	family := map[uint16]string{typeA: "/4", typeAAAA: "/6"}[kind]
	s.mu.Lock()
	turn := s.asked[name+family]
	s.asked[name+family]++
	s.mu.Unlock()
	all := s.answer(name, turn)
	for _, text := range all {
		a := netip.MustParseAddr(text)
		if a.Is4() == (kind == typeA) && family != "" {
			some = append(some, a)
		}
	}
	return some, all != nil
}
