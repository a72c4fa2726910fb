package openbao

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/openbao/openbao/api/v2"

	"github.com/bursar-sts/bursar/server/keys"
)

// TransitKey names a key of a transit engine, in the namespace of the login.
type TransitKey struct {
	Mount string
	Name  string
}

// String returns "MOUNT/NAME".
func (k TransitKey) String() string { return k.Mount + "/" + k.Name }

// ParseTransitKey reads "NAME", of the mount transit, or "MOUNT/NAME".
func ParseTransitKey(s string) (TransitKey, error) {
	k := TransitKey{Mount: "transit", Name: s}
	if i := strings.LastIndexByte(s, '/'); i >= 0 {
		k = TransitKey{Mount: s[:i], Name: s[i+1:]}
	}
	if !IsPath(k.Mount) || !IsPath(k.Name) {
		return TransitKey{}, errors.New("must be the name of a key, of a-z, A-Z, 0-9, hyphen and underscore, " +
			"behind the path of its transit engine and a slash unless that is transit")
	}
	return k, nil
}

// master is a master key that stays in OpenBao. It remembers what it opened, for a day after somebody asked for it:
// data keys are in memory anyway, as long as their tenant is, so that what is known goes on when OpenBao is away.
type master struct {
	c      *Client
	key    TransitKey
	latest atomic.Int64 // the newest version that is known of

	mu     sync.Mutex
	opened map[[sha256.Size]byte]*opened
	swept  time.Time
}

// opened is a data key, and when it was last asked for.
type opened struct {
	plain []byte
	used  time.Time
}

// Bounds of what is remembered: the data keys of some twenty thousand tenants, and none that nobody asks for.
const (
	maxOpened = 1 << 16
	maxUnused = 24 * time.Hour
)

var _ keys.Master = (*master)(nil)

// Master returns the master key that is a key of the transit engine, once it has sealed and opened something. Errors
// say what is wrong: no such key, no right to it, OpenBao is away.
func (c *Client) Master(ctx context.Context, key TransitKey) (keys.Master, error) {
	m := &master{c: c, key: key, opened: map[[sha256.Size]byte]*opened{}}
	if err := m.exists(ctx); err != nil {
		return nil, err
	}
	probe := make([]byte, 32)
	_, _ = rand.Read(probe) // never fails (crypto/rand)
	sealed, err := m.seal(ctx, probe, []byte("bursar/probe"))
	if err != nil {
		return nil, fmt.Errorf("encrypt with %s: %w", key, err)
	}
	plain, err := m.open(ctx, sealed, []byte("bursar/probe"))
	switch {
	case err != nil:
		return nil, fmt.Errorf("decrypt with %s: %w", key, err)
	case !slices.Equal(plain, probe):
		return nil, fmt.Errorf("decrypt with %s: it gives something else than what was encrypted", key)
	}
	if _, err := m.open(ctx, sealed, []byte("bursar/another")); err == nil {
		return nil, fmt.Errorf("the key %s does not bind what it encrypts to its place; use one of type aes256-gcm96", key)
	}
	return m, nil
}

// exists looks for the key, if that is allowed: to encrypt with a key that is none could make it.
func (m *master) exists(ctx context.Context) error {
	answer, err := m.ask(ctx, "read the key", func(ctx context.Context, to *api.Logical) (*api.Secret, error) {
		return read(ctx, to, m.key.Mount+"/keys/"+m.key.Name)
	})
	switch {
	case statusOf(err) == http.StatusForbidden:
		return nil
	case err != nil:
		return err
	case answer == nil:
		return fmt.Errorf("there is no transit key %s", m.key)
	}
	if derived, _ := answer.Data["derived"].(bool); derived {
		return fmt.Errorf("the transit key %s derives other keys, which is of no use here; make another one", m.key)
	}
	if version, ok := number(answer, "latest_version"); ok {
		m.latest.Store(version)
	}
	return nil
}

func (m *master) ask(ctx context.Context, what string, make call) (*api.Secret, error) {
	return m.c.do(ctx, m.c.cfg.Namespace, what+" "+m.key.String(), make)
}

