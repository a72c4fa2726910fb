package auditor

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// Origin returns the origin of the log of an issuer: its URL without the scheme and with /log. After losses that an
// operator has accepted, the log goes on in another epoch, as another origin: there is never a second history under one
// origin. The first epoch is 1.
func Origin(issuer string, epoch int64) string {
	_, rest, _ := strings.Cut(issuer, "://")
	origin := strings.TrimSuffix(rest, "/") + "/log"
	if epoch > 1 {
		origin += "/e" + strconv.FormatInt(epoch, 10)
	}
	return origin
}

// KeyName returns the name of the keys that sign the checkpoints of an issuer's log, in every epoch.
func KeyName(issuer string) string { return Origin(issuer, 1) }

// Checkpoint is what a log was at some moment (C2SP tlog-checkpoint).
type Checkpoint struct {
	Origin string
	Size   int64 // entries
	Root   tlog.Hash
}

// Text returns the three lines that are signed. Bursar writes no extension lines.
func (c Checkpoint) Text() string {
	return c.Origin + "\n" + strconv.FormatInt(c.Size, 10) + "\n" +
		base64.StdEncoding.EncodeToString(c.Root[:]) + "\n"
}

// maxSize bounds the size of a log, so that computing with it does not overflow, here or in tlog.
const maxSize = 1 << 62

