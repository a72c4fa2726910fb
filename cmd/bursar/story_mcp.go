package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
)

// message is a POST of one JSON-RPC message to the server, as streamable HTTP has it.
func (d *demo) message(body string, headers ...string) curl {
	usual := []string{"Content-Type: application/json", "Accept: application/json, text/event-stream"}
	return curl{method: http.MethodPost, url: d.resource("tickets"), token: d.path("token.jwt"), body: body,
		headers: append(usual, headers...)}
}

const initialize = `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18",` +
	`"capabilities":{},"clientInfo":{"name":"demo-agent","version":"1"}}}`

// tellDiscovery is how an agent that knows an address alone finds where to get a token.
func (s *story) tellDiscovery(ctx context.Context) error {
	hello := s.message(initialize)
	hello.token, hello.status, hello.head = "", http.StatusUnauthorized, true
	if err := s.tellTenant(ctx, "acme/tickets-key"); err != nil {
		return err
	}
	err := s.run(ctx,
		step{says: "The MCP server knows nothing but a static key. Whoever runs it makes one.",
			do: curl{method: "POST", url: s.mcp + "/keys", status: http.StatusCreated}, into: s.path("tickets.key")},
		step{says: "The key goes into the vault, for this one host. From there nobody reads it back.",
			do: do("secret", "put", "acme/tickets-key", "--host", s.mcp, "--activate", "-").
				reading(s.path("tickets.key"))},
		step{says: "The agent knows an address and nothing else. It says hello, and is told where to read on.",
			do: hello, keep: s.path("agent/hello.txt"), holds: "resource_metadata"})
	if err != nil {
		return err
	}
	found := regexp.MustCompile(`resource_metadata="([^"]+)"`).FindStringSubmatch(s.said)
	if found == nil {
		return errors.New("the challenge names no metadata")
	}
	err = s.run(ctx, step{says: "There it learns who issues tokens for this server, and for what (RFC 9728).",
		do: curl{url: found[1]}, keep: s.path("agent/metadata.json")})
	if err != nil {
		return err
	}
	var metadata struct {
		Resource string   `json:"resource"`
		Servers  []string `json:"authorization_servers"`
	}
	err = json.Unmarshal([]byte(s.said), &metadata)
	if err != nil || metadata.Resource != hello.url || len(metadata.Servers) != 1 {
		return fmt.Errorf("the metadata are not those of %s: %w", hello.url, errors.Join(err))
	}
	return s.run(ctx, step{
		says: "It trades the token that its platform gave it for one that is good for this server alone.",
		do: do("token", "exchange", "--issuer", metadata.Servers[0], "--resource", metadata.Resource,
			"--subject-token-file", s.path("agent.jwt")), into: s.path("token.jwt")})
}

// called is a call of a tool.
func called(id int, tool, arguments, more string) string {
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":%q,"arguments":%s%s}}`,
		id, tool, arguments, more)
}

// tellSession is a session of MCP through the shim.
func (s *story) tellSession(ctx context.Context) error {
	hello := s.message(initialize)
	hello.head = true
	err := s.run(ctx, step{says: "With that, it says hello again. The shim puts the key in the token's place.",
		do: hello, keep: s.path("agent/hello.txt"), holds: "demo-tickets"})
	if err != nil {
		return err
	}
	found := regexp.MustCompile(`(?im)^(Mcp-Session-Id: \S+)`).FindStringSubmatch(s.said)
	if found == nil {
		return errors.New("the server began no session")
	}
	s.session = []string{found[1], "Mcp-Protocol-Version: 2025-06-18"}
	ready := s.message(`{"jsonrpc":"2.0","method":"notifications/initialized"}`, s.session...)
	ready.status = http.StatusAccepted
	other := s.message(`{"jsonrpc":"2.0","id":5,"method":"resources/list"}`, s.session...)
	other.status = http.StatusForbidden
	return s.run(ctx,
		step{says: "The session has begun.", do: ready},
		step{says: "The server lists its tools,",
			do: s.message(`{"jsonrpc":"2.0","id":2,"method":"tools/list"}`, s.session...), keep: s.path("agent/tools.json")},
		step{says: "and the agent calls one.", do: s.message(called(3, "get_ticket", `{"id":"T-1"}`, ""), s.session...),
			keep: s.path("agent/ticket.txt"), holds: "on fire"},
		step{says: "This server repeats what it was sent, in the result of a tool. The agent does not get the key.",
			do: s.message(called(4, "debug", "{}", ""), s.session...), keep: s.path("agent/debug.txt"), holds: "Bearer ****"},
		step{says: "Methods that the operator did not list never reach the server.", do: other,
			keep: s.path("agent/other.json"), holds: "body_constraint"},
		step{says: "The key is in no file but the one of whoever made it: not in what the agent has or was sent, not in " +
			"the\n   server's store or log.", do: s.search(s.path("tickets.key"))})
}

// tellCut is the end of the agent.
func (s *story) tellCut(ctx context.Context) error {
	watch := s.message(called(6, "watch_ticket", `{"id":"T-1"}`, `,"_meta":{"progressToken":"p-1"}`), s.session...)
	s.stream = follow(watch, s.path("agent/progress.txt"))
	ping := s.message(`{"jsonrpc":"2.0","id":7,"method":"ping"}`, s.session...)
	ping.status = http.StatusUnauthorized
	return s.run(ctx,
		step{says: "A tool that takes its time reports progress, event by event.", do: s.stream.start()},
		step{says: "It goes on and on,", do: s.stream.more()},
		step{says: "until the agent is revoked:", do: do("revoke", "acme", "--client", "ap-bot")},
		step{says: "it is cut off, in the middle of the call,", do: s.stream.end()},
		step{says: "and the next one is refused.", do: ping, keep: s.path("agent/refused.json"), holds: "invalid_token"},
		step{says: "The agent is repaired and enabled again; what was revoked stays revoked.",
			do: do("enable", "acme", "--client", "ap-bot")},
		step{says: "Each use of the key is on record, before the call left (intent) and when it had ended (outcome).",
			do: do("audit", "tail", "acme", "-n", "40"), holds: "key.use"})
}