// ID names the key, and not where it is: what moves to another mount or address stays the same.
func (m *master) ID() string { return "openbao-transit:" + m.key.Name }

// Seal implements keys.Master. What is sealed names the version of the key.
func (m *master) Seal(plain, aad []byte) ([]byte, error) {
	sealed, err := m.seal(context.Background(), plain, aad)
	if err == nil {
		m.remember(sealed, aad, plain)
	}
	return sealed, err
}

func (m *master) seal(ctx context.Context, plain, aad []byte) ([]byte, error) {
	answer, err := m.ask(ctx, "encrypt with", func(ctx context.Context, to *api.Logical) (*api.Secret, error) {
		return to.WriteWithContext(ctx, m.key.Mount+"/encrypt/"+m.key.Name, map[string]any{
			"plaintext": encode(plain), "associated_data": encode(aad)})
	})
	if err != nil {
		return nil, err
	}
	sealed, ok := text(answer, "ciphertext")
	version := versionOf([]byte(sealed))
	if !ok || version == 0 {
		return nil, unexpected("encrypt with " + m.key.String())
	}
	for known := m.latest.Load(); version > known; known = m.latest.Load() {
		if m.latest.CompareAndSwap(known, version) {
			break
		}
	}
	return []byte(sealed), nil
}

// Open implements keys.Master.
func (m *master) Open(sealed, aad []byte) ([]byte, error) {
	if plain := m.known(name(sealed, aad)); plain != nil {
		return plain, nil
	}
	plain, err := m.open(context.Background(), sealed, aad)
	if err == nil {
		m.remember(sealed, aad, plain)
	}
	return plain, err
}

func (m *master) open(ctx context.Context, sealed, aad []byte) ([]byte, error) {
	what := "decrypt with"
	answer, err := m.ask(ctx, what, func(ctx context.Context, to *api.Logical) (*api.Secret, error) {
		return to.WriteWithContext(ctx, m.key.Mount+"/decrypt/"+m.key.Name, map[string]any{
			"ciphertext": string(sealed), "associated_data": encode(aad)})
	})
	if statusOf(err) == http.StatusBadRequest { // it does not open, and will not when it is tried again
		return nil, fmt.Errorf("%s %s: %s", what, m.key, refusal(err))
	}
	if err != nil {
		return nil, err
	}
	encoded, _ := text(answer, "plaintext")
	plain, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil || encoded == "" {
		return nil, unexpected(what + " " + m.key.String())
	}
	return plain, nil
}

// Outdated reports whether something was sealed with another version of the key than the newest that is known of, so
// that sealing it again makes it depend on that one.
func (m *master) Outdated(sealed []byte) bool { return versionOf(sealed) < m.latest.Load() }

// known returns what is remembered under a name, or nil.
func (m *master) known(name [sha256.Size]byte) []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	o := m.opened[name]
	if o == nil {
		return nil
	}
	o.used = m.c.cfg.Now()
	return slices.Clone(o.plain)
}

func (m *master) remember(sealed, aad, plain []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.c.cfg.Now()
	if len(m.opened) >= maxOpened {
		clear(m.opened)
	}
	if now.Sub(m.swept) > maxUnused/2 {
		maps.DeleteFunc(m.opened, func(_ [sha256.Size]byte, o *opened) bool { return now.Sub(o.used) > maxUnused })
		m.swept = now
	}
	m.opened[name(sealed, aad)] = &opened{slices.Clone(plain), now}
}

// name names sealed bytes in their place.
func name(sealed, aad []byte) [sha256.Size]byte {
	b := binary.BigEndian.AppendUint64(nil, uint64(len(aad)))
	return sha256.Sum256(append(append(b, aad...), sealed...))
}

// versionOf returns which version of the key sealed something ("vault:v3:…"); 0 if that cannot be seen.
func versionOf(sealed []byte) int64 {
	rest, ok := strings.CutPrefix(string(sealed), "vault:v")
	number, _, more := strings.Cut(rest, ":")
	version, err := strconv.ParseInt(number, 10, 32)
	if !ok || !more || err != nil || version < 1 {
		return 0
	}
	return version
}

func encode(b []byte) string { return base64.StdEncoding.EncodeToString(b) }
