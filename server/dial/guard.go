// Package dial is the guard on every connection that the server opens because a tenant's configuration says so: to the
// key documents of trusted issuers, and to upstreams. A tenant chooses the name; the guard decides about the addresses
// that it resolves to, and connects to exactly those that it has judged, so that a name cannot change in between.
package dial

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"time"
)

// ErrRefused is wrapped by every refusal of the guard, as opposed to a connection that failed.
var ErrRefused = errors.New("address not allowed")

// MaxAddresses bounds the addresses of one name. A name with more is refused, since each must be judged.
const MaxAddresses = 16

// Guard opens TCP connections to allowed addresses only. The zero Guard allows the public internet and nothing else.
// It is safe for concurrent use and must not be changed while in use.
type Guard struct {
	// Allow are the private ranges that may be dialled as well. They never open link-local addresses, cloud metadata
	// services, multicast or what Deny lists.
	Allow []netip.Prefix
	// Deny returns the server's own listeners and its store; nil denies nothing more. It is asked each time, because a
	// store can move. An unspecified address (0.0.0.0, ::) stands for every address of this host, port 0 for every port.
	Deny func() []netip.AddrPort
	// Lookup resolves a host name to addresses; nil uses net.DefaultResolver. Literal addresses are not looked up.
	Lookup func(ctx context.Context, host string) ([]netip.Addr, error)
	// Timeout bounds one call of DialContext, and each address of a name but the last by its equal share, so that a
	// silent one leaves time for the others. Zero leaves all to the context of the call.
	Timeout time.Duration
}

// DialContext resolves the host of address, judges every address that it has, and connects to the first that answers.
// One refused address refuses the name. The network is tcp, tcp4 or tcp6. Refusals wrap ErrRefused; their text is for
// the operator.
func (g *Guard) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	if g.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, g.Timeout)
		defer cancel()
	}
	targets, err := g.resolve(ctx, network, address)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", address, err)
	}
	for _, target := range targets {
		if err := g.Check(target); err != nil {
			return nil, fmt.Errorf("dial %s: %w", address, err)
		}
	}
	var failed error
	for i, target := range targets {
		d := net.Dialer{Timeout: g.Timeout / time.Duration(len(targets))}
		if i == len(targets)-1 {
			d.Timeout = 0 // all that is left
		}
		conn, err := d.DialContext(ctx, network, target.String())
		if err == nil {
			return conn, nil
		}
		failed = errors.Join(failed, err)
	}
	return nil, failed
}

func (g *Guard) resolve(ctx context.Context, network, address string) ([]netip.AddrPort, error) {
	if network != "tcp" && network != "tcp4" && network != "tcp6" {
		return nil, fmt.Errorf("%w: network %s", ErrRefused, network)
	}
	host, service, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	port, err := strconv.ParseUint(service, 10, 16)
	if err != nil || port == 0 {
		return nil, fmt.Errorf("%w: port %q", ErrRefused, service)
	}
	addrs, err := g.lookup(ctx, host)
	if err != nil {
		return nil, err
	}
	var targets []netip.AddrPort
	for _, addr := range addrs {
		addr = addr.Unmap()
		if network == "tcp4" && !addr.Is4() || network == "tcp6" && addr.Is4() {
			continue
		}
		targets = append(targets, netip.AddrPortFrom(addr, uint16(port)))
	}
	switch {
	case len(targets) == 0:
		return nil, errors.New("the name has no address")
	case len(targets) > MaxAddresses:
		return nil, fmt.Errorf("%w: the name has more than %d addresses", ErrRefused, MaxAddresses)
	}
	return targets, nil
}

func (g *Guard) lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	if addr, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{addr}, nil
	}
	if g.Lookup != nil {
		return g.Lookup(ctx, host)
	}
	return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
}

// Check reports why target may not be dialled; nil if it may.
func (g *Guard) Check(target netip.AddrPort) error {
	addr := unwrap(target.Addr())
	switch {
	case !addr.IsValid() || addr.Zone() != "" || within(never, addr):
		return fmt.Errorf("%w: %s is link-local, multicast, unspecified or a metadata service", ErrRefused, addr)
	case g.denied(netip.AddrPortFrom(addr, target.Port())):
		return fmt.Errorf("%w: %s belongs to this server", ErrRefused, addr)
	case within(g.Allow, addr) || public(addr):
		return nil
	}
	return fmt.Errorf("%w: %s is not a public address, nor in an allowed private range", ErrRefused, addr)
}

// denied reports whether the target is one of the server's own.
func (g *Guard) denied(target netip.AddrPort) bool {
	if g.Deny == nil {
		return false
	}
	for _, d := range g.Deny() {
		if d.Port() != 0 && d.Port() != target.Port() {
			continue
		}
		own := d.Addr().Unmap()
		if own == target.Addr() || own.IsUnspecified() && ofThisHost(target.Addr()) {
			return true
		}
	}
	return false
}

// ofThisHost reports whether addr leads back to this host. When the interfaces cannot be read, every address may.
func ofThisHost(addr netip.Addr) bool {
	if addr.IsLoopback() {
		return true
	}
	interfaces, err := net.InterfaceAddrs()
	return err != nil || slices.ContainsFunc(interfaces, func(a net.Addr) bool {
		prefix, err := netip.ParsePrefix(a.String())
		return err == nil && prefix.Addr().Unmap() == addr
	})
}
