package keys

import (
	"encoding/json"
	"time"

	"github.com/bursar-sts/bursar/server/ledger"
)

// LogKey is a key of a log as an operator sees it.
type LogKey struct {
	ID                        string
	Use                       LogUse
	Created, Retired, Revoked time.Time // zero if that has not happened
}

// LogUses are all, in the order in which Keys has them.
func LogUses() []LogUse { return []LogUse{Events, Checkpoints, OfShim} }

// Keys returns all keys of the log, those of events first, the oldest first.
func (r *LogRing) Keys() (all []LogKey) {
	for _, use := range LogUses() {
		for _, k := range r.keys {
			if k.Use == use {
				all = append(all, LogKey{ID: k.ID, Use: k.Use, Created: k.Created, Retired: k.Retired, Revoked: k.Revoked})
			}
		}
	}
	return all
}

// ReadLogKey returns the key of a log that a row holds, as an operator sees it, without opening it; false if the row
// holds none.
func ReadLogKey(row ledger.Row) (LogKey, bool) {
	var r logKeyRow
	if row.Kind != KindLogKey || json.Unmarshal(row.Value, &r) != nil {
		return LogKey{}, false
	}
	return LogKey{ID: r.ID, Use: r.Use, Created: r.Created, Retired: r.Retired, Revoked: r.Revoked}, true
}
