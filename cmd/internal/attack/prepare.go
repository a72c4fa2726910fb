package attack

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
)

const grantExchange = "urn:ietf:params:oauth:grant-type:token-exchange" // RFC 8693 §2.1

// base is a good request that checks change.
type base int

const (
	nothing   base = iota // the check makes its own requests
	plain                 // the subject token alone
	delegated             // with an actor token
	again                 // a token of the server's own as the subject token
)

func (b base) String() string {
	return [...]string{"", "the plain exchange", "the exchange with an actor token",
		"the exchange of the server's own token"}[b]
}

// prepare finds the server and makes sure that good requests are granted.
func (s *suite) prepare(ctx context.Context) error {
	if err := s.discover(ctx); err != nil {
		return err
	}
	if err := s.load(); err != nil {
		return &Unable{Reason: "the profile cannot be used: " + err.Error(),
			Hint: "paths in a profile begin at its own directory"}
	}
	var err error
	if s.listener, err = listen(s.profile.Callback); err != nil {
		return &Unable{Reason: err.Error(), Hint: "the suite needs a free port on loopback"}
	}
	r, err := s.good(ctx, plain)
	if err != nil {
		return &Unable{Reason: "no subject token: " + err.Error(), Hint: "check subject in the profile"}
	}
	if a := s.send(ctx, r); !a.issued() {
		return &Unable{Reason: "the good request gets no token: " + a.got(), Hint: s.hint(a)}
	}
	s.tryDelegation(ctx)
	s.tryAgain(ctx)
	return nil
}

// hint guesses what is wrong with the profile.
func (s *suite) hint(a *answer) string {
	switch {
	case a.failed != "":
		return "check the address, and that the server is running"
	case a.code() == "invalid_client" || a.status == http.StatusUnauthorized:
		return "check client in the profile: its id, auth and secret or key"
	case a.code() == "invalid_target":
		return "check resource and audience of request in the profile"
	case a.code() == "invalid_scope":
		return "check scope of request in the profile"
	case a.code() == "unsupported_grant_type" || a.code() == "unauthorized_client":
		return "the server must offer token exchange to this client"
	}
	return "check subject in the profile: its type, and for an issuer iss, key, audience and claims; " +
		"the server's log may say more"
}

// load makes the profile's clients and sources.
func (s *suite) load() error {
	var err error
	made := func(c *Client) (made *client) {
		if err == nil {
			made, err = newClient(s.profile, c, s.server.Issuer, s.config.Env)
		}
		return made
	}
	drawn := func(c *Source) (made *source) {
		if err == nil {
			made, err = s.newSource(c)
		}
		return made
	}
	p := s.profile
	s.client = made(&p.Client)
	s.other, s.reader, s.ungranted = made(p.Others.Client), made(p.Others.ResourceServer), made(p.Others.Ungranted)
	s.disabled, s.foreign = made(p.Others.Disabled), made(p.Others.Foreign)
	if s.reader == nil && s.client.confidential() {
		s.reader = s.client
	}
	s.subject = drawn(&p.Subject)
	s.suspects = map[string]*source{}
	for name, source := range p.Refused {
		s.suspects[name] = drawn(source)
	}
	if d := p.Delegation; d != nil {
		s.delegation = &delegation{client: s.client, subject: s.subject, actor: drawn(&d.Actor),
			otherActor: drawn(d.OtherActor), request: p.Request}
		if d.Client != nil {
			s.delegation.client = made(d.Client)
		}
		if d.Subject != nil {
			s.delegation.subject = drawn(d.Subject)
		}
		if d.Request != nil {
			s.delegation.request = *d.Request
		}
	}
	s.again.client, s.again.request = s.client, p.Request
	if p.Again != nil && p.Again.Client != nil {
		s.again.client = made(p.Again.Client)
	}
	if p.Again != nil && p.Again.Request != nil {
		s.again.request = *p.Again.Request
	}
	return err
}

// post returns an empty form for an endpoint.
func (s *suite) post(endpoint string, c *client) *request {
	return &request{method: http.MethodPost, url: endpoint, form: url.Values{}, media: formType,
		header: http.Header{"Accept": {"application/json"}}, client: c}
}

// exchange returns a request of RFC 8693 §2.1 without its tokens.
func (s *suite) exchange(c *client, q Request) *request {
	r := s.post(s.server.Token, c)
	r.set("grant_type", grantExchange)
	for name, value := range map[string]string{"resource": q.Resource, "audience": q.Audience, "scope": q.Scope} {
		if value != "" {
			r.set(name, value)
		}
	}
	for name, value := range q.Parameters {
		r.set(name, value)
	}
	return r
}

// good returns a fresh request that the server should grant.
func (s *suite) good(ctx context.Context, b base) (*request, error) {
	switch b {
	case delegated:
		d := s.delegation
		r := s.exchange(d.client, d.request)
		if err := s.put(ctx, r, "subject_token", d.subject); err != nil {
			return nil, err
		}
		return r, s.put(ctx, r, "actor_token", d.actor)
	case again:
		own, err := s.own(ctx)
		if err != nil {
			return nil, err
		}
		r := s.exchange(s.again.client, s.again.request)
		r.set("subject_token", own)
		r.set("subject_token_type", typePrefix+"access_token")
		return r, nil
	}
	r := s.exchange(s.client, s.profile.Request)
	return r, s.put(ctx, r, "subject_token", s.subject)
}

func (s *suite) put(ctx context.Context, r *request, name string, o *source) error {
	token, err := o.get(ctx)
	r.set(name, token)
	r.set(name+"_type", o.kind)
	return err
}

// own returns a fresh token of the server's.
func (s *suite) own(ctx context.Context) (string, error) {
	r, err := s.good(ctx, plain)
	if err != nil {
		return "", err
	}
	a := s.send(ctx, r)
	if !a.issued() {
		return "", fmt.Errorf("the plain exchange gets no token: %s", a.got())
	}
	return a.token(), nil
}

func (s *suite) tryDelegation(ctx context.Context) {
	if s.delegation == nil {
		return
	}
	r, err := s.good(ctx, delegated)
	if err != nil {
		s.delegation.reason = err.Error()
		return
	}
	a := s.send(ctx, r)
	s.delegation.works, s.delegation.reason = a.issued(), a.got()
}

func (s *suite) tryAgain(ctx context.Context) {
	r, err := s.good(ctx, again)
	if err != nil {
		s.again.reason = err.Error()
		return
	}
	a := s.send(ctx, r)
	s.again.works, s.again.reason = a.issued(), a.got()
}
