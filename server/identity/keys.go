package identity

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bursar-sts/bursar/clients/token"
	"github.com/bursar-sts/bursar/server/fault"
)

// Keys are the public keys of one signer, inline or fetched. A fetched document is read without a lock and replaced
// whole:
//
//   - up to 4/5 of MaxAge it is used; from then on it is also refreshed in the background;
//   - older than MaxAge it is fetched again before it is used; if that fails it serves on until MaxStale;
//   - a kid that it does not hold fetches it again, at most once per RefetchFloor; a bad signature never does;
//   - a failed fetch is not repeated before a growing pause has passed.
//
// All callers share one fetch, which no caller's cancellation ends.
type Keys struct {
	sources *Sources
	from    *fetcher // nil for inline keys
	spiffe  bool

	current atomic.Pointer[snapshot]
	used    atomic.Int64 // Unix seconds of the last use

	mu       sync.Mutex // guards what follows
	inflight *flight    // the fetch under way; nil if there is none
	forced   time.Time  // last fetch on account of an unknown kid
	retry    time.Time  // no fetch before
	failures int        // in a row
}

// snapshot is a key document at one moment.
type snapshot struct {
	keys    []key
	version [sha256.Size]byte // of the document's bytes: changes exactly when the document does
	fetched time.Time
	maxAge  time.Duration
}

// flight is a fetch that any number of callers wait for. The results may be read when done is closed.
type flight struct {
	done chan struct{}
	snap *snapshot
	err  error
}

var (
	errUnknownKey   = errors.New("no such key")
	errAmbiguousKey = errors.New("no kid, and more than one key fits")
	errUnfitKey     = errors.New("the key is not for this algorithm or use")
	errPause        = errors.New("the last fetch failed a moment ago")
)

// find returns the one key that kid names and that fits alg. Without kid there must be exactly one candidate.
func (s *snapshot) find(kid, alg string) (*key, error) {
	var found *key
	known := false
	for i := range s.keys {
		k := &s.keys[i]
		if kid != "" && k.KeyID != kid {
			continue
		}
		known = true
		if !k.fits(alg) {
			continue
		}
		if found != nil {
			return nil, errAmbiguousKey
		}
		found = k
	}
	switch {
	case found != nil:
		return found, nil
	case known && kid != "":
		return nil, errUnfitKey
	}
	return nil, errUnknownKey
}

// VerifySignature checks the signature of a compact JWS and returns its payload. The token must be canonical; of its
// header only alg and kid are used, and crit is refused (RFC 7515 §4.1.11). Nothing is said about claims or typ.
// Errors are *fault.Error: InvalidRequest with a reason that begins with "token.", or Unavailable without keys.
func (k *Keys) VerifySignature(ctx context.Context, compact string) ([]byte, error) {
	t, err := open(compact)
	if err != nil {
		return nil, err
	}
	if err := token.CheckJSON(t.payload); err != nil {
		return nil, refuse(reasonNotCanonical, err)
	}
	if !slices.Contains(algorithms, t.header.Algorithm) {
		return nil, refuse(reasonAlgorithm, nil)
	}
	_, err = k.verify(ctx, compact, t.header)
	return t.payload, err
}

// verify checks the signature over the very bytes of compact, whose header is h, and returns the version of the keys
// that it was checked with.
func (k *Keys) verify(ctx context.Context, compact string, h token.Header) (version [sha256.Size]byte, err error) {
	found, version, err := k.find(ctx, h.KeyID, h.Algorithm)
	if err != nil {
		return version, err
	}
	if err := token.CheckForeign(compact, h, found.JSONWebKey); err != nil {
		return version, refuse(reasonSignature, err)
	}
	return version, nil
}

func (k *Keys) find(ctx context.Context, kid, alg string) (*key, [sha256.Size]byte, error) {
	before := k.current.Load()
	s, err := k.snapshot(ctx)
	if err != nil {
		return nil, [sha256.Size]byte{}, err
	}
	found, err := s.find(kid, alg)
	if errors.Is(err, errUnknownKey) && k.from != nil {
		if newer := k.refetch(ctx, s, s != before); newer != nil {
			s = newer
			found, err = s.find(kid, alg)
		}
	}
	switch {
	case err == nil:
		return found, s.version, nil
	case errors.Is(err, errUnfitKey):
		return nil, s.version, refuse(reasonKeyUnfit, err)
	}
	return nil, s.version, refuse(reasonKeyUnknown, err)
}

