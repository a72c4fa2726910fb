package outpost

import (
	"context"
	"net"
	"net/http"
)

// DialTo makes the directory reach the server at an address, whatever its URL says.
func (d *Directory) DialTo(address string) {
	d.client.Transport.(*http.Transport).DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, address)
	}
}
