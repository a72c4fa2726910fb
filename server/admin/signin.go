package admin

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"time"

	"github.com/bursar-sts/bursar/scopes"
	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/server/limit"
	"github.com/bursar-sts/bursar/server/tenant"
)

// Operator is somebody who has signed in, bound to the one tenant, or to the platform, that the call names: no method
// takes a tenant beside it. Only Authenticate makes one; the zero Operator may do nothing.
type Operator struct {
	id       string
	role     Role
	platform bool   // a platform operator, whichever tenant it acts on
	slug     string // the tenant acted on; "" for the platform
	ip       netip.Addr
	origin   audit.Origin // the log of what is acted on
}

// Credentials are what a call presents. They print as "[credentials]".
type Credentials struct {
	// Tenant is the slug of the path; "" for a path of the platform.
	Tenant string
	// Token is the bearer token; "" if there was none.
	Token string `json:"-"`
	// IP is the caller's address, for the log.
	IP netip.Addr
}

const redacted = "[credentials]"

// Format hides what is inside from every verb of package fmt.
func (Credentials) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// LogValue hides what is inside from package slog.
func (Credentials) LogValue() slog.Value { return slog.StringValue(redacted) }

const (
	tokenPrefix = "brs_op_" // lets scanners of source code find a leaked one
	tokenBytes  = 32

	// initial is the id in the log of the operator that the server's admin.token file makes.
	initial = "admin.token"
)

// NewToken returns a fresh operator token of a tenant: "brs_op_", the tenant's slug and a dot, and 32 random bytes in
// base64url. Tokens of the platform, whose slug is "", have no slug and no dot.
func NewToken(slug string) string {
	var random [tokenBytes]byte
	_, _ = rand.Read(random[:]) // never fails (crypto/rand)
	if slug != "" {
		slug += "."
	}
	return tokenPrefix + slug + base64.RawURLEncoding.EncodeToString(random[:])
}

// HashToken returns what is kept of an operator token: its SHA-256 in lower-case hex. Tokens have 256 random bits, so
// that a plain hash cannot be searched.
func HashToken(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}

