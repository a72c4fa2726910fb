package demolegacy_test

import (
	"bufio"
	"net/http"
	"strings"
	"testing"

	"github.com/bursar-sts/bursar/cmd/demolegacy"
)

// client talks to an MCP server.
type client struct {
	url     string
	headers []string
}

func newClient(t *testing.T) *client {
	t.Helper()
	server := demolegacy.NewMCP(quick)
	key := server.Keys.New()
	return &client{serve(t, server) + "/", []string{"Content-Type: application/json",
		"Accept: application/json, text/event-stream", "Authorization: Bearer " + key}}
}

// initialize begins a session.
func (c *client) initialize(t *testing.T) {
	t.Helper()
	resp := c.send(t, `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18"}}`)
	if got := text(t, resp); !strings.Contains(got, `"protocolVersion":"2025-06-18"`) {
		t.Fatalf("initialize: %d %s", resp.StatusCode, got)
	}
	c.headers = append(c.headers, "Mcp-Session-Id: "+resp.Header.Get("Mcp-Session-Id"), "Mcp-Protocol-Version: 2025-06-18")
}

func (c *client) send(t *testing.T, message string, more ...string) *http.Response {
	t.Helper()
	return ask(t, "POST", c.url, message, append(append([]string{}, c.headers...), more...)...)
}

func TestASessionOfMCP(t *testing.T) {
	c := newClient(t)
	c.initialize(t)
	for _, step := range []struct{ says, message, media, want string }{
		{"a notification is taken", `{"jsonrpc":"2.0","method":"notifications/initialized"}`, "", ""},
		{"ping", `{"jsonrpc":"2.0","id":"a","method":"ping"}`, "application/json", `{"jsonrpc":"2.0","id":"a","result":{}}`},
		{"tools are listed", `{"jsonrpc":"2.0","id":2,"method":"tools/list"}`, "application/json", `"name":"get_ticket"`},
		{"a tool is called, and answers as a stream",
			`{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"get_ticket","arguments":{"id":"T-1"}}}`,
			"text/event-stream", `"isError":false`},
		{"a tool says that it failed",
			`{"jsonrpc":"2.0","id":4,"method":"tools/call","params":{"name":"get_ticket","arguments":{"id":"T-2"}}}`,
			"text/event-stream", `"isError":true`},
		{"debug repeats the headers", `{"jsonrpc":"2.0","id":5,"method":"tools/call","params":{"name":"debug"}}`,
			"text/event-stream", `Bearer legacy-`},
		{"an unknown tool", `{"jsonrpc":"2.0","id":6,"method":"tools/call","params":{"name":"none"}}`,
			"application/json", `"code":-32602`},
		{"progress that nobody asked for",
			`{"jsonrpc":"2.0","id":6,"method":"tools/call","params":{"name":"watch_ticket","arguments":{"id":"T-1"}}}`,
			"application/json", `"code":-32602`},
		{"an unknown method", `{"jsonrpc":"2.0","id":7,"method":"resources/list"}`, "application/json", `"code":-32601`},
	} {
		resp := c.send(t, step.message)
		status := http.StatusOK
		if step.want == "" {
			status = http.StatusAccepted
		}
		got := text(t, resp)
		if resp.StatusCode != status || resp.Header.Get("Content-Type") != step.media || !strings.Contains(got, step.want) {
			t.Errorf("%s: %d %s %s", step.says, resp.StatusCode, resp.Header, got)
		}
	}
	if status := ask(t, "DELETE", c.url, "", c.headers...).StatusCode; status != 204 {
		t.Errorf("end: %d", status)
	}
	if status := c.send(t, `{"jsonrpc":"2.0","id":8,"method":"ping"}`).StatusCode; status != 404 {
		t.Errorf("after the end: %d", status)
	}
}

func TestWatchingReportsProgressUntilNobodyListens(t *testing.T) {
	c := newClient(t)
	c.initialize(t)
	resp := c.send(t, `{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"watch_ticket",
		"arguments":{"id":"T-1"},"_meta":{"progressToken":"p"}}}`)
	lines := bufio.NewScanner(resp.Body)
	for seen := 0; seen < 3; {
		if !lines.Scan() {
			t.Fatalf("the stream ended after %d events: %v", seen, lines.Err())
		}
		if strings.HasPrefix(lines.Text(), "data: ") {
			seen++
			if !strings.Contains(lines.Text(), `"progressToken":"p"`) {
				t.Errorf("event %s", lines.Text())
			}
		}
	}
}

func TestWhatIsNoMessageOfMCPIsRefused(t *testing.T) {
	c := newClient(t)
	ping := `{"jsonrpc":"2.0","id":1,"method":"ping"}`
	for _, step := range []struct {
		says    string
		body    string
		headers []string
		want    int
	}{
		{"a wrong key", ping, []string{"Authorization: Bearer legacy-"}, 401},
		{"the key under another scheme", ping, []string{"Authorization: Basic legacy-"}, 401},
		{"a browser", ping, []string{"Origin: https://evil.example"}, 403},
		{"another media type", ping, []string{"Content-Type: text/plain"}, 415},
		{"a client that takes no streams", ping, []string{"Accept: application/json"}, 406},
		{"a batch", "[" + ping + "]", nil, 400},
		{"another version of JSON-RPC", `{"id":1,"method":"ping"}`, nil, 400},
		{"no session", ping, nil, 400},
		{"another's session", ping, []string{"Mcp-Session-Id: x"}, 404},
		{"another revision", ping, []string{"Mcp-Session-Id: x", "Mcp-Protocol-Version: 1999-12-31"}, 400},
	} {
		if got := c.send(t, step.body, step.headers...).StatusCode; got != step.want {
			t.Errorf("%s: %d, want %d", step.says, got, step.want)
		}
	}
	if got := ask(t, "GET", c.url, "", c.headers...).StatusCode; got != 405 {
		t.Errorf("a stream that nothing would come on: %d", got)
	}
}
