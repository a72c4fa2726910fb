package logapi

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"github.com/bursar-sts/bursar/clients/auditor"
	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/ledger"
)

// render writes an event as one JSON object without line ends.
type render func(o audit.Origin, head ledger.Head, r audit.Record) []byte

var renders = map[string]render{"json": whole, "set": bare, "cloudevents": cloudEvent}

// whole writes an event as it was signed, and what it says.
func whole(_ audit.Origin, _ ledger.Head, r audit.Record) []byte {
	return encode(struct {
		Index  int64           `json:"index"`
		SET    string          `json:"set"`
		Claims json.RawMessage `json:"claims,omitempty"`
	}{r.Index, r.SET, r.Claims})
}

// bare writes an event as it was signed.
func bare(_ audit.Origin, _ ledger.Head, r audit.Record) []byte {
	return encode(struct {
		Index int64  `json:"index"`
		SET   string `json:"set"`
	}{r.Index, r.SET})
}

// cloudEvent writes an event in the JSON format of CloudEvents 1.0, with its extension for sequences. Its id is the
// same whenever it is sent.
func cloudEvent(o audit.Origin, head ledger.Head, r audit.Record) []byte {
	origin, index := auditor.Origin(o.Issuer, head.Epoch), strconv.FormatInt(r.Index, 10)
	scheme, _, _ := strings.Cut(o.Issuer, "://") // the source is a URI, which an origin need not be
	kind := "urn:bursar:event"
	var says struct {
		Events map[string]json.RawMessage `json:"events"`
	}
	if json.Unmarshal(r.Claims, &says) == nil {
		for uri := range says.Events {
			kind = uri
		}
	}
	return encode(struct {
		Version  string `json:"specversion"`
		ID       string `json:"id"`
		Source   string `json:"source"`
		Type     string `json:"type"`
		Time     string `json:"time"`
		Sequence string `json:"sequence"`
		Media    string `json:"datacontenttype"`
		Data     string `json:"data"`
	}{"1.0", origin + "#" + index, scheme + "://" + origin, kind, r.Time().UTC().Format(time.RFC3339), index,
		"application/secevent+jwt", r.SET})
}

func encode(v any) []byte {
	text, err := json.Marshal(v)
	if err != nil { // a bug: these marshal
		return []byte("{}")
	}
	return text
}
