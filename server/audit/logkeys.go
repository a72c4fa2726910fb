package audit

import (
	"slices"

	"github.com/bursar-sts/bursar/server/keys"
	"github.com/bursar-sts/bursar/server/ledger"
)

// LogKeyEvents returns the events log.key that a change of a log's rows is recorded with, for the keys of the log that
// it makes or revokes. Before are the keys that there are before it. The rows are ours, and not looked into further.
func LogKeyEvents(before []keys.LogKey, put []ledger.Row) []Event {
	var events []Event
	for _, row := range put {
		after, ok := keys.ReadLogKey(row)
		if !ok {
			continue
		}
		k := LogKey{Use: string(after.Use), KeyID: after.ID, Thumbprint: after.ID}
		i := slices.IndexFunc(before, func(k keys.LogKey) bool { return k.ID == after.ID })
		switch {
		case i < 0:
			k.Action = KeyCreated
			if after.Use != keys.OfShim { // each shim has one of its own
				k.Replaces = newest(before, after.Use)
			}
			if k.Replaces != "" {
				k.Action = KeyRotated
			}
		case before[i].Revoked.IsZero() && !after.Revoked.IsZero():
			k.Action = KeyRevoked
		default:
			continue // it retires, as the one that replaces it tells, or its private half is destroyed
		}
		events = append(events, Event{Name: LogKeyEvent, Body: Body{Outcome: Allowed, LogKey: k}})
	}
	return events
}

// newest returns the id of the newest key of a use; "" if there is none.
func newest(all []keys.LogKey, use keys.LogUse) (id string) {
	for _, k := range all {
		if k.Use == use {
			id = k.ID
		}
	}
	return id
}
