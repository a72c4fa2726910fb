package auditor

import (
	"crypto/ed25519"
	"encoding/json"
	"fmt"

	"golang.org/x/mod/sumdb/tlog"
)

// signature is what became of the check of an event's signature.
type signature int

const (
	unchecked  signature = iota // the keys of the events are not known
	good                        // by a key of the log
	unknownKey                  // by a key that is not one of the log's
	wrong                       // not by the key that it names
)

// job is the check of one bundle, as far as it does not depend on others. Jobs run at the same time.
type job struct {
	index   int64
	width   int
	tile    []tlog.Hash // nil if the export does not hold it
	data    []byte      // nil if the export does not hold the bundle
	records []record
	err     error // the bundle cannot be read
	done    chan struct{}
}

// record is what was found out about one entry.
type record struct {
	hash      tlog.Hash
	set       *SET  // nil if it is none
	err       error // why not
	signature signature
	secret    bool
	token     tokenBody // if somebody asks for tokens
}

// tokenBody is what an event says of a token.
type tokenBody struct {
	Outcome string `json:"outcome"`
	Reason  string `json:"reason"`
	Token   struct {
		ID      string `json:"jti"`
		Hash    string `json:"th"`
		Expires int64  `json:"exp"`
	} `json:"token"`
}

// run checks the entries of the bundle.
func (j *job) run(keys map[string]eventKey, tokens bool) {
	defer close(j.done)
	if j.data == nil {
		return
	}
	entries, err := SplitBundle(j.data)
	if err != nil {
		j.err = err
		return
	}
	j.records = make([]record, len(entries))
	for i, entry := range entries {
		j.records[i] = check(entry, keys, tokens)
	}
}

func check(entry []byte, keys map[string]eventKey, tokens bool) record {
	r := record{hash: tlog.RecordHash(entry)}
	if r.set, r.err = ParseSET(entry); r.err != nil {
		return r
	}
	key, known := keys[r.set.KeyID]
	switch {
	case keys == nil:
	case !known:
		r.signature = unknownKey
	case !r.set.Verify(key.public):
		r.signature = wrong
	default:
		r.signature = good
	}
	r.secret = r.set.HoldsToken()
	if tokens {
		if err := json.Unmarshal(r.set.Body, &r.token); err != nil {
			r.token = tokenBody{} // not an event about a token
		}
	}
	return r
}

// hashes returns those of the entries, alone and with their places.
func (j *job) hashes() (hashes []tlog.Hash, entries []placed) {
	for i := range j.records {
		hashes = append(hashes, j.records[i].hash)
		entries = append(entries, placed{j.records[i].hash, j.index*TileWidth + int64(i)})
	}
	return hashes, entries
}

// eventKey is a key of the log that signs events.
type eventKey struct {
	EventKey
	public ed25519.PublicKey
}

// byName returns the keys of a keys document.
func byName(keys []EventKey) (map[string]eventKey, error) {
	all := make(map[string]eventKey, len(keys))
	for _, k := range keys {
		public, err := k.Public()
		if err != nil {
			return nil, err
		}
		if _, twice := all[k.KeyID]; twice {
			return nil, fmt.Errorf("event key %q is listed twice", k.KeyID)
		}
		all[k.KeyID] = eventKey{k, public}
	}
	return all, nil
}
