package operator

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/bursar-sts/bursar/clients/auditor"
)

// Log is one audit log: its events, and the Merkle tree over them in the formats of C2SP, which package auditor reads
// and verifies. Admin, auditor; of the platform's log, platform operators. Keys and VerifierKeys need no token.
//
// Its calls are below {server}/t/{tenant}/log, those of the platform's log below {server}/log, where server is the
// server's base_url: they are not part of the admin API, nor of a listener of its own. Refusals are those of the admin
// API; beside them any call can end in
//
//	404 not_found  the log does not have that yet
//	410 gone       the log was pruned: it does not have that any more, and begins at Problem.First
type Log struct {
	client *Client
	base   call
}

// Log returns the log of a tenant.
func (c *Client) Log(tenant string) *Log {
	return &Log{c, call{method: http.MethodGet}.below("t").slug("tenant", tenant).below("log")}
}

// PlatformLog returns the log of the platform's own actions.
func (c *Client) PlatformLog() *Log { return &Log{c, call{method: http.MethodGet}.below("log")} }

const (
	textMedia   = "text/plain"
	binaryMedia = "application/octet-stream"
	lineMedia   = "application/x-ndjson"
)

// file makes a call that answers something of the media type as it stands.
func (l *Log) file(ctx context.Context, k call, media string) ([]byte, error) {
	k.accept = media
	resp, body, err := l.client.ask(ctx, k)
	if err == nil && !isMedia(resp, media) {
		err = fmt.Errorf("%w: the response is not %s; is this a bursar server?", ErrNoAnswer, media)
	}
	if err != nil {
		return nil, err
	}
	return body, nil
}

// Checkpoint returns the newest signed head of the tree (auditor.OpenCheckpoint). It covers everything that was
// recorded before it was asked for.
//
//	GET checkpoint → 200 text/plain
func (l *Log) Checkpoint(ctx context.Context) ([]byte, error) {
	return l.file(ctx, l.base.below("checkpoint"), textMedia)
}

// Witnessed returns the newest checkpoint that a witness has signed too, with its signatures (C2SP tlog-cosignature).
// It may be older than Checkpoint.
//
//	GET checkpoint/witnessed → 200 text/plain
func (l *Log) Witnessed(ctx context.Context) ([]byte, error) {
	return l.file(ctx, l.base.below("checkpoint", "witnessed"), textMedia)
}

// Tile returns the first width hashes of a tile, 32 bytes each; a full tile has 256. Which tiles a tree has follows
// from its size (C2SP tlog-tiles).
//
//	GET tile/<level>/<index>[.p/<width>] → 200 application/octet-stream
func (l *Log) Tile(ctx context.Context, level int, index int64, width int) ([]byte, error) {
	if level < 0 || level > auditor.MaxLevel {
		return nil, fmt.Errorf("a tile's level is 0 to %d", auditor.MaxLevel)
	}
	return l.tile(ctx, index, width, func() string { return auditor.TilePath(level, index, width) })
}

// Bundle returns the first width entries of a bundle (auditor.SplitBundle); a full one has 256.
//
//	GET tile/entries/<index>[.p/<width>] → 200 application/octet-stream
func (l *Log) Bundle(ctx context.Context, index int64, width int) ([]byte, error) {
	return l.tile(ctx, index, width, func() string { return auditor.BundlePath(index, width) })
}

func (l *Log) tile(ctx context.Context, index int64, width int, path func() string) ([]byte, error) {
	if index < 0 || width < 1 || width > auditor.TileWidth {
		return nil, fmt.Errorf("a tile has an index from 0 on and a width of 1 to %d", auditor.TileWidth)
	}
	return l.file(ctx, l.base.below(strings.Split(path(), "/")...), binaryMedia)
}

// Keys returns the signed list of the keys that sign events (auditor.OpenKeys). It needs no token.
//
//	GET keys → 200 text/plain
func (l *Log) Keys(ctx context.Context) ([]byte, error) {
	k := l.base.below("keys")
	k.public = true
	return l.file(ctx, k, textMedia)
}

// VerifierKeys returns the public keys that sign checkpoints and the list of keys, the newest first (C2SP signed-note;
// note.NewVerifier). It needs no token.
//
//	GET vkey → 200 text/plain, a key a line
func (l *Log) VerifierKeys(ctx context.Context) ([]string, error) {
	k := l.base.below("vkey")
	k.public = true
	text, err := l.file(ctx, k, textMedia)
	if err != nil {
		return nil, err
	}
	return strings.Fields(string(text)), nil
}

// EventID names an event: by the id of a token, by that of a decision, or else by its index.
type EventID struct {
	// JTI is the event's own id, or that of a token, whose issue is meant then.
	JTI string
	// Decision is the decision_id of a token request.
	Decision string
	Index    int64
}

// Proof returns the proof that an event is in the log (C2SP tlog-proof): its index, the hashes up to the root, and the
// checkpoint.
//
//	GET proof?index=N | jti=ID | decision=ID → 200 text/plain
//	400 invalid_request: the id cannot be one
func (l *Log) Proof(ctx context.Context, id EventID) ([]byte, error) {
	k := l.base.below("proof")
	k.query = url.Values{}
	switch {
	case id.JTI != "":
		k.query.Set("jti", id.JTI)
	case id.Decision != "":
		k.query.Set("decision", id.Decision)
	default:
		k.query.Set("index", strconv.FormatInt(id.Index, 10))
	}
	return l.file(ctx, k, textMedia)
}

// Consistency returns the proof that the log, when it had from events, was the beginning of what it was with to events:
// a line "old <from>" and one for each hash (C2SP tlog-witness). to zero leads to the newest checkpoint, which follows
// after an empty line: that is what a witness takes.
//
//	GET consistency?from=N&to=N → 200 text/plain
//	400 invalid_request: from is larger than what it leads to
func (l *Log) Consistency(ctx context.Context, from, to int64) ([]byte, error) {
	k := l.base.below("consistency")
	k.query = url.Values{"from": {strconv.FormatInt(from, 10)}}
	if to != 0 {
		k.query.Set("to", strconv.FormatInt(to, 10))
	}
	return l.file(ctx, k, textMedia)
}
