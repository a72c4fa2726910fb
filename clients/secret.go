package clients

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"hash/crc32"
	"slices"
	"strings"
	"time"
)

// MaxSecrets is how many secrets of a client are valid at once: the one in use, and the one that replaces it.
const MaxSecrets = 2

const (
	secretPrefix  = "brs_" // lets scanners of source code find a leaked one
	secretEntropy = 43     // 32 bytes in base64url
	secretLength  = len(secretPrefix) + secretEntropy + 7
)

// Secret is what is kept of a client secret. All secrets are generated here with 256 random bits, so that a plain hash
// cannot be searched and a slow one would only be work that strangers can order.
type Secret struct {
	// ID tells a client's secrets apart; it is the beginning of Hash and public.
	ID string `json:"id"`
	// Hash is the SHA-256 of the whole secret, in lower-case hex.
	Hash    string    `json:"hash"`
	Created time.Time `json:"created"`
}

// SecretSet are the valid secrets of one client, the oldest first. Its zero value has none.
type SecretSet struct {
	Client  string   `json:"client"`
	Secrets []Secret `json:"secrets"`
}

// NewSecret generates a secret: "brs_", 32 random bytes in base64url, and their CRC-32 in base32, 54 characters of
// [A-Za-z0-9_-]. plain is shown once and kept nowhere.
func NewSecret(now time.Time) (plain string, s Secret) {
	var random [32]byte
	_, _ = rand.Read(random[:]) // never fails (crypto/rand)
	plain = secretPrefix + base64.RawURLEncoding.EncodeToString(random[:])
	plain += secretChecksum(plain)
	sum := sha256.Sum256([]byte(plain))
	hash := hex.EncodeToString(sum[:])
	return plain, Secret{ID: hash[:8], Hash: hash, Created: now.UTC().Truncate(time.Millisecond)}
}

// IsSecret reports whether s has the form and the checksum of a generated secret. It says nothing about whose it is.
func IsSecret(s string) bool {
	if len(s) != secretLength || !strings.HasPrefix(s, secretPrefix) {
		return false
	}
	body := s[:len(secretPrefix)+secretEntropy]
	return s[len(body):] == secretChecksum(body)
}

var checksumEncoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

func secretChecksum(body string) string {
	sum := binary.BigEndian.AppendUint32(nil, crc32.ChecksumIEEE([]byte(body)))
	return checksumEncoding.EncodeToString(sum)
}

// Add returns the set with s as its newest secret. Beyond MaxSecrets the oldest is dropped.
func (s SecretSet) Add(secret Secret) SecretSet {
	s.Secrets = append(slices.Clone(s.Secrets), secret)
	s.Secrets = s.Secrets[max(0, len(s.Secrets)-MaxSecrets):]
	return s
}

// Remove returns the set without the secret of that id; false if there is none.
func (s SecretSet) Remove(id string) (SecretSet, bool) {
	n := len(s.Secrets)
	s.Secrets = slices.DeleteFunc(slices.Clone(s.Secrets), func(x Secret) bool { return x.ID == id })
	return s, len(s.Secrets) < n
}

// digests are the secrets of a client in the form in which they are compared. The zero value, which also stands for a
// client that does not exist, matches nothing and takes the same work.
type digests [MaxSecrets]struct {
	sum  [sha256.Size]byte
	live int // 1 if there is a secret
}

// parse reads a stored set.
func (d *digests) parse(set SecretSet) (ok bool) {
	if len(set.Secrets) > len(d) {
		return false
	}
	for i, s := range set.Secrets {
		sum, err := hex.DecodeString(s.Hash)
		if err != nil || len(sum) != sha256.Size {
			return false
		}
		copy(d[i].sum[:], sum)
		d[i].live = 1
	}
	return true
}

// match reports whether plain is one of the secrets. What it does depends on plain alone, not on the secrets.
func (d *digests) match(plain string) bool {
	if !IsSecret(plain) {
		return false
	}
	sum := sha256.Sum256([]byte(plain))
	found := 0
	for i := range d {
		found |= d[i].live & subtle.ConstantTimeCompare(sum[:], d[i].sum[:])
	}
	return found == 1
}
