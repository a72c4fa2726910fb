package serve

import (
	"context"

	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/server/shim"
)

// forgetful is a log that records nothing. The bench lays it over this folder to see what of a call is the record's
// cost; see shimworld.go there. It says that nothing has changed since the beginning.
type forgetful struct{ shim.Log }

func (forgetful) Append(context.Context, audit.Origin, audit.Event, ...ledger.Claim) (ledger.Position, error) {
	return ledger.Position{}, nil
}

func (forgetful) Post(audit.Origin, audit.Event) error { return nil }