// ParseCheckpoint reads the text of a checkpoint; lines of extensions are refused.
func ParseCheckpoint(text string) (Checkpoint, error) {
	lines := strings.Split(text, "\n")
	if len(lines) != 4 || lines[0] == "" || lines[3] != "" {
		return Checkpoint{}, errors.New("a checkpoint has three lines: the origin, the size, the root hash")
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil || size < 0 || size > maxSize || strconv.FormatInt(size, 10) != lines[1] {
		return Checkpoint{}, errors.New("the second line of a checkpoint is the size, a decimal number")
	}
	root, err := base64.StdEncoding.Strict().DecodeString(lines[2])
	if err != nil || len(root) != tlog.HashSize {
		return Checkpoint{}, errors.New("the third line of a checkpoint is the root hash, 32 bytes in base64")
	}
	return Checkpoint{Origin: lines[0], Size: size, Root: tlog.Hash(root)}, nil
}

// OpenCheckpoint reads a signed checkpoint that at least one of the verifiers has signed. Signatures by others are
// passed over, as C2SP signed-note asks.
func OpenCheckpoint(signed []byte, verifiers ...note.Verifier) (Checkpoint, *note.Note, error) {
	n, err := note.Open(signed, note.VerifierList(verifiers...))
	if err != nil {
		return Checkpoint{}, nil, fmt.Errorf("open checkpoint: %w", err)
	}
	c, err := ParseCheckpoint(n.Text)
	if err != nil {
		return Checkpoint{}, nil, fmt.Errorf("open checkpoint: %w", err)
	}
	return c, n, nil
}

// EventKey is a public key that signs events (a JWK of RFC 8037), and when it did.
type EventKey struct {
	KeyType   string `json:"kty"` // OKP
	Curve     string `json:"crv"` // Ed25519
	X         string `json:"x"`   // 32 bytes, base64url
	KeyID     string `json:"kid"` // its RFC 7638 thumbprint
	Use       string `json:"use"` // sig
	Algorithm string `json:"alg"` // EdDSA
	NotBefore int64  `json:"nbf"` // Unix seconds; it signed from here on
	Expires   int64  `json:"exp,omitempty"`
	Revoked   int64  `json:"revoked,omitempty"` // Unix seconds; nothing that it signed later counts
	// Names are the events that it may sign, such as key.use; absent of a key that may sign every event.
	Names []string `json:"names,omitzero"`
}

// MaySign reports whether an event of that name, with the key's signature, is one of the log.
func (k EventKey) MaySign(name string) bool { return k.Names == nil || slices.Contains(k.Names, name) }

// NewEventKey returns the published form of a key.
func NewEventKey(kid string, public ed25519.PublicKey) EventKey {
	return EventKey{KeyType: "OKP", Curve: "Ed25519", X: base64.RawURLEncoding.EncodeToString(public), KeyID: kid,
		Use: "sig", Algorithm: "EdDSA"}
}

// Public returns the key. It refuses one whose name is not its thumbprint.
func (k EventKey) Public() (ed25519.PublicKey, error) {
	x, err := base64.RawURLEncoding.Strict().DecodeString(k.X)
	if k.KeyType != "OKP" || k.Curve != "Ed25519" || err != nil || len(x) != ed25519.PublicKeySize {
		return nil, fmt.Errorf("event key %q is no Ed25519 key", k.KeyID)
	}
	sum := sha256.Sum256([]byte(`{"crv":"Ed25519","kty":"OKP","x":"` + k.X + `"}`))
	if base64.RawURLEncoding.EncodeToString(sum[:]) != k.KeyID {
		return nil, fmt.Errorf("the name of event key %q is not its thumbprint (RFC 7638)", k.KeyID)
	}
	return x, nil
}

// keysSuffix ends the first line of a keys document, so that it can never be read as a checkpoint or the other way
// round.
const keysSuffix = "/keys"

// KeysText returns the text of a log's keys document, which is signed like a checkpoint: a line that names it, and the
// keys as one line of JSON. So whoever has the key of the checkpoints needs no other.
func KeysText(name string, keys []EventKey) (string, error) {
	text, err := json.Marshal(struct {
		Keys []EventKey `json:"keys"`
	}{keys})
	if err != nil {
		return "", fmt.Errorf("write keys: %w", err)
	}
	return name + keysSuffix + "\n" + string(text) + "\n", nil
}

// OpenKeys reads a signed keys document of the log whose keys have the given name.
func OpenKeys(signed []byte, name string, verifiers ...note.Verifier) ([]EventKey, error) {
	n, err := note.Open(signed, note.VerifierList(verifiers...))
	if err != nil {
		return nil, fmt.Errorf("open keys: %w", err)
	}
	first, rest, _ := strings.Cut(n.Text, "\n")
	if first != name+keysSuffix {
		return nil, fmt.Errorf("open keys: it is %q, and not the keys of %s", first, name)
	}
	var document struct {
		Keys []EventKey `json:"keys"`
	}
	if err := json.Unmarshal([]byte(rest), &document); err != nil {
		return nil, fmt.Errorf("open keys: %w", err)
	}
	return document.Keys, nil
}

// NoteSigner signs notes (C2SP signed-note) with an Ed25519 key.
type NoteSigner struct {
	name    string
	private ed25519.PrivateKey
}

// NewNoteSigner returns the signer of a name, such as the KeyName of an issuer.
func NewNoteSigner(name string, private ed25519.PrivateKey) *NoteSigner {
	return &NoteSigner{name, private}
}

// Name returns the name of the key.
func (s *NoteSigner) Name() string { return s.name }

// KeyHash returns the first four bytes of the hash of name and key, by which a signature names its key.
func (s *NoteSigner) KeyHash() uint32 {
	const ed25519Signature = 1
	h := sha256.New()
	h.Write([]byte(s.name + "\n"))
	h.Write([]byte{ed25519Signature})
	h.Write(s.private.Public().(ed25519.PublicKey))
	return binary.BigEndian.Uint32(h.Sum(nil))
}

// Sign signs the text of a note.
func (s *NoteSigner) Sign(text []byte) ([]byte, error) { return ed25519.Sign(s.private, text), nil }

// VerifierKey returns the public half in the form that verifiers of notes take.
func (s *NoteSigner) VerifierKey() (string, error) {
	return note.NewEd25519VerifierKey(s.name, s.private.Public().(ed25519.PublicKey))
}
