package main

import (
	"context"
	"errors"
	"net/http"

	"github.com/bursar-sts/bursar/server/ledger"
)

// exchange is a command that gets a token for the tool.
func (d *demo) exchange(args ...string) []string {
	return append([]string{"token", "exchange", "--issuer", d.tenant(), "--resource", d.resource("payments")}, args...)
}

// byAgent are its arguments if the agent asks as itself.
func (d *demo) byAgent(scope string) []string {
	return d.exchange("--subject-token-file", d.path("agent.jwt"), "--scope", scope)
}

// tellToken is the story up to the first token.
func (s *story) tellToken(ctx context.Context) error {
	if err := s.tellTenant(ctx, "acme/payments-key"); err != nil {
		return err
	}
	return s.run(ctx,
		step{says: "The payments API knows nothing but a static key. Whoever runs it makes one.",
			do: curl{method: "POST", url: s.legacy + "/keys", status: http.StatusCreated}, into: s.path("payments.key")},
		step{says: "The key goes into the vault, for this one host. From there nobody reads it back.",
			do: do("secret", "put", "acme/payments-key", "--host", s.legacy, "--activate", "-").
				reading(s.path("payments.key"))},
		step{says: "The agent trades the token that its platform gave it for one that is good for one tool and two minutes.",
			do: do(s.byAgent("payments:refunds.read")...), into: s.path("token.jwt")},
		step{says: "This is what it holds now: one tool (aud), one action (scope), its own name (sub), minutes (exp).",
			do: do("token", "inspect", s.path("token.jwt"))},
		step{says: "Anybody can check it with the tenant's public keys, and asks nobody.",
			do:   do("token", "inspect", "--issuer", s.tenant(), "--audience", s.resource("payments"), s.path("token.jwt")),
			show: 1, holds: "verified"},
		step{says: "Who runs the API gets a secret of their own, if they want to ask about tokens,",
			do: do("client", "secret", "acme/payments-api"), into: s.path("payments-api.secret")},
		step{says: "and asks whether one is active.",
			do: do("token", "inspect", "--issuer", s.tenant(), "--introspect", "--client-id", "payments-api",
				"--client-secret-file", s.path("payments-api.secret"), s.path("token.jwt")), show: 1})
}

// call is a call of the payments API through the shim.
func (d *demo) call(path string) curl {
	return curl{url: d.resource("payments") + path, token: d.path("token.jwt")}
}

// refundForAlice is what the agent does for alice.
const refundForAlice = `{"payment":"pay-78","amount":1200}`

// tellCalls is what the agent does with its tokens.
func (s *story) tellCalls(ctx context.Context) error {
	refund := s.call("/v1/refunds")
	refund.headers, refund.body = []string{"Content-Type: application/json"}, refundForAlice
	refund.method = http.MethodPost
	forbidden, allowed := refund, refund
	forbidden.status, forbidden.head = http.StatusForbidden, true
	allowed.status, allowed.token = http.StatusCreated, s.path("alice.jwt")
	return s.run(ctx,
		step{says: "The agent calls the payments API through the shim, with that token. The shim puts the key in its place.",
			do: s.call("/v1/refunds/re-1000"), keep: s.path("agent/refund.json"), holds: `"key":"key-1"`},
		step{says: "This API repeats what it was sent, as debugging endpoints do. The agent's token did not reach it " +
			"(Authorization),\n   and its key (X-Api-Key) does not reach the agent.",
			do: s.call("/v1/echo"), keep: s.path("agent/echo.json"), holds: `"X-Api-Key":["****`},
		step{says: "What the token does not cover, the API never hears of.",
			do: forbidden, keep: s.path("agent/forbidden.txt"), holds: "insufficient_scope"},
		step{says: "For more, the agent must act for somebody: alice's token is the subject, its own the actor.",
			do: do(s.exchange("--subject-token-file", s.path("user.jwt"), "--actor-token-file", s.path("agent.jwt"),
				"--scope", "payments:refunds.create")...), into: s.path("alice.jwt")},
		step{says: "The token names both: alice (sub), and the agent that acts for her (act).",
			do: do("token", "inspect", s.path("alice.jwt"))},
		step{says: "With it, the refund is made.", do: allowed, keep: s.path("agent/made.json"), holds: `"id":"re-1001"`})
}

// tellRefusal is what becomes of a request that no policy allows.
func (s *story) tellRefusal(ctx context.Context) error {
	err := s.run(ctx, step{
		says: "What no policy allows is refused. The caller learns no reason, only under which id to ask for it.",
		do:   refused(s.byAgent("payments:refunds.delete")...)})
	if err != nil {
		return err
	}
	decision, ok := s.word(func(word string) bool { _, ok := ledger.IDTime(word); return ok })
	if !ok {
		return errors.New("the refused caller was told no decision's id")
	}
	return s.run(ctx, step{
		says: "The operator asks, and sees every step: what there was, what it left, and which rule or check refused.",
		do:   do("explain", "acme", decision)})
}
