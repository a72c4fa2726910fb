package demolegacy

import (
	"encoding/json"
	"net/http"
	"time"
)

// schema is the JSON Schema of an object with the given properties, all of them strings and needed.
func schema(properties ...string) map[string]any {
	types := map[string]any{}
	for _, name := range properties {
		types[name] = map[string]any{"type": "string"}
	}
	return map[string]any{"type": "object", "properties": types, "required": append([]string{}, properties...)}
}

// ticketTools are what tools/list tells.
var ticketTools = []map[string]any{
	{"name": "get_ticket", "description": "Reads a ticket of the help desk", "inputSchema": schema("id")},
	{"name": "watch_ticket", "description": "Reports progress on a ticket, until nobody listens",
		"inputSchema": schema("id")},
	{"name": "debug", "description": "Repeats the headers of the call, as servers do that were debugged in a hurry",
		"inputSchema": schema()},
}

var tickets = map[string]string{"T-1": "The printer on the second floor is on fire again."}

// call is a call of a tool that is being answered.
type call struct {
	Name      string            `json:"name"`
	Arguments map[string]string `json:"arguments"`
	Meta      struct {
		Progress json.RawMessage `json:"progressToken"` // a string or a number; absent if no progress is wanted
	} `json:"_meta"`
}

// content is the result of a tool: one text.
func content(text string, isError bool) map[string]any {
	return map[string]any{"content": []map[string]any{{"type": "text", "text": text}}, "isError": isError}
}

func (m *MCP) call(w http.ResponseWriter, r *http.Request, request message) {
	var c call
	if json.Unmarshal(request.Params, &c) != nil {
		writeJSON(w, http.StatusOK, request.failed(invalidParams, "arguments are strings by name"))
		return
	}
	switch {
	case c.Name == "get_ticket":
		_ = newStream(w).send("message", request.result(ticket(c.Arguments["id"]))) // the client went away
	case c.Name == "watch_ticket" && len(c.Meta.Progress) > 0:
		m.watch(newStream(w), r, c)
	case c.Name == "watch_ticket":
		writeJSON(w, http.StatusOK, request.failed(invalidParams, "to watch is to have a progressToken"))
	case c.Name == "debug":
		headers, err := json.Marshal(r.Header)
		_ = newStream(w).send("message", request.result(content(string(headers), err != nil)))
	default:
		writeJSON(w, http.StatusOK, request.failed(invalidParams, "there is no tool "+c.Name))
	}
}

func ticket(id string) map[string]any {
	if text, ok := tickets[id]; ok {
		return content(id+": "+text, false)
	}
	return content("there is no ticket "+id, true)
}

// watch reports progress until the caller is gone; it has no result.
func (m *MCP) watch(s *stream, r *http.Request, c call) {
	tick := time.NewTicker(m.every)
	defer tick.Stop()
	for number := 1; ; number++ {
		err := s.send("message", map[string]any{"jsonrpc": "2.0", "method": "notifications/progress",
			"params": map[string]any{"progressToken": c.Meta.Progress, "progress": number,
				"message": c.Arguments["id"] + " is as it was"}})
		if err != nil {
			return
		}
		select {
		case <-tick.C:
		case <-r.Context().Done():
			return
		}
	}
}
