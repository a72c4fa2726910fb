package admin

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"hash"

	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/keys"
	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/server/tenant"
)

// Objects as the log names them, where that is not the kind of their rows.
const (
	objectSecret = "client-secret"
	objectKey    = "signing-key"
)

// events records a draft: one event for each object that it changes, each signing key and key of the log that it adds,
// and each cutoff that it makes.
func (o Operator) events(d *tenant.Draft) []audit.Event {
	var events []audit.Event
	for _, edit := range d.Edits {
		events = append(events, o.event("admin."+edit.Kind+"."+edit.Action, audit.Change{
			Object: edit.Kind, ID: edit.ID, Fields: edit.Fields,
			Before: audit.Digest(edit.Before), After: audit.Digest(edit.After),
		}))
	}
	for _, row := range d.Change.Put {
		if row.Kind == keys.KindKey {
			events = append(events, o.event("admin."+objectKey+".create",
				audit.Change{Object: objectKey, ID: row.ID, After: audit.Digest(row.Value)}))
		}
	}
	for _, cut := range d.Change.Cut {
		events = append(events, o.cutoff(audit.CutoffSet, cut.Key, audit.CauseChange))
	}
	made := o.logKeyEvents(nil, d.Change.Put)
	return append(fold(events, audit.MaxEvents-len(made)), made...)
}

func (o Operator) cutoff(name string, key ledger.Key, cause audit.Cause) audit.Event {
	e := o.event(name, audit.Change{})
	e.Body.Cutoff = audit.Cutoff{Kind: key.Kind, Value: key.ID, Cause: cause}
	return e
}

// fold keeps a change within one commit, which has room for so many events. Where there are more, those of one
// name (and kind of cutoff) become one event: Count says how many it stands for, and Before and After are the SHA-256
// over the lines "<id> <digest>\n" of all of them in their order, so that whoever has the objects can still prove what
// was changed.
func fold(events []audit.Event, room int) []audit.Event {
	if len(events) <= room {
		return events
	}
	type group struct {
		event         audit.Event
		before, after hash.Hash
	}
	var groups []*group
	byName := map[string]*group{}
	for _, e := range events {
		name := e.Name + " " + e.Body.Cutoff.Kind
		g := byName[name]
		if g == nil {
			g = &group{event: e, before: sha256.New(), after: sha256.New()}
			g.event.Body.Change = audit.Change{Object: e.Body.Change.Object}
			g.event.Body.Cutoff = audit.Cutoff{Kind: e.Body.Cutoff.Kind, Cause: e.Body.Cutoff.Cause}
			byName[name], groups = g, append(groups, g)
		}
		g.event.Body.Count++
		id := e.Body.Change.ID + e.Body.Cutoff.Value // an event has one of them
		fmt.Fprintf(g.before, "%s %s\n", id, e.Body.Change.Before)
		fmt.Fprintf(g.after, "%s %s\n", id, e.Body.Change.After)
	}
	folded := make([]audit.Event, len(groups))
	for i, g := range groups {
		g.event.Body.Change.Before, g.event.Body.Change.After = digest(g.before), digest(g.after)
		folded[i] = g.event
	}
	return folded
}

// digest has the form of audit.Digest.
func digest(h hash.Hash) string { return "sha256:" + base64.RawURLEncoding.EncodeToString(h.Sum(nil)) }
