package keys

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/bursar-sts/bursar/server/ledger"
)

// Master seals the data keys of all tenants. It is the one secret that is not in the store.
//
// Seal is randomized and authenticated: Open gives back exactly what was sealed under the same aad, or an error. Both
// are safe for concurrent use.
type Master interface {
	// ID names the key, is not secret, and is stored beside what it sealed.
	ID() string
	Seal(plain, aad []byte) ([]byte, error)
	Open(sealed, aad []byte) ([]byte, error)
}

// masterPrefix begins a master key file: bursar-master-key:v1:<id>:<32 bytes in base64>, on one line.
const masterPrefix = "bursar-master-key:v1:"

// keySize is the length of every symmetric key: AES-256.
const keySize = 32

// NewMasterFile returns the content of a new master key file.
func NewMasterFile() []byte {
	var id [8]byte
	var key [keySize]byte
	_, _ = rand.Read(id[:]) // never fails (crypto/rand)
	_, _ = rand.Read(key[:])
	encoded := base64.StdEncoding.EncodeToString(key[:])
	return fmt.Appendf(nil, "%s%s:%s\n", masterPrefix, hex.EncodeToString(id[:]), encoded)
}

// FileMaster returns the master key of a master key file's content. Its errors say what is wrong and hold nothing of
// the content.
func FileMaster(content []byte) (Master, error) {
	line, ok := strings.CutPrefix(strings.TrimRight(string(content), "\r\n"), masterPrefix)
	if !ok {
		return nil, fmt.Errorf("read master key: does not begin with %q", masterPrefix)
	}
	id, encoded, ok := strings.Cut(line, ":")
	if !ok || !isMasterID(id) {
		return nil, errors.New("read master key: the id must be 1 to 64 of a-z, 0-9 and hyphen, followed by a colon")
	}
	if strings.ContainsAny(encoded, "\r\n") {
		return nil, errors.New("read master key: the file must be one line")
	}
	key, err := base64.StdEncoding.Strict().DecodeString(encoded)
	if err != nil {
		return nil, errors.New("read master key: the key is not standard base64 with padding")
	}
	if len(key) != keySize {
		return nil, fmt.Errorf("read master key: the key has %d bytes; it must have %d", len(key), keySize)
	}
	aead, err := newAEAD(key)
	if err != nil {
		return nil, fmt.Errorf("read master key: %w", err)
	}
	return fileMaster{id, aead}, nil
}

func isMasterID(id string) bool {
	for i := range len(id) {
		if c := id[i]; (c < 'a' || 'z' < c) && (c < '0' || '9' < c) && c != '-' {
			return false
		}
	}
	return 1 <= len(id) && len(id) <= 64
}

type fileMaster struct {
	id   string
	aead cipher.AEAD
}

func (m fileMaster) ID() string { return m.id }

func (m fileMaster) Seal(plain, aad []byte) ([]byte, error) {
	return m.aead.Seal(nil, nil, plain, aad), nil
}

func (m fileMaster) Open(sealed, aad []byte) ([]byte, error) {
	return m.aead.Open(nil, nil, sealed, aad)
}

// newAEAD returns AES-256-GCM whose sealed form begins with its random 96-bit nonce. A key may seal 2³² times
// (NIST SP 800-38D §8.3); each of ours seals a handful.
func newAEAD(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// place is where a sealed value belongs. A value opens in its own place only, so that whoever can write to the store
// cannot move one tenant's, purpose's or object's bytes to another.
type place struct {
	tenant  ledger.Tenant
	purpose string
	object  string // "dek", or "key:" and the kid
	version string // of the key that seals
	binding string // what else must not change: the master's id, or the algorithm
}

// aad writes each field behind its length, so that no two places share their bytes.
func (p place) aad() []byte {
	fields := [...]string{"bursar/v1", string(p.tenant), p.purpose, p.object, p.version, p.binding}
	size := 8 * len(fields)
	for _, field := range fields {
		size += len(field)
	}
	b := make([]byte, 0, size)
	for _, field := range fields {
		b = binary.BigEndian.AppendUint64(b, uint64(len(field)))
		b = append(b, field...)
	}
	return b
}
