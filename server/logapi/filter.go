package logapi

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/ledger"
)

var filterParameters = []string{"event", "outcome", "client", "tool", "jti", "decision", "txn", "subject", "since",
	"until"}

// filter says which events are wanted: those that have all that it names. Its zero value wants all.
type filter struct {
	names    []string // or what they begin with, up to a dot; one is enough
	outcome  string
	client   string // that asked, or was changed or revoked; so of the tool
	tool     string
	jti      string // of the event, or of a token that it is about
	decision string
	txn      string // the run
	subject  string // who acted, or for whom
	since    time.Time
	until    time.Time
	all      bool     // nothing is named
	must     [][]byte // what the text of a wanted record holds, so that most are passed over without being parsed
}

func newFilter(q *query) *filter {
	f := &filter{
		names: q.texts("event"), outcome: q.choice("outcome", "", "allowed", "denied", "error"),
		client: q.text("client"), tool: q.text("tool"), jti: q.text("jti"), decision: q.text("decision"),
		txn: q.text("txn"), subject: q.text("subject"), since: q.time("since"), until: q.time("until"),
	}
	f.all = !slices.ContainsFunc(filterParameters, q.values.Has)
	for _, id := range []string{f.jti, f.decision, f.txn} {
		if id != "" && !strings.ContainsFunc(id, escaped) {
			f.must = append(f.must, []byte(id))
		}
	}
	return f
}

// escaped reports whether JSON may have another spelling of a character.
func escaped(r rune) bool { return r < ' ' || r > '~' || strings.ContainsRune(`"\\/<>&`, r) }

// clocks is how far the clocks of a log's writers may be apart.
const clocks = time.Minute

// from returns a time before which nothing is wanted; the zero time if there is none.
func (f *filter) from() time.Time {
	if made, ok := ledger.IDTime(f.decision); ok && made.After(f.since) {
		return made
	}
	return f.since
}

// over reports whether nothing that follows r is wanted.
func (f *filter) over(r audit.Record) bool {
	return !f.until.IsZero() && r.Time().After(f.until.Add(clocks))
}

// seen is what a filter looks at.
type seen struct {
	ID      string `json:"jti"`
	Txn     string `json:"txn"`
	Issued  int64  `json:"iat"`
	Subject struct {
		ID  string `json:"id"`
		URI string `json:"uri"`
	} `json:"sub_id"`
	Events map[string]struct {
		audit.Body
		Agent string `json:"agent"`
	} `json:"events"`
}

// match reports whether a record is wanted. What cannot be read has nothing that could be named.
func (f *filter) match(r audit.Record) bool {
	if f.all {
		return true
	}
	for _, id := range f.must {
		if !bytes.Contains(r.Claims, id) {
			return false
		}
	}
	var s seen
	if json.Unmarshal(r.Claims, &s) != nil {
		return false
	}
	if !f.within(time.Unix(s.Issued, 0)) {
		return false
	}
	for uri, e := range s.Events {
		b := &e.Body
		if f.named(uri) && is(f.outcome, string(b.Outcome)) && is(f.decision, b.DecisionID) &&
			is(f.client, b.ClientID, of(b, "client")) && is(f.tool, b.Tool, of(b, "tool")) &&
			is(f.txn, s.Txn, of(b, "run")) && is(f.jti, append(tokens(b), s.ID)...) &&
			is(f.subject, append(subjects(b), s.Subject.ID, s.Subject.URI, e.Agent)...) {
			return true
		}
	}
	return false
}

// is reports whether what is wanted is among what there is. Who names nothing wants all.
func is(want string, there ...string) bool { return want == "" || slices.Contains(there, want) }

// within reports whether a time is one of those that are wanted; those of records are whole seconds.
func (f *filter) within(at time.Time) bool {
	return !at.Before(f.since.Truncate(time.Second)) && (f.until.IsZero() || !at.After(f.until))
}

// named reports whether an event of the type is wanted.
func (f *filter) named(uri string) bool {
	name, _, _ := strings.Cut(strings.TrimPrefix(uri, "urn:bursar:event:"), ":")
	return len(f.names) == 0 || slices.ContainsFunc(f.names, func(want string) bool {
		return name == want || strings.HasPrefix(name, strings.TrimSuffix(want, ".")+".")
	})
}

// of returns the id of what an event changes or revokes, if that is of the kind.
func of(b *audit.Body, kind string) string {
	switch kind {
	case b.Change.Object:
		return b.Change.ID
	case b.Cutoff.Kind:
		return b.Cutoff.Value
	}
	return ""
}

// tokens are the ids of the tokens that an event is about.
func tokens(b *audit.Body) []string {
	return append([]string{b.Token.JTI, b.Subject.JTI, b.ActorToken.JTI, of(b, "jti"), of(b, "lineage")}, b.Lineage...)
}

// subjects are those who acted, and for whom.
func subjects(b *audit.Body) []string { return append([]string{of(b, "subject")}, b.Actor.Chain...) }
