package tools

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/bursar-sts/bursar/scopes"
)

// Bounds of an upstream.
const (
	maxInject   = 8
	maxRules    = 200
	maxList     = 64 // names in one list
	maxCA       = 64 << 10
	maxLimit    = 1_000_000
	maxRetries  = 2
	maxTimeout  = 24 * time.Hour
	maxTemplate = 4 << 10
)

// check lists the upstream's mistakes, each with its field, and prepares it for Route and Address.
func (u *Upstream) check(t *Tool, at Place) []string {
	var p problems
	u.at = &address{u.URL, u.Network.CA, addressOf(u.URL, u.Network.CA)}
	p.err("url", u.checkURL(at))
	u.checkInjections(&p)
	u.checkRules(&p, t)
	u.checkHeaders(&p)
	p.choice("response.scrub", u.Response.Scrub, ScrubStrict, ScrubHeaders)
	p.choice("stream.on_expiry", u.Stream.OnExpiry, ExpiryFinish, ExpiryCut)
	u.checkNetwork(&p)
	u.checkBounds(&p)
	if u.AllowDecisionMode {
		u.checkDecisionMode(&p)
	}
	if u.Probe != nil {
		u.checkProbe(&p)
	}
	return p
}

func (p *problems) choice(path, value string, allowed ...string) {
	if value != "" && !slices.Contains(allowed, value) {
		p.add(path, "must be "+strings.Join(allowed, " or "))
	}
}

// checkURL reports what is wrong with the origin.
func (u *Upstream) checkURL(at Place) error {
	secured, plain := u.URL, strings.HasPrefix(u.URL, "http://")
	if plain {
		secured = "https" + strings.TrimPrefix(u.URL, "http") // in all else it is judged as https is
	}
	if err := scopes.CheckURL(secured, scopes.Origin); err != nil {
		return err
	}
	switch canonical, err := CanonicalResource(secured); {
	case err != nil:
		return err
	case plain && !u.AllowPlaintext:
		return errors.New("must be https, or else the secret can be read on the way; allow_plaintext admits http")
	case !plain && canonical != u.URL:
		return errors.New("must not name the port that it has anyway")
	}
	for _, own := range []string{at.BaseURL, at.ShimURL} {
		if _, ours := Under(own, u.URL); ours && own != "" {
			return errors.New("is this server's own address")
		}
	}
	return nil
}

func (u *Upstream) checkHeaders(p *problems) {
	for i, name := range u.Headers {
		path := fmt.Sprintf("headers[%d]", i)
		same := func(other string) bool { return strings.EqualFold(other, name) }
		switch canonical := canonicalName(name); {
		case !isPlainName(name):
			p.add(path, "must be the name of a header, of letters, digits and hyphens")
		case passed[canonical]:
			p.add(path, "is passed on anyway")
		case !mayPass(canonical):
			p.add(path, "is never passed on")
		case (canonical == "Range" || canonical == "If-Range") && u.Response.Scrub != ScrubHeaders:
			p.add(path, "would let an agent have a secret cut in parts that are not found in an answer; "+
				"leave it out, or set response.scrub to headers")
		case slices.ContainsFunc(u.Headers[:i], same):
			p.add(path, "is listed twice")
		case slices.ContainsFunc(u.Inject, func(x Injection) bool { return slices.ContainsFunc(x.headers(), same) }):
			p.add(path, "is a header that a secret is put in")
		}
	}
	for i, name := range u.Response.Strip {
		if path := fmt.Sprintf("response.strip[%d]", i); !isToken(name) {
			p.add(path, "must be the name of a header")
		}
	}
	if len(u.Headers) > maxList || len(u.Response.Strip) > maxList {
		p.add("headers", fmt.Sprintf("at most %d may be passed on, and as many stripped", maxList))
	}
}

func (u *Upstream) checkNetwork(p *problems) {
	plain := strings.HasPrefix(u.URL, "http://")
	if u.Network.CA != "" {
		p.err("network.ca", checkCA(u.Network.CA))
	}
	for i, pin := range u.Network.Pins {
		sum, err := base64.StdEncoding.Strict().DecodeString(strings.TrimPrefix(pin, "sha256/"))
		if err != nil || len(sum) != 32 || !strings.HasPrefix(pin, "sha256/") {
			p.add(fmt.Sprintf("network.pins[%d]", i), "must be sha256/ and the base64 of 32 bytes")
		}
	}
	if plain && (u.Network.CA != "" || len(u.Network.Pins) > 0) {
		p.add("network", "has certificates for an http URL, which shows none")
	}
	if len(u.Network.Pins) > maxList {
		p.add("network.pins", fmt.Sprintf("has more than %d entries", maxList))
	}
}

