package redis

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"

	goredis "github.com/redis/go-redis/v9"
)

// nodes remembers where the store is. It forgets nothing: a node that is gone may come back.
type nodes struct {
	mu    sync.Mutex
	known map[netip.AddrPort]bool
}

func (n *nodes) add(address netip.AddrPort) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.known == nil {
		n.known = make(map[netip.AddrPort]bool)
	}
	n.known[netip.AddrPortFrom(address.Addr().Unmap(), address.Port())] = true
}

// resolve adds what host:port stands for now. A name that cannot be resolved now stands for nothing; it is asked again.
func (n *nodes) resolve(ctx context.Context, host, port string) {
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return
	}
	addresses, _ := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	for _, address := range addresses {
		n.add(netip.AddrPortFrom(address, uint16(number)))
	}
}

// dialer connects as the library does, and remembers to whom: behind Sentinel and in a cluster the URL does not tell.
func (n *nodes) dialer(o *goredis.UniversalOptions) func(context.Context, string, string) (net.Conn, error) {
	dial := goredis.NewDialer(&goredis.Options{DialTimeout: o.DialTimeout, TLSConfig: o.TLSConfig})
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		if tcp, ok := conn.RemoteAddr().(*net.TCPAddr); ok {
			n.add(tcp.AddrPort())
		}
		return conn, nil
	}
}

// Addresses returns where the store is and was since it was opened: the hosts of its URL, every node that there was a
// connection to, and the replicas of its primaries. Beside an error (fault.ErrUnavailable) it returns what is known.
func (db *DB) Addresses(ctx context.Context) ([]netip.AddrPort, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	for _, seed := range db.seeds {
		if host, port, err := net.SplitHostPort(seed); err == nil {
			db.nodes.resolve(ctx, host, port)
		}
	}
	primaries, err := db.primaries(ctx)
	if err != nil {
		err = unavailable("ask Redis for its replicas", err)
	}
	for _, p := range primaries {
		for host, port := range p.replicas() {
			db.nodes.resolve(ctx, host, port)
		}
	}
	db.nodes.mu.Lock()
	defer db.nodes.mu.Unlock()
	return slices.Collect(maps.Keys(db.nodes.known)), err
}

// replicas yields the host and port of each replica, as it announced itself: slave0:ip=10.0.0.2,port=6379,…
func (p primary) replicas() iter.Seq2[string, string] {
	return func(yield func(host, port string) bool) {
		for i := 0; ; i++ {
			line, ok := p.info[fmt.Sprintf("slave%d", i)]
			if !ok {
				return
			}
			fields := map[string]string{}
			for field := range strings.SplitSeq(line, ",") {
				name, value, _ := strings.Cut(field, "=")
				fields[name] = value
			}
			if !yield(fields["ip"], fields["port"]) {
				return
			}
		}
	}
}
