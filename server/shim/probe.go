package shim

import (
	"context"
	"io"
	"net/http"

	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/vault"
)

// maxProbe is how much of the answer to a probe is read.
const maxProbe = 64 << 10

// Probe makes the call that a tool names for it, with one version of a secret in place of the active one, and returns
// the status of the answer. Nothing else of the answer is looked at. The caller has recorded the call. Errors are
// *fault.Error: NotFound for a tool without such a call, or one that does not inject the secret; others are those of a
// call.
func (s *Shim) Probe(ctx context.Context, slug, tool, secret string, version int) (status int, err error) {
	v, err := s.cfg.Tenants.Fresh(ctx, slug)
	if err != nil {
		return 0, err
	}
	t, ok := v.Tools.Named(tool)
	if !ok || t.Upstream == nil {
		return 0, fault.New(fault.NotFound, "target.unknown", "The tenant has no such tool with an upstream.")
	}
	g := &Grant{shim: s, view: v, tool: t, call: Call{Slug: slug, Tool: tool}}
	if g.match, ok = t.Upstream.ProbeMatch(); !ok {
		return 0, fault.New(fault.NotFound, "target.probe", "The tool has no probe; give it upstream.probe.")
	}
	g.call.Method = t.Upstream.Probe.Method
	if err := g.trial(secret, version); err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, g.timeouts().header)
	defer cancel()
	response, err := s.try(ctx, g)
	if err != nil {
		return 0, err
	}
	defer func() { _ = response.Body.Close() }()
	_, _ = io.CopyN(io.Discard, response.Body, maxProbe) // so that the connection can be used again
	return response.StatusCode, nil
}

// trial takes the active versions of all secrets but one.
func (g *Grant) trial(secret string, version int) (err error) {
	found := false
	for _, injection := range g.tool.Upstream.Inject {
		var ref vault.Ref
		if injection.Secret == secret {
			found = true
			ref, err = g.view.Secrets.Version(secret, version)
		} else {
			ref, err = g.view.Secrets.Active(injection.Secret)
		}
		if err != nil {
			return err
		}
		g.refs = append(g.refs, ref)
	}
	if !found {
		return fault.New(fault.NotFound, "target.secret", "The tool does not use this secret.")
	}
	return nil
}

// try sends the probe.
func (s *Shim) try(ctx context.Context, g *Grant) (*http.Response, error) {
	out := g.outgoing(ctx)
	with, err := s.inject(ctx, g, out, payload{})
	if err != nil {
		return nil, err
	}
	response, err := with.transport.RoundTrip(out)
	if err != nil {
		return nil, failure(err, payload{})
	}
	return response, nil
}