// checkCA reports what is wrong with a PEM text of certificates.
func checkCA(text string) error {
	if len(text) > maxCA {
		return fmt.Errorf("must be at most %d bytes", maxCA)
	}
	rest := []byte(text)
	for n := 0; ; n++ {
		var block *pem.Block
		block, rest = pem.Decode(rest)
		switch {
		case block == nil && (n == 0 || strings.Contains(string(rest), "-----BEGIN")):
			return errors.New("must be certificates in PEM")
		case block == nil:
			return nil
		case block.Type != "CERTIFICATE":
			return errors.New("must hold nothing but certificates")
		}
		if _, err := x509.ParseCertificate(block.Bytes); err != nil {
			return fmt.Errorf("holds a certificate that cannot be read (number %d)", n+1)
		}
	}
}

func (u *Upstream) checkBounds(p *problems) {
	for _, x := range []struct {
		path string
		n    int
		most int
	}{
		{"retries", u.Retries, maxRetries},
		{"limits.concurrent", u.Limits.Concurrent, maxLimit}, {"limits.agent_concurrent", u.Limits.AgentConcurrent, maxLimit},
	} {
		if x.n < 0 || x.n > x.most {
			p.add(x.path, fmt.Sprintf("must be from 0 to %d", x.most))
		}
	}
	for _, x := range []struct {
		path string
		d    scopes.Duration
	}{
		{"connect", u.Timeouts.Connect}, {"header", u.Timeouts.Header}, {"idle", u.Timeouts.Idle}, {"total",
			u.Timeouts.Total},
	} {
		if d := time.Duration(x.d); d != 0 && (d < time.Millisecond || d > maxTimeout) {
			p.add("timeouts."+x.path, "must be from 1ms to 24h")
		}
	}
}

// checkDecisionMode refuses what a proxy cannot do that asks the decision endpoint: what it does not do is not done.
func (u *Upstream) checkDecisionMode(p *problems) {
	const off = "a front proxy cannot do that; leave it out, or leave out allow_decision_mode"
	for i, x := range u.Inject {
		switch path := fmt.Sprintf("inject[%d].in", i); x.In {
		case InQuery:
			p.add(path, "is query: front proxies write the query, and with it the secret, into their logs; "+
				"use a header, or leave out allow_decision_mode")
		case InPath, InJSON, InForm, InSigV4, InHMAC, InMTLS:
			p.add(path, "is "+string(x.In)+": "+off)
		}
	}
	for i, r := range u.Allow {
		if len(r.JSON) > 0 {
			p.add(fmt.Sprintf("allow[%d].json", i), "is about bodies: "+off)
		}
	}
}

func (u *Upstream) checkProbe(p *problems) {
	rawPath, rawQuery, asks := strings.Cut(u.Probe.Path, "?")
	_, err := segments(rawPath, u.AllowEncodedSlash)
	p.err("probe.path", err)
	for pair := range strings.SplitSeq(rawQuery, "&") {
		name, ok := queryName(pair)
		if asks && (!ok || u.injects(InQuery, name)) {
			p.add("probe.path", "has a query that cannot be read, or that has a parameter for a secret")
			break
		}
	}
	switch m, ok := u.ProbeMatch(); {
	case !slices.Contains(Methods, u.Probe.Method):
		p.add("probe.method", "must be one of "+strings.Join(Methods, ", "))
	case err == nil && !ok:
		p.add("probe", "must be GET or HEAD, or a method and path that a rule allows")
	case err == nil && u.has(InPath) && m.template == nil:
		p.add("probe.path", "must be that of a rule, because a secret is a segment of it")
	case u.fillsBody() != "":
		p.add("probe", "has no body, and the secret is put in one; leave it out")
	}
	for i, status := range u.Probe.Expect {
		if status < 200 || status > 599 {
			p.add(fmt.Sprintf("probe.expect[%d]", i), "must be a status code from 200 to 599")
		}
	}
	if len(u.Probe.Expect) > maxList {
		p.add("probe.expect", fmt.Sprintf("has more than %d entries", maxList))
	}
}

// has reports whether the upstream has an injection of that kind.
func (u *Upstream) has(kind Kind) bool {
	return slices.ContainsFunc(u.Inject, func(i Injection) bool { return i.In == kind })
}