// parseToken returns the tenant whose token s says it is, "" for the platform's. It spares the store what cannot be
// one.
func parseToken(s string) (home string, ok bool) {
	random, ok := strings.CutPrefix(s, tokenPrefix)
	if !ok {
		return "", false
	}
	if slug, rest, named := strings.Cut(random, "."); named {
		home, random = slug, rest
		if scopes.CheckSlug(home) != nil {
			return "", false
		}
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(random)
	return home, err == nil && len(b) == tokenBytes
}

// IsPlatformToken reports whether s has the form of the platform's tokens, as NewToken("") makes them.
func IsPlatformToken(s string) bool {
	home, ok := parseToken(s)
	return ok && home == ""
}

// Authenticate finds the operator of a token. A tenant's token is good on that tenant's paths; everywhere else it finds
// nothing, so that nobody learns which other tenants exist. A token of the platform is good everywhere.
//
// The first sign-in from an address, and one in an hour after that, is recorded before Authenticate returns; if it
// cannot be, nobody is let in.
//
// It refuses with Unauthenticated, with NotFound for another tenant's token, or, from an address that has sent too many
// wrong tokens, with TooMany; refusals are counted in the log of the tenant, or of the platform if there is no such
// tenant. A right token is never refused for wrong ones: whoever shares an address with an operator would hold the kill
// switch shut.
func (s *Service) Authenticate(ctx context.Context, c Credentials) (Operator, error) {
	op, err := s.identify(ctx, c)
	if err == nil {
		if err := s.visited(ctx, op, audit.AuthAdmin); err != nil {
			return Operator{}, fmt.Errorf("record operator: %w", err)
		}
		return op, nil
	}
	if kind := fault.As(err).Kind; kind == fault.Unauthenticated || kind == fault.NotFound {
		err = s.limit(c, err)
		s.cfg.Log.Refuse(op.origin, fault.As(err).Reason, op.ip)
	}
	return Operator{}, err
}

// anyOperator stands for all operators where tokens are counted that are nobody's. No client has that id, and clients
// are not of the platform.
const anyOperator = "operator"

// limit returns what a wrong token is answered: wrong, or, if there were too many from its address, a refusal that says
// so to the sender, the log and the metrics. It spares no look-up, of which those at the same time share one read.
func (s *Service) limit(c Credentials, wrong error) error {
	if c.Token == "" { // which is no guess
		return wrong
	}
	guard := s.cfg.Limits.Guard(limit.Tenant{ID: ledger.Platform}, c.IP)
	if err := guard.Try(anyOperator, c.Token); err != nil {
		f := *fault.As(err)
		f.Public = "There were too many wrong operator tokens from this address, and this is another one."
		return &f
	}
	guard.Tried(anyOperator, c.Token, false)
	return wrong
}

// identify looks a token up. What it returns beside an error has the log that the refusal belongs to.
func (s *Service) identify(ctx context.Context, c Credentials) (Operator, error) {
	op := Operator{slug: c.Tenant, ip: c.IP, origin: s.cfg.Directory.PlatformOrigin()}
	hash := HashToken(c.Token)
	first := sameHash(hash, s.cfg.PlatformTokenHash)
	home, formed := parseToken(c.Token)
	switch {
	case !first && !formed:
		return op, unauthenticated("operator.malformed")
	case home != "" && home != c.Tenant:
		return op, fault.New(fault.NotFound, "operator.elsewhere", "There is no such thing for this operator token.")
	}
	var rows []ledger.Row
	if c.Tenant != "" && scopes.CheckSlug(c.Tenant) == nil {
		v, err := s.cfg.Directory.Bare(ctx, c.Tenant)
		switch {
		case err == nil:
			op.origin, rows = v.Origin(), v.Rows(tenant.KindOperator)
		case !isNotFound(err):
			return op, err
		}
	}
	if first {
		op.id, op.role, op.platform = initial, Admin, true
		return op, nil
	}
	if home == "" {
		var err error
		if rows, err = s.cfg.Directory.PlatformOperators(ctx); err != nil {
			return op, fmt.Errorf("authenticate operator: %w", err)
		}
		op.platform = true
	}
	switch found, err := findOperator(rows, hash); {
	case err != nil:
		return op, fmt.Errorf("authenticate operator: %w", err)
	case found == nil:
		return op, unauthenticated("operator.unknown")
	case found.expired(s.cfg.Directory.Now()):
		return op, unauthenticated("operator.expired")
	default:
		op.id, op.role = found.ID, found.Role
		return op, nil
	}
}

func unauthenticated(reason string) error {
	return fault.New(fault.Unauthenticated, reason,
		"An operator token that is valid here is required; it may have expired or belong elsewhere.")
}

// operatorRow is the value of a row of kind tenant.KindOperator, in a tenant's ledger or the platform's.
type operatorRow struct {
	ID      string    `json:"id"`
	Role    Role      `json:"role"`
	Hash    string    `json:"hash"` // HashToken
	Created time.Time `json:"created"`
	Expires time.Time `json:"expires"`
}

func (r *operatorRow) expired(now time.Time) bool { return !now.Before(r.Expires) }

// findOperator returns the operator whose token has the hash; nil if there is none. It compares with all of them.
func findOperator(rows []ledger.Row, hash string) (*operatorRow, error) {
	all, err := readOperators(rows)
	if err != nil {
		return nil, err
	}
	var found *operatorRow
	for i := range all {
		if sameHash(hash, all[i].Hash) {
			found = &all[i]
		}
	}
	return found, nil
}

func readOperators(rows []ledger.Row) ([]operatorRow, error) {
	all := make([]operatorRow, len(rows))
	for i, row := range rows {
		if err := json.Unmarshal(row.Value, &all[i]); err != nil {
			return nil, fmt.Errorf("read operator %s: %w", row.ID, err)
		}
	}
	return all, nil
}

// sameHash compares in constant time.
func sameHash(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }
