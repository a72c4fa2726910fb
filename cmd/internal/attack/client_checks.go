package attack

import (
	"context"
	"encoding/base64"
	"fmt"

	"github.com/bursar-sts/bursar/cmd/internal/attack/findings"
	"github.com/bursar-sts/bursar/cmd/internal/attack/forge"
)

// clientChecks send the least number of wrong secrets that shows anything, so that no limit locks the client out.
func clientChecks() []check {
	return []check{
		{is("client.none", "B1", findings.Must, findings.High, "a client that has credentials must present them",
			"RFC 6749 §3.2.1", "Refuse requests without credentials; a client id alone proves nothing."),
			plain, []need{hasCredentials}, func(ctx context.Context, p *probe) {
				w := unauthorized.or("invalid_request") // a subject token may be what proves a client
				p.refuse(ctx, "no credentials", w, as(nil))
				p.refuse(ctx, "client_id alone", w, as(nil), set("client_id", p.client.id))
			}},
		{is("client.unknown", "B2", findings.Must, findings.High, "an unknown client gets no token",
			"RFC 6749 §5.2", "Answer invalid_client, with 401 and WWW-Authenticate to HTTP Basic."),
			plain, nil, func(ctx context.Context, p *probe) {
				a := p.refuse(ctx, "HTTP Basic of an unknown client", invalidClient,
					as(&client{id: "no-such-client-7f3a", auth: authBasic, secret: "wrong-secret-7f3a"}))
				p.challenged(a)
			}},
		{is("client.secret", "B3", findings.Must, findings.High, "a wrong secret gets no token",
			"RFC 6749 §2.3.1", "Compare the whole secret, in constant time."),
			plain, []need{hasSecret}, func(ctx context.Context, p *probe) {
				w := unauthorized
				if p.client.auth == authBasic {
					w = invalidClient
				}
				p.refuse(ctx, "a wrong secret", w, as(p.client.withSecret("wrong-secret-7f3a")))
				p.refuse(ctx, "an empty secret", w.or("invalid_request").orStatus(400), as(p.client.withSecret("")))
			}},
		{is("client.alike", "T-51 B2 B3", findings.Profile, findings.Low,
			"an unknown client and a wrong secret are answered alike",
			"RFC 9700, RFC 6819 §4.3.3", "Give both the same status and body, so that ids cannot be guessed."),
			plain, []need{hasSecret}, func(ctx context.Context, p *probe) {
				unknown := *p.client
				unknown.id, unknown.secret = "no-such-client-7f3a", "wrong-secret-7f3a"
				first := p.refuse(ctx, "an unknown client", unauthorized, as(&unknown))
				second := p.refuse(ctx, "a wrong secret", unauthorized, as(p.client.withSecret("wrong-secret-7f3a")))
				p.alike("the two answers", first, second)
			}},
		{is("client.malformed", "B4", findings.Must, findings.Medium,
			"a malformed Authorization header is a credential that fails",
			"RFC 6749 §5.2, RFC 7617 §2", "Answer invalid_client; do not go on as if there were no credentials."),
			plain, []need{hasCredentials}, func(ctx context.Context, p *probe) {
				noColon := "Basic " + base64.StdEncoding.EncodeToString([]byte("nobody"))
				for sent, value := range inOrder(map[string]string{"Basic without base64": "Basic !!!",
					"Basic without a colon": noColon}) {
					p.refuse(ctx, sent, unauthorized.or("invalid_request"), as(nil), header("Authorization", value))
				}
			}},
		{is("client.two-methods", "B5 T-46", findings.Must, findings.Low, "a client authenticates by one method",
			"RFC 6749 §2.3, §5.2", "Refuse a request with two methods as invalid_request: which one counts is a guess."),
			plain, []need{hasBasic}, func(ctx context.Context, p *probe) {
				w := invalidRequest.or("invalid_client").orStatus(401)
				p.refuse(ctx, "the secret in the header and in the form", w,
					set("client_id", p.client.id), set("client_secret", p.client.secret))
				p.refuse(ctx, "the right secret in the header, a wrong one in the form", w,
					set("client_id", p.client.id), set("client_secret", "wrong-secret-7f3a"))
			}},
		{is("client.two-assertions", "B6 T-46", findings.Must, findings.Medium,
			"an assertion beside a secret does not count as absent",
			"RFC 7521 §4.2.1", "Refuse a client_assertion beside another method as invalid_client."),
			plain, []need{hasBasic}, func(ctx context.Context, p *probe) {
				p.refuse(ctx, "the right secret, and a client_assertion that is garbage", unauthorized.or("invalid_request"),
					set("client_assertion_type", jwtBearer), set("client_assertion", "e30.e30.eA"))
			}},
		{is("client.other-method", "B7 T-46", findings.Profile, findings.Low,
			"a client uses the method that it is registered for",
			"RFC 7591 §2, RFC 9700 §2.5", "Hold a client to its registered token_endpoint_auth_method."),
			plain, []need{hasBasic}, func(ctx context.Context, p *probe) {
				p.refuse(ctx, "the secret in the form", unauthorized.or("invalid_request"), as(p.client.by(authPost)))
			}},
		{is("client.contradiction", "B16", findings.Must, findings.Medium, "client_id does not contradict the credentials",
			"RFC 6749 §3.2.1, RFC 7521 §4.2", "Refuse a client_id that is not the authenticated client's."),
			plain, []need{hasCredentials}, func(ctx context.Context, p *probe) {
				if p.client.auth == authPost {
					p.absent = "the client's id is part of its credentials"
					return
				}
				p.refuse(ctx, "client_id of somebody else", unauthorized.or("invalid_request"),
					set("client_id", "no-such-client-7f3a"))
			}},
		{is("client.ungranted", "B31", findings.Must, findings.High, "a client without this grant gets no token",
			"RFC 6749 §5.2", "Answer unauthorized_client."),
			plain, []need{hasUngranted}, func(ctx context.Context, p *probe) {
				p.refuse(ctx, "a client that is not registered for token exchange",
					want{codes: []string{"unauthorized_client"}}, as(p.ungranted))
			}},
		{is("client.disabled", "B26 T-09", findings.Must, findings.High, "a client that was switched off gets no token",
			"RFC 7592 §2.3", "Ask at every request whether the client still may; its credentials outlive that."),
			plain, []need{hasDisabled}, func(ctx context.Context, p *probe) {
				p.refuse(ctx, "a client that was switched off", unauthorized, as(p.disabled))
			}},
		{is("client.elsewhere", "H1", findings.Must, findings.High, "a client of another tenant is unknown here",
			"RFC 6749 §2.3, §5.2", "Look clients up by the tenant and their id, never by the id alone."),
			plain, []need{hasForeign}, func(ctx context.Context, p *probe) {
				p.refuse(ctx, "a client of another tenant", unauthorized, as(p.foreign))
			}},
		{is("client.certificate-header", "B29 T-50", findings.Must, findings.High,
			"a certificate in a header proves nothing",
			"RFC 9440 §4, RFC 9700 §4.13", "Believe such headers of proxies that you know, and drop everybody else's."),
			plain, []need{hasCredentials}, func(ctx context.Context, p *probe) {
				for name, value := range inOrder(forge.CertificateHeaders(p.client.id)) {
					p.refuse(ctx, "no credentials but "+name, unauthorized.or("invalid_request"), as(nil),
						set("client_id", p.client.id), header(name, value))
				}
			}},
	}
}

