package auditor

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// Proof proves offline that one entry is in a log (C2SP tlog-proof). Its Format is what the log serves, and is kept in
// files that end in .tlog-proof.
type Proof struct {
	Index      int64
	Hashes     tlog.RecordProof // from the sibling of the entry to the child of the root (RFC 6962 §2.1.1)
	Checkpoint []byte           // signed
	Extra      []byte           // whatever; nobody vouches for it
}

const (
	proofHeader = "c2sp.org/tlog-proof@v1"
	maxProof    = maxCheckpoint + 16<<10 // bytes, with 63 hashes and something extra
)

// Format returns the text of the proof.
func (p Proof) Format() []byte {
	text := proofHeader + "\n"
	if len(p.Extra) > 0 {
		text += "extra " + base64.StdEncoding.EncodeToString(p.Extra) + "\n"
	}
	text += "index " + strconv.FormatInt(p.Index, 10) + "\n"
	for _, h := range p.Hashes {
		text += h.String() + "\n"
	}
	return append([]byte(text+"\n"), p.Checkpoint...)
}

// ParseProof reads the text of a proof. It proves nothing yet: see Verify.
func ParseProof(text []byte) (Proof, error) {
	if len(text) > maxProof {
		return Proof{}, fmt.Errorf("a proof has at most %d bytes", maxProof)
	}
	head, checkpoint, found := strings.Cut(string(text), "\n\n")
	lines := strings.Split(head, "\n")
	if !found || lines[0] != proofHeader {
		return Proof{}, errors.New("a proof begins with the line " + proofHeader + ", and has an empty line before its " +
			"checkpoint")
	}
	p, lines := Proof{Checkpoint: []byte(checkpoint)}, lines[1:]
	var err error
	if len(lines) > 0 && strings.HasPrefix(lines[0], "extra ") {
		spelled := lines[0][len("extra "):]
		p.Extra, err = base64.StdEncoding.DecodeString(spelled)
		if err != nil || len(p.Extra) == 0 || base64.StdEncoding.EncodeToString(p.Extra) != spelled {
			return Proof{}, errors.New("the extra line of a proof is something in base64")
		}
		lines = lines[1:]
	}
	if len(lines) == 0 {
		return Proof{}, errIndex
	}
	digits, found := strings.CutPrefix(lines[0], "index ")
	p.Index, err = strconv.ParseInt(digits, 10, 64)
	if !found || err != nil || p.Index < 0 || strconv.FormatInt(p.Index, 10) != digits {
		return Proof{}, errIndex
	}
	for _, line := range lines[1:] {
		hash, err := tlog.ParseHash(line)
		if err != nil || hash.String() != line {
			return Proof{}, errors.New("the hashes of a proof are 32 bytes in base64, one a line")
		}
		p.Hashes = append(p.Hashes, hash)
	}
	return p, nil
}

var errIndex = errors.New("a proof names the entry by a line \"index\" and its number")

// Verify reports why the proof does not show that entry is in the log of one of the keys (vkeys), which is the log of
// the checkpoint that it returns. It does not verify who signed the entry.
func (p Proof) Verify(entry []byte, keys ...string) (Checkpoint, error) {
	var verifiers []note.Verifier
	for _, vkey := range keys {
		v, err := note.NewVerifier(strings.TrimSpace(vkey))
		if err != nil {
			return Checkpoint{}, fmt.Errorf("verify proof: %q is not the key of a log", shown(vkey))
		}
		verifiers = append(verifiers, v)
	}
	c, n, err := OpenCheckpoint(p.Checkpoint, verifiers...)
	if err != nil {
		return Checkpoint{}, fmt.Errorf("verify proof: %w", err)
	}
	if base, _ := splitEpoch(c.Origin); base != n.Sigs[0].Name {
		return Checkpoint{}, fmt.Errorf("verify proof: the checkpoint is of %s, and the key is of %s",
			c.Origin, n.Sigs[0].Name)
	}
	if p.Index < 0 || p.Index >= c.Size {
		return Checkpoint{}, fmt.Errorf("verify proof: entry %d is not among the %d of the checkpoint", p.Index, c.Size)
	}
	if err := tlog.CheckRecord(p.Hashes, c.Size, c.Root, p.Index, tlog.RecordHash(entry)); err != nil {
		return Checkpoint{}, fmt.Errorf("verify proof: this is not entry %d of %s as it was signed: %w",
			p.Index, c.Origin, err)
	}
	return c, nil
}
