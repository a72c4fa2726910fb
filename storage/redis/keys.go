package redis

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"

	"github.com/bursar-sts/bursar/server/ledger"
)

// formatKey holds the format number. It is the only key that is not a tenant's.
const formatKey = "bursar:format"

// keys names what belongs to one tenant. All of it has the tenant as its hash tag: it is in one slot of a cluster, one
// script can change it as a whole, and one pattern of an ACL covers it.
type keys ledger.Tenant

func (k keys) name(rest string) string { return "{" + string(k) + "}:" + rest }

// meta is a hash: rev (revision of the rows), cut (newest cutoff sequence), time (of the last commit).
func (k keys) meta() string { return k.name("meta") }

// kinds is the set of the kinds that ever had a row.
func (k keys) kinds() string { return k.name("kinds") }

// rows is the hash id → value of one kind.
func (k keys) rows(kind string) string { return k.name("row:" + kind) }

// log is a hash: n (number of entries), time (of the last commit by a guest), and the head of the log's Merkle tree:
// epoch, size, root (32 bytes), note, witnessed, first.
func (k keys) log() string { return k.name("aud:log") }

// tiles is the hash level/index → hashes of 32 bytes.
func (k keys) tiles() string { return k.name("aud:tile") }

// events is the stream of the log; entry i has the id <i+1>-0 and the field s.
func (k keys) events() string { return k.name("aud:ev") }

// writers is the hash writer → last counter:index of its last batch:length of its last batch.
func (k keys) writers() string { return k.name("aud:w") }

// cutoffs is the hash kind:value → sequence:at:until:disabled.
func (k keys) cutoffs() string { return k.name("cut") }

// cutoffsBySeq is the sorted set of the cutoffs by the sequence number of their last change.
func (k keys) cutoffsBySeq() string { return k.name("cut:seq") }

// cutoffsByEnd is the sorted set, by until, of the cutoffs that do not disable.
func (k keys) cutoffsByEnd() string { return k.name("cut:exp") }

// claim is the string that marks a claimed key; its value says whose claim it is. Those that a shim takes are apart.
func (k keys) claim(key string) string {
	of := "once:"
	if strings.HasPrefix(key, ledger.UseClaim) {
		of = "use:"
	}
	sum := sha256.Sum256([]byte(key))
	return k.name(of + hex.EncodeToString(sum[:]))
}

// uses is the pattern of the claims that a shim takes.
func (k keys) uses() string { return pattern(k.name("use:")) + "*" }

// budget is the string that holds when a budget is full again, in Unix microseconds.
func (k keys) budget(name string) string { return k.name("lim:" + name) }

// sink is a hash: epoch and next (the first event that the sink does not have), owner, till (Unix milliseconds until
// when nobody else may copy), dead (dead letters since ever), and the newest of those as d<number mod MaxLetters> →
// epoch:index:at:code.
func (k keys) sink(name string) string { return k.name("aud:sink:" + name) }