// floodChecks come when nothing else needs the client any more.
func floodChecks() []check {
	return []check{
		{is("client.flood", "B32 A24", findings.Profile, findings.Medium, "guessing secrets is slowed down",
			"RFC 6749 §2.3.1, §10.10",
			"Limit failed authentications of a client and of an address; answer 429 and Retry-After."),
			nothing, []need{hasSecret, hasFlood}, func(ctx context.Context, p *probe) {
				n, limited := p.profile.Try.Flood, false
				for range n {
					r, err := p.good(ctx, plain)
					if err != nil {
						p.stop("%v", err)
						return
					}
					a := p.sendOnce(ctx, r.with(as(p.client.withSecret("wrong-secret-7f3a"))))
					if limited = a.status == 429; limited {
						break
					}
				}
				got := "none was limited"
				if limited {
					got = "429"
				}
				p.note(limited, fmt.Sprintf("%d wrong secrets", n), "429 at some point", got)
			}},
	}
}

// withSecret returns the client with another secret.
func (c *client) withSecret(secret string) *client {
	next := *c
	next.secret = secret
	return &next
}

// by returns the client with another way to authenticate.
func (c *client) by(auth string) *client {
	next := *c
	next.auth = auth
	return &next
}

// challenged holds a 401 against RFC 9110 §15.5.2.
func (p *probe) challenged(a *answer) {
	if a != nil && a.status == 401 {
		has := a.header.Get("WWW-Authenticate") != ""
		p.noteAs(findings.Low, findings.Must, has, "the challenge of the 401", "WWW-Authenticate",
			yes(has, "WWW-Authenticate", "no challenge"))
	}
}

// alike expects two refusals that say the same.
func (p *probe) alike(sent string, a, b *answer) {
	if a == nil || b == nil || a.failed+b.failed != "" || a.status == 429 || b.status == 429 {
		p.stop("the answers cannot be compared")
		return
	}
	same := a.status == b.status && a.text("error") == b.text("error") &&
		a.text("error_description") == b.text("error_description")
	got := "the same status, code and description"
	if !same {
		got = a.got() + " and " + b.got()
		if a.got() == b.got() {
			got = "different descriptions"
		}
	}
	p.note(same, sent, "the same status, code and description", got)
}
