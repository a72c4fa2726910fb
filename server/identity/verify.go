package identity

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/bursar-sts/bursar/clients/token"
	"github.com/bursar-sts/bursar/server/ledger"
)

// Pool is whom one tenant trusts. The zero Pool trusts nobody. It is made by Sources.Pool and is safe for concurrent
// use.
type Pool struct {
	sources    *Sources
	tenant     ledger.Tenant
	bySelector map[string]*entry // nil where entries contradict each other
	byHash     map[[sha256.Size]byte]*entry
}

// entry is a trusted issuer, ready for use.
type entry struct {
	Issuer
	hash      [sha256.Size]byte
	keys      *Keys
	condition Condition // nil if the entry has none
}

// Verify checks a token from end to end and returns who it speaks of. tokenType is what its presenter says it is. The
// token needs one audience of the issuer's entry and may have others, save a JWT-SVID, whose only audience it must be.
//
// Errors are *fault.Error: InvalidRequest, with a reason that begins with "token." and a sentence for the presenter; or
// Unavailable, if keys are needed that cannot be fetched.
func (p *Pool) Verify(ctx context.Context, raw string, tokenType TokenType) (*Principal, error) {
	switch {
	case tokenType != TypeJWT && tokenType != TypeIDToken:
		return nil, refuse(reasonTypeID, nil)
	case len(raw) > token.MaxSize: // before anything is spent on it
		return nil, refuse(reasonNotCanonical, nil)
	case p == nil || p.sources == nil:
		return nil, refuse(reasonIssuer, nil)
	}
	now := p.sources.config.Now()
	this := recollection{as: tokenType, sum: sha256.Sum256([]byte(raw))}
	if known := p.recall(ctx, this, now); known != nil {
		return known, nil
	}
	t, err := open(raw)
	if err != nil {
		return nil, err
	}
	c, err := parseClaims(t.payload, now)
	if err != nil {
		return nil, err
	}
	e, err := p.choose(c)
	if err != nil {
		return nil, err
	}
	if err := e.checkType(t.header, c, tokenType); err != nil {
		return nil, err
	}
	version, err := e.checkSignature(ctx, raw, t.header)
	if err != nil {
		return nil, err
	}
	principal, err := e.principal(ctx, t.header, c, now)
	if err != nil {
		return nil, err
	}
	principal.ID = identify(raw, principal.JTI)
	principal.Hash = base64.RawURLEncoding.EncodeToString(this.sum[:])
	principal.Traded = new(atomic.Bool)
	size := max(len(raw), weight*values(principal.Claims))
	p.sources.verified.Put(p.tenant, this, verdict{principal, e.hash, version}, size, principal.Expiry, now)
	return principal, nil
}

// weight is what a value among the claims takes, in bytes of a compact token. A usual token has more of those for each;
// one that somebody filled with the smallest of values takes forty times its own length in memory.
const weight = 24

// values counts the values in v, itself included.
func values(v any) int {
	n := 1
	switch v := v.(type) {
	case map[string]any:
		for _, inner := range v {
			n += 1 + values(inner) // its name too
		}
	case []any:
		for _, inner := range v {
			n += values(inner)
		}
	}
	return n
}

// recollection names a token by its exact bytes, for one claimed type. That is enough for a positive result; replay and
// revocation must never be looked up by it, since one token can be spelled in several ways.
type recollection struct {
	as  TokenType
	sum [sha256.Size]byte
}

// verdict is a success and what it rested on: it counts only while the entry and the keys are still the same. Refusals
// are not remembered.
type verdict struct {
	principal *Principal
	entry     [sha256.Size]byte
	keys      [sha256.Size]byte
}

// recall returns the result of verifying the same bytes a moment ago, if the entry and its keys are still the same.
func (p *Pool) recall(ctx context.Context, this recollection, now time.Time) *Principal {
	v, ok := p.sources.verified.Get(p.tenant, this, now)
	if !ok {
		return nil
	}
	e := p.byHash[v.entry]
	if e == nil {
		return nil
	}
	if s, err := e.keys.snapshot(ctx); err != nil || s.version != v.keys {
		return nil
	}
	return v.principal
}

// identify returns what tells a canonical token from all others of its issuer: its jti; or, without one, a hash of what
// is signed, which has one spelling where its signature has several. No jti holds a control character.
func identify(raw, jti string) string {
	if jti != "" {
		return jti
	}
	sum := sha256.Sum256([]byte(raw[:strings.LastIndexByte(raw, '.')]))
	return "\x00" + base64.RawURLEncoding.EncodeToString(sum[:])
}

