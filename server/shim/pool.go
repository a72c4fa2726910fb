package shim

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/bursar-sts/bursar/server/dial"
	"github.com/bursar-sts/bursar/server/inject"
	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/server/tools"
	"github.com/bursar-sts/bursar/server/vault"
)

// pool holds the connections to upstreams, those of each tool apart: no tenant's request goes over a connection that
// was opened for another's.
type pool struct {
	shim *Shim

	mu   sync.Mutex
	open map[place]*upstream
}

type place struct {
	tenant ledger.Tenant
	tool   string
}

// upstream is the transport of one tool as it was configured.
type upstream struct {
	tool      *tools.Tool
	client    vault.Ref // whose certificate its connections show; zero without
	transport *http.Transport
	used      time.Time
}

// Bounds of a connection.
const (
	idlePerHost = 128
	idleFor     = 90 * time.Second
	maxAnswer   = 64 << 10 // bytes of an answer's headers
)

// transport returns what carries a call of g. client is the opened secret of its client certificate; nil without one.
func (p *pool) transport(g *Grant, ref vault.Ref, client *vault.Value) (*http.Transport, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	key := place{g.view.ID, g.tool.Name}
	if u := p.open[key]; u != nil && u.client == ref && (u.tool == g.tool || u.tool.Upstream.Reaches(g.tool.Upstream)) {
		u.tool, u.used = g.tool, time.Now()
		return u.transport, nil
	}
	t, err := p.connect(g, client)
	if err != nil {
		return nil, err
	}
	if p.open == nil {
		p.open = map[place]*upstream{}
	}
	if old := p.open[key]; old != nil {
		old.transport.CloseIdleConnections()
	}
	p.open[key] = &upstream{g.tool, ref, t, time.Now()}
	return t, nil
}

// connect makes a transport to the one destination of a tool. It knows no proxy, follows nothing, asks for no
// compression and speaks HTTP/1.1 alone, so that one call is one exchange on one connection.
func (p *pool) connect(g *Grant, client *vault.Value) (*http.Transport, error) {
	u := g.tool.Upstream
	secured := &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}}
	if u.Network.CA != "" {
		secured.RootCAs = x509.NewCertPool()
		if !secured.RootCAs.AppendCertsFromPEM([]byte(u.Network.CA)) {
			return nil, errors.New("the CA of the upstream holds no certificate")
		}
	}
	if len(u.Network.Pins) > 0 {
		secured.VerifyConnection = func(s tls.ConnectionState) error { return pinned(s, u.Network.Pins) }
	}
	if client != nil {
		certificate, err := inject.Certificate(client)
		if err != nil {
			return nil, err
		}
		secured.Certificates = []tls.Certificate{certificate}
	}
	return &http.Transport{
		DialContext: p.shim.guard(g).DialContext, TLSClientConfig: secured, TLSHandshakeTimeout: g.timeouts().connect,
		DisableCompression: true, MaxIdleConnsPerHost: idlePerHost, IdleConnTimeout: idleFor,
		ResponseHeaderTimeout: g.timeouts().header, MaxResponseHeaderBytes: maxAnswer,
		TLSNextProto: map[string]func(string, *tls.Conn) http.RoundTripper{},
	}, nil
}

// pinned reports why a chain has none of the pinned keys.
func pinned(s tls.ConnectionState, pins []string) error {
	for _, chain := range s.VerifiedChains {
		for _, c := range chain {
			sum := sha256.Sum256(c.RawSubjectPublicKeyInfo)
			if slices.Contains(pins, "sha256/"+base64.StdEncoding.EncodeToString(sum[:])) {
				return nil
			}
		}
	}
	return fmt.Errorf("no certificate of %s has a pinned key", s.ServerName)
}

// Forget closes the connections of tools that nobody has called since then.
func (s *Shim) Forget(before time.Time) {
	s.pool.mu.Lock()
	defer s.pool.mu.Unlock()
	for key, u := range s.pool.open {
		if u.used.Before(before) {
			u.transport.CloseIdleConnections()
			delete(s.pool.open, key)
		}
	}
}

// Close closes all idle connections, and returns when nobody asks the tenants any more. No call may be under way.
func (s *Shim) Close() {
	s.watch.close()
	s.watch.looking.Wait()
	s.Forget(time.Now().Add(time.Hour))
}

// guard judges every address that is dialled for a tool.
func (s *Shim) guard(g *Grant) *dial.Guard {
	guard := &dial.Guard{Deny: s.cfg.Deny, Lookup: s.cfg.Lookup, Timeout: g.timeouts().connect}
	if g.tool.Upstream.Network.AllowPrivate {
		guard.Allow = g.view.Private
	}
	return guard
}

// timeouts are those of a tool.
type timeouts struct{ connect, header, idle, total time.Duration }

func (g *Grant) timeouts() timeouts {
	t := g.tool.Upstream.Timeouts.OrDefault()
	return timeouts{time.Duration(t.Connect), time.Duration(t.Header), time.Duration(t.Idle), time.Duration(t.Total)}
}
