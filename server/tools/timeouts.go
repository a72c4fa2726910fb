package tools

import (
	"cmp"
	"slices"
	"time"

	"github.com/bursar-sts/bursar/scopes"
)

// OrDefault returns t with what it leaves open.
func (t Timeouts) OrDefault() Timeouts {
	return Timeouts{Connect: cmp.Or(t.Connect, scopes.Duration(5*time.Second)),
		Header: cmp.Or(t.Header, scopes.Duration(30*time.Second)), Idle: cmp.Or(t.Idle, scopes.Duration(time.Minute)),
		Total: cmp.Or(t.Total, scopes.Duration(5*time.Minute))}
}

// Reaches reports whether both are reached over the same connections.
func (u *Upstream) Reaches(other *Upstream) bool {
	a, b := u.Network, other.Network
	return u.URL == other.URL && a.AllowPrivate == b.AllowPrivate && a.CA == b.CA && slices.Equal(a.Pins, b.Pins) &&
		u.Timeouts == other.Timeouts
}

// Expects reports whether a status is one that the probe is to be answered with.
func (p *Probe) Expects(status int) bool {
	if len(p.Expect) == 0 {
		return 200 <= status && status <= 299
	}
	return slices.Contains(p.Expect, status)
}