// choose returns the entry that a token belongs to by its own account. A SPIFFE ID belongs to its trust domain,
// whatever iss says; all else belongs to iss, compared byte by byte.
func (p *Pool) choose(c *claims) (*entry, error) {
	if domain, ok := trustDomain(c.sub); ok {
		if e := p.bySelector[spiffeScheme+domain]; e != nil {
			if e.Issuer.Issuer != "" && c.iss != "" && c.iss != e.Issuer.Issuer {
				return nil, refuse(reasonIssuer, nil)
			}
			return e, nil
		}
	}
	if c.iss == "" {
		return nil, refuse(reasonNoIssuer, nil)
	}
	e := p.bySelector[c.iss]
	if e == nil || e.Kind == SPIFFE {
		return nil, refuse(reasonIssuer, nil)
	}
	return e, nil
}

// checkType refuses every JWT that was made for something else (RFC 8725 §3.11, §3.12). Types are told apart by typ,
// and where classes have none, by the claims that give them away.
func (e *entry) checkType(h token.Header, c *claims, tokenType TokenType) error {
	typ := strings.TrimPrefix(strings.ToLower(h.Type), "application/")
	var ok bool
	switch {
	case e.Kind == SPIFFE:
		ok = tokenType == TypeJWT && (typ == "" || typ == "jwt" || typ == "jose")
	case typ == token.Type:
		ok = tokenType == TypeJWT
	default:
		ok = typ == "" || typ == "jwt"
	}
	switch {
	case !ok:
		return refuse(reasonType, nil)
	case e.Kind == SPIFFE && h.Others:
		return refuse(reasonHeader, nil)
	case has(c, "events"):
		return refuse(reasonEvent, nil)
	case has(c, "cnf"):
		return refuse(reasonBound, nil)
	}
	return nil
}

func has(c *claims, name string) bool {
	_, ok := c.all[name]
	return ok
}

// checkSignature returns the version of the keys that the token was checked with.
func (e *entry) checkSignature(ctx context.Context, raw string, h token.Header) (version [sha256.Size]byte, err error) {
	if !slices.Contains(e.Algorithms, h.Algorithm) {
		return version, refuse(reasonAlgorithm, nil)
	}
	return e.keys.verify(ctx, raw, h)
}

// principal checks what a token with a good signature says.
func (e *entry) principal(ctx context.Context, h token.Header, c *claims, now time.Time) (*Principal, error) {
	if err := e.checkAudience(c); err != nil {
		return nil, err
	}
	if err := e.checkTimes(c, now); err != nil {
		return nil, err
	}
	if e.Replay == ReplayOnce && c.jti == "" {
		return nil, refuse(reasonJTI, nil)
	}
	if err := e.checkKind(c); err != nil {
		return nil, err
	}
	issuer := c.iss
	if issuer == "" {
		domain, _ := trustDomain(c.sub)
		issuer = spiffeScheme + domain
	}
	mayAct, actors, err := e.delegation(c, issuer)
	if err != nil {
		return nil, err
	}
	if e.condition != nil && !e.condition.Allow(ctx, c.all) {
		return nil, refuse(reasonCondition, nil)
	}
	return &Principal{
		Issuer: e.Name, Kind: e.Kind, IssuerURL: issuer, Subject: c.sub, JTI: c.jti,
		Alg: h.Algorithm, KeyID: h.KeyID,
		Claims: c.all, Expiry: c.exp,
		Uses: e.Use, MayAct: mayAct, Actors: actors, Replay: e.Replay,
	}, nil
}

func (e *entry) checkAudience(c *claims) error {
	ours := func(aud string) bool { return slices.Contains(e.Audiences, aud) }
	switch {
	case !slices.ContainsFunc(c.aud, ours):
		return refuse(reasonAudience, nil)
	case e.Kind == SPIFFE && len(c.aud) > 1:
		return refuse(reasonSPIFFE, errors.New("more than one audience"))
	}
	return nil
}

func (e *entry) checkTimes(c *claims, now time.Time) error {
	from := c.iat
	if from.IsZero() {
		if e.Kind != SPIFFE {
			return refuse(reasonDate, errors.New("no iat"))
		}
		from = now
	}
	switch latest := now.Add(token.MaxAhead); {
	case !now.Before(c.exp): // without leeway: an expired token has no honest use
		return refuse(reasonExpired, nil)
	case c.iat.After(latest), c.nbf.After(latest):
		return refuse(reasonNotYet, nil)
	case c.exp.Sub(from) > time.Duration(e.MaxLifetime):
		return refuse(reasonLifetime, nil)
	}
	return nil
}
