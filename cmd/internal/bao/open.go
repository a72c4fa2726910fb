package bao

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"strconv"

	"github.com/bursar-sts/bursar/storage/openbao"
)

// Open logs in. An OpenBao that is away is an error only if nothing goes without it: else that is logged, and it is
// asked again when it is needed. One that refuses the login is an error either way. The client must be closed.
func (c Config) Open(ctx context.Context, reach openbao.Config, needed bool, logger *slog.Logger) (
	*openbao.Client, error,
) {
	reach.Logger = logger
	client, err := openbao.New(reach)
	if err != nil {
		return nil, err
	}
	switch err := client.Check(ctx); {
	case openbao.Away(err) && !needed:
		logger.WarnContext(ctx, "OpenBao does not answer: no secret that it has can be used", "error", err)
	case err != nil:
		client.Close(context.WithoutCancel(ctx))
		return nil, err
	}
	return client, nil
}

// Addresses finds out where OpenBao is, which is never dialled for a tenant.
func (c Config) Addresses(ctx context.Context) ([]netip.AddrPort, error) {
	u, err := url.Parse(c.Address)
	if err != nil {
		return nil, fmt.Errorf("find OpenBao: %w", err)
	}
	port := map[string]uint16{"https": 443, "http": 80}[u.Scheme]
	if n, err := strconv.ParseUint(u.Port(), 10, 16); err == nil {
		port = uint16(n)
	}
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", u.Hostname())
	if err != nil {
		return nil, fmt.Errorf("find OpenBao: %w", err)
	}
	found := make([]netip.AddrPort, len(addrs))
	for i, addr := range addrs {
		found[i] = netip.AddrPortFrom(addr.Unmap(), port)
	}
	return found, nil
}