// snapshot returns keys that are fresh enough, fetching them if it must. The error is Unavailable.
func (k *Keys) snapshot(ctx context.Context) (*snapshot, error) {
	now := k.sources.config.Now()
	k.used.Store(now.Unix())
	s := k.current.Load()
	if k.from == nil {
		return s, nil
	}
	if s != nil {
		switch age := now.Sub(s.fetched); {
		case age < s.maxAge/5*4:
			return s, nil
		case age < s.maxAge:
			k.fetch(now)
			return s, nil
		}
	}
	fresh, err := k.fetch(now).wait(ctx)
	switch {
	case err == nil:
		return fresh, nil
	case s != nil && now.Sub(s.fetched) < k.sources.config.MaxStale:
		return s, nil
	}
	return nil, fault.Wrap(fault.Unavailable, "issuer.unreachable",
		"The keys that this token is checked with cannot be fetched right now; try again shortly.", err)
}

// refetch returns a document newer than s because s lacks a key, or nil if there is none to be had now. A document that
// was fetched for this very lookup counts as the forced fetch.
func (k *Keys) refetch(ctx context.Context, s *snapshot, justFetched bool) *snapshot {
	now := k.sources.config.Now()
	k.mu.Lock()
	allowed := now.Sub(k.forced) >= k.sources.config.RefetchFloor
	if allowed {
		k.forced = now
	}
	running := k.inflight
	k.mu.Unlock()
	switch {
	case running == nil && (!allowed || justFetched):
		if newer := k.current.Load(); newer != s {
			return newer
		}
		return nil
	case running == nil:
		running = k.fetch(now)
	}
	newer, _ := running.wait(ctx)
	return newer
}

// fetch joins the fetch under way or starts one, unless the pause after a failure is not over.
func (k *Keys) fetch(now time.Time) *flight {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.inflight != nil {
		return k.inflight
	}
	f := &flight{done: make(chan struct{})}
	switch {
	case now.Before(k.retry):
		f.err = errPause
	case !k.sources.start(func() { k.run(f) }):
		f.err = context.Canceled
	default:
		k.inflight = f
		return f
	}
	close(f.done)
	return f
}

func (k *Keys) run(f *flight) {
	ctx, cancel := context.WithTimeout(k.sources.ctx, k.sources.config.FetchTimeout)
	defer cancel()
	f.snap, f.err = k.load(ctx)
	k.sources.config.Fetched(f.err)

	k.mu.Lock()
	defer k.mu.Unlock()
	k.inflight = nil
	if f.err == nil {
		k.current.Store(f.snap)
		k.failures, k.retry = 0, time.Time{}
	} else {
		k.failures++
		k.retry = k.sources.config.Now().Add(pause(k.failures))
	}
	close(f.done)
}

// pause grows from one second to half a minute.
func pause(failures int) time.Duration {
	return min(time.Second<<min(failures-1, 5), 30*time.Second)
}

func (k *Keys) load(ctx context.Context) (*snapshot, error) {
	data, err := k.from.document(ctx)
	if err != nil {
		return nil, err
	}
	s, hint, err := newSnapshot(data, k.spiffe)
	if err != nil {
		return nil, fmt.Errorf("key document: %w", err)
	}
	s.fetched = k.sources.config.Now()
	s.maxAge = k.sources.config.MaxAge
	if hint > 0 { // a bundle may ask to be polled sooner, not later: removal of a key must reach us in time
		s.maxAge = min(max(hint, k.sources.config.RefetchFloor), s.maxAge)
	}
	return s, nil
}

func newSnapshot(data []byte, spiffe bool) (*snapshot, time.Duration, error) {
	doc, err := parseDocument(data, spiffe, func(int, error) {})
	if err != nil {
		return nil, 0, err
	}
	return &snapshot{keys: doc.keys, version: sha256.Sum256(data)}, doc.hint, nil
}

// wait returns the result of the fetch, or the context's error if that comes first.
func (f *flight) wait(ctx context.Context) (*snapshot, error) {
	select {
	case <-f.done:
		return f.snap, f.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// inlineKeys are keys that stand in the configuration. A document that cannot be read holds none.
func inlineKeys(s *Sources, jwks json.RawMessage, spiffe bool) *Keys {
	k := &Keys{sources: s, spiffe: spiffe}
	snap, _, err := newSnapshot(jwks, spiffe)
	if err != nil {
		snap = new(snapshot)
	}
	k.current.Store(snap)
	return k
}
