package auditor

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"math"
	"strings"

	"golang.org/x/mod/sumdb/note"
)

const (
	algEd25519     = 1
	algCosignature = 4
)

// witness verifies the cosignatures of a witness (C2SP tlog-cosignature, Ed25519).
type witness struct {
	name   string
	hash   uint32
	public ed25519.PublicKey
}

// NewWitness returns what verifies the cosignatures of the witness with a vkey of type 4, or of type 1, which names the
// same key.
func NewWitness(vkey string) (note.Verifier, error) {
	name, rest, _ := strings.Cut(vkey, "+")
	_, text, _ := strings.Cut(rest, "+")
	key, err := base64.StdEncoding.DecodeString(text)
	if name == "" || err != nil || len(key) != 1+ed25519.PublicKeySize ||
		key[0] != algEd25519 && key[0] != algCosignature {
		return nil, fmt.Errorf("%q is not the vkey of a witness: want <name>+<hash>+<base64 of an Ed25519 key>", shown(vkey))
	}
	if want := fmt.Sprintf("%s+%08x+%s", name, keyHash(name, key), text); vkey != want {
		return nil, fmt.Errorf("the hash in the vkey of witness %q does not fit its key", shown(name))
	}
	key[0] = algCosignature
	return witness{name, keyHash(name, key), key[1:]}, nil
}

// keyHash returns by which a signature names its key (C2SP signed-note): of the name and the key after its type.
func keyHash(name string, key []byte) uint32 {
	sum := sha256.Sum256(append([]byte(name+"\n"), key...))
	return binary.BigEndian.Uint32(sum[:])
}

func (w witness) Name() string    { return w.name }
func (w witness) KeyHash() uint32 { return w.hash }

// Verify reports whether the witness signed a checkpoint: a time in eight bytes, then the signature of both.
func (w witness) Verify(text, signature []byte) bool {
	if len(signature) != 8+ed25519.SignatureSize {
		return false
	}
	time := binary.BigEndian.Uint64(signature)
	if time > math.MaxInt64 {
		return false
	}
	return ed25519.Verify(w.public, fmt.Appendf(nil, "cosignature/v1\ntime %d\n%s", time, text), signature[8:])
}

// witnessed returns which of the witnesses signed a checkpoint. A cosignature that is not valid counts as none.
func witnessed(signed []byte, witnesses []note.Verifier) (by []Witnessed) {
	for _, w := range witnesses {
		n, err := note.Open(signed, note.VerifierList(w))
		if err != nil {
			continue
		}
		data, err := base64.StdEncoding.DecodeString(n.Sigs[0].Base64)
		if err != nil {
			continue
		}
		by = append(by, Witnessed{Name: w.Name(), Time: int64(binary.BigEndian.Uint64(data[4:]))})
	}
	return by
}
