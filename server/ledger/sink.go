package ledger

import "time"

// Mark is a place in a tenant's log.
type Mark struct {
	Epoch int64 // of the log, from 1; 0 where nothing was ever marked
	Index int64 // of an event, from 0
}

// Sink is how far the copying of a log to one sink has come, and who copies. The zero Sink has nothing and nobody.
type Sink struct {
	Next  Mark          // the first event that the sink does not have
	Owner string        // who copies, or did last; empty for nobody
	Wait  time.Duration // until somebody else may, by the store's clock; 0 is now
	Dead  int64         // events that the sink refused for good, since ever
	// Letters are the newest of those, the oldest first; at most MaxLetters.
	Letters []DeadLetter
}

// MaxLetters bounds what is kept of the events that a sink refused for good.
const MaxLetters = 256

// DeadLetter is an event that a sink refused for good: where it is in the log, and never what it says.
type DeadLetter struct {
	Mark
	Code string    // by which the sink refused: at most 64 lower-case letters, digits and underscores
	At   time.Time // the store's time (millisecond precision); set by the store
}

// Move is a step of a sink.
type Move struct {
	Owner    string        // who must be the sink's owner
	From, To Mark          // From must be the sink's Next, and To becomes it
	Dead     []DeadLetter  // what the sink refused for good in between; at most MaxLetters
	For      time.Duration // how long nobody else may copy, from now on
	Leave    bool          // the owner gives it up; then For binds him, too
}
