package operator

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Bounds of an EventQuery.
const (
	MaxEvents = 1000
	MaxWait   = 30 * time.Second
)

// EventQuery says which events of a log are wanted. The zero value asks for the first ones.
type EventQuery struct {
	// After is how many events of the log are already known: the answer begins with the event of this index. A negative
	// number counts from the end, so that -10 asks for the newest ten.
	After int64
	// Limit bounds the answer, 1 to MaxEvents; zero means 100.
	Limit int
	// Wait is how long the server holds the answer while there is no event, at most MaxWait; whole seconds. Zero answers
	// at once.
	Wait time.Duration
}

// Event is one record of a log.
type Event struct {
	Index int64 `json:"index"` // its place in the log, from 0
	// SET is the security event token as it is signed (RFC 8417), a compact JWS: the entry of the log's Merkle tree.
	SET string `json:"set,omitempty"`
	// Claims are those of the security event token (RFC 8417 §2.2).
	Claims json.RawMessage `json:"claims"`
}

// Events is a part of a log, in order and without gaps.
type Events struct {
	Events []Event `json:"events"` // may be empty, never null
	// Next is the After of the query that continues here.
	Next int64 `json:"next"`
}

// Events reads the tenant's log. Admin, auditor.
//
//	GET /t/{tenant}/events?after=N&limit=N&wait=seconds → 200 Events
//	400 invalid_request: a parameter is not a whole number or out of range
func (c *Client) Events(ctx context.Context, tenant string, q EventQuery) (*Events, error) {
	return c.events(ctx, at(http.MethodGet, tenant, "events"), q)
}

// PlatformEvents reads the platform's log. Platform operators only.
//
//	GET /platform/events?after=N&limit=N&wait=seconds → 200 Events
//	400 invalid_request: a parameter is not a whole number or out of range
func (c *Client) PlatformEvents(ctx context.Context, q EventQuery) (*Events, error) {
	return c.events(ctx, api(http.MethodGet, "platform", "events"), q)
}

func (c *Client) events(ctx context.Context, k call, q EventQuery) (*Events, error) {
	k.wait, k.query = q.Wait, url.Values{"after": {strconv.FormatInt(q.After, 10)}}
	if q.Limit != 0 {
		k.query.Set("limit", strconv.Itoa(q.Limit))
	}
	if q.Wait > 0 {
		k.query.Set("wait", strconv.Itoa(int(q.Wait/time.Second)))
	}
	return one[Events](ctx, c, k)
}

// Version is which server answers.
type Version struct {
	Version string `json:"version"` // as `bursar version` prints it
	Go      string `json:"go"`      // the Go release that built it
}

// Version returns the version of the server. Platform operators.
//
//	GET /version → 200 Version
func (c *Client) Version(ctx context.Context) (*Version, error) {
	return one[Version](ctx, c, api(http.MethodGet, "version"))
}

// OpenAPI returns the description of the admin API (OpenAPI 3.1). It needs no token.
//
//	GET /openapi.json → 200
func (c *Client) OpenAPI(ctx context.Context) (json.RawMessage, error) {
	k := api(http.MethodGet, "openapi.json")
	k.public = true
	raw, err := one[json.RawMessage](ctx, c, k)
	if err != nil {
		return nil, err
	}
	return *raw, nil
}

// Ready asks whether the server can issue: nil, or the *Problem with status 503 that it answers. It needs no token.
//
//	GET {server}/readyz, outside /admin/v1 → 200, the body is not read; 503
func (c *Client) Ready(ctx context.Context) error {
	return c.do(ctx, call{method: http.MethodGet, path: []string{"readyz"}, public: true}, nil)
}
