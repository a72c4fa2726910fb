package harness

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bursar-sts/bursar/clients/operator"
	"github.com/bursar-sts/bursar/server/audit/audittest"
)

// Event is a record of a tenant's log.
type Event struct {
	Index    int64
	Name     string // such as "token.exchange"
	Txn      string
	Writer   string // wid
	Sequence int64  // wsn
	Body
}

// Body is what a record says.
type Body struct {
	Outcome    string `json:"outcome"`
	Reason     string `json:"reason"`
	DecisionID string `json:"decision_id"`
	ClientID   string `json:"client_id"`
	Tool       string `json:"tool"`
	Count      int    `json:"count"`
	Token      struct {
		JTI string `json:"jti"`
	} `json:"token"`
	Request struct {
		IP string `json:"ip"`
	} `json:"request"`
	Subject struct {
		Issuer string `json:"iss"`
		JTI    string `json:"jti"`
		Reused bool   `json:"reused"`
	} `json:"subject_token"`
	Use Use `json:"use"`
}

// Use is what the shim did with keys for a call.
type Use struct {
	Phase    string   `json:"phase"` // intent, outcome, or none of a call that was refused
	Mode     string   `json:"mode"`
	Secrets  []string `json:"secrets"` // name:version
	Host     string   `json:"host"`
	Rule     string   `json:"rule"`
	Status   int      `json:"status"`
	Sent     int64    `json:"sent"`
	Received int64    `json:"received"`
	Scrubbed int      `json:"scrubbed"`
}

// Events returns the tenant's log from an index on.
func (s *Server) Events(t testing.TB, tenant string, after int64) []Event {
	t.Helper()
	var all []Event
	for {
		page := s.page(t, tenant, operator.EventQuery{After: after, Limit: operator.MaxEvents})
		if len(page.Events) == 0 {
			return all
		}
		for _, e := range page.Events {
			all = append(all, decode(t, e))
		}
		after = page.Next
	}
}

// checkLogs holds all logs against the schemas of their events, of a server that a test has neither ended nor broken.
func (s *Server) checkLogs(t testing.TB) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if s.process.ended() {
		return
	}
	tenants, err := s.Operator.Tenants(ctx)
	if err != nil {
		t.Logf("the logs are not checked: %v", err) // the test has taken the store away
		return
	}
	logs := []func(operator.EventQuery) (*operator.Events, error){
		func(q operator.EventQuery) (*operator.Events, error) { return s.Operator.PlatformEvents(ctx, q) },
	}
	for _, e := range tenants {
		logs = append(logs, func(q operator.EventQuery) (*operator.Events, error) {
			return s.Operator.Events(ctx, e.Tenant, q)
		})
	}
	for _, read := range logs {
		q := operator.EventQuery{Limit: operator.MaxEvents}
		for page, err := read(q); err != nil || len(page.Events) > 0; page, err = read(q) {
			if err != nil {
				t.Logf("a log is not checked: %v", err)
				break
			}
			for _, e := range page.Events {
				audittest.Check(t, e.Claims)
			}
			q.After = page.Next
		}
	}
}

// Await returns the tenant's log from an index on, once it satisfies the condition.
func (s *Server) Await(t testing.TB, tenant string, after int64, what string, enough func([]Event) bool) []Event {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		all := s.Events(t, tenant, after)
		if enough(all) {
			return all
		}
		if time.Now().After(deadline) {
			t.Fatalf("waited %s in vain for the log: %s", patience, what)
		}
		s.page(t, tenant, operator.EventQuery{After: after + int64(len(all)), Limit: 1, Wait: time.Second})
	}
}

func (s *Server) page(t testing.TB, tenant string, q operator.EventQuery) *operator.Events {
	t.Helper()
	page, err := s.Operator.Events(t.Context(), tenant, q)
	if err != nil {
		t.Fatalf("read the log of %s: %v", tenant, err)
	}
	return page
}

func decode(t testing.TB, e operator.Event) Event {
	t.Helper()
	var claims struct {
		Txn    string          `json:"txn"`
		WID    string          `json:"wid"`
		WSN    int64           `json:"wsn"`
		Events map[string]Body `json:"events"`
	}
	audittest.Check(t, e.Claims)
	if err := json.Unmarshal(e.Claims, &claims); err != nil || len(claims.Events) != 1 {
		t.Fatalf("event %d is not one event: %v", e.Index, err)
	}
	event := Event{Index: e.Index, Txn: claims.Txn, Writer: claims.WID, Sequence: claims.WSN}
	for uri, body := range claims.Events {
		event.Name = strings.TrimSuffix(strings.TrimPrefix(uri, "urn:bursar:event:"), ":v1")
		event.Body = body
	}
	return event
}

// CheckNumbers fails the test unless the log has every index once, and of each writer every number once and in order.
func CheckNumbers(t testing.TB, log []Event) {
	t.Helper()
	next := map[string]int64{}
	for i, e := range log {
		if i > 0 && e.Index != log[i-1].Index+1 {
			t.Errorf("index %d follows %d", e.Index, log[i-1].Index)
		}
		if want, known := next[e.Writer]; known && e.Sequence != want {
			t.Errorf("event %d of writer %s has number %d, want %d", e.Index, e.Writer, e.Sequence, want)
		}
		next[e.Writer] = e.Sequence + 1
	}
}

// Issued returns the ids of the tokens that the log says were issued.
func Issued(log []Event) map[string]bool {
	ids := map[string]bool{}
	for _, e := range Exchanges(log) {
		ids[e.Token.JTI] = true
	}
	return ids
}

// Exchanges returns the events of exchanges that were allowed.
func Exchanges(log []Event) []Event {
	return slices.DeleteFunc(slices.Clone(log), func(e Event) bool {
		return e.Name != "token.exchange" || e.Outcome != "allowed"
	})
}
