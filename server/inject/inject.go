// Package inject puts an opened secret on a call to an upstream, in the way that the tool's configuration says. Nothing
// of that way is the caller's choice, and whatever the caller sent in that place is gone. A secret that does not fit is
// an error, never an empty header.
package inject

import (
	"context"
	"crypto/x509"
	"iter"
	"net/http"
	"strings"
	"time"

	"github.com/bursar-sts/bursar/server/dial"
	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/server/tools"
	"github.com/bursar-sts/bursar/server/vault"
)

// Target is a call that is about to be sent.
type Target struct {
	Tenant ledger.Tenant
	// Request is the outgoing one, with its address as Place has put it.
	Request *http.Request
	// Match is the rule of the call; kind path needs it.
	Match *tools.Match
	// Body is the whole body of the request, nil if that has none or is a stream. What kinds json and form make of it is
	// the request's body then, too.
	Body []byte
	// Dial guards what is dialled for the tool; nil dials public addresses alone.
	Dial *dial.Guard
	// Once are texts that this call alone holds, such as its signature: whoever has them can repeat it for a while.
	Once []string
}

// Injector puts secrets on calls. It keeps the access tokens that it got for client credentials. It is safe for
// concurrent use.
type Injector struct {
	tokens tokens
	roots  *x509.CertPool // that token endpoints are known by; nil is the system's
	now    func() time.Time
}

// New returns an Injector without tokens.
func New() *Injector { return &Injector{now: time.Now} }

// Order yields injections, by their indexes, in the order in which they are to be applied: what signs a call comes when
// all else is on it.
func Order(all []tools.Injection) iter.Seq2[int, *tools.Injection] {
	return func(yield func(int, *tools.Injection) bool) {
		for _, turn := range []bool{false, true} {
			for i := range all {
				signs := all[i].In == tools.InSigV4 || all[i].In == tools.InHMAC
				if signs == turn && !yield(i, &all[i]) {
					return
				}
			}
		}
	}
}

// SignsBody reports whether a call's body must be read whole, because what is put on it depends on it. That a secret is
// put into the body is the rule's matter.
func SignsBody(u *tools.Upstream) bool {
	for _, x := range u.Inject {
		switch {
		case x.In == tools.InSigV4 && x.SigV4 != nil && !x.SigV4.UnsignedPayload,
			x.In == tools.InHMAC && x.HMAC != nil && strings.Contains(x.HMAC.Template, "{body"):
			return true
		}
	}
	return false
}

// Apply puts an opened version of a secret on a call. It returns the texts that no answer may hold; Target.Once has
// those that change with each call.
//
// Errors are *fault.Error and hold nothing of the secret nor of what a token endpoint answered. Reasons: inject.value,
// for a secret that is missing or does not fit; inject.place, for a call without the place for it; body.type,
// body.ambiguous and body.constraint, for a body that cannot take it; upstream.token_refused,
// upstream.token_unreachable and upstream.refused, for a token endpoint.
func (in *Injector) Apply(ctx context.Context, t *Target, x tools.Injection, ref vault.Ref, v *vault.Value) (
	texts []string, err error,
) {
	switch x.In {
	case tools.InHeader:
		return t.header(x, v)
	case tools.InBearer:
		return t.bearer(v.Field(vault.Plain))
	case tools.InBasic:
		return t.basic(v)
	case tools.InCookie:
		return t.cookie(x.Name, v.Field(vault.Plain))
	case tools.InQuery:
		return t.query(x.Name, v.Field(vault.Plain))
	case tools.InPath:
		return t.path(x.Name, v.Field(vault.Plain))
	case tools.InJSON:
		return t.json(x.Name, v.Field(vault.Plain))
	case tools.InForm:
		return t.form(x.Name, v.Field(vault.Plain))
	case tools.InSigV4:
		return t.sigV4(ctx, x.SigV4, v, in.now())
	case tools.InHMAC:
		return t.hmac(x.HMAC, v.Field(vault.Plain), in.now())
	case tools.InOAuth2:
		return in.oauth2(ctx, t, x, ref, v)
	case tools.InMTLS: // see Certificate; the key is proved, and not sent
		return nil, nil
	}
	return nil, errPlace()
}

// Drop forgets the access token that was got with a version of a secret, so that the next call gets another one.
func (in *Injector) Drop(t ledger.Tenant, x tools.Injection, ref vault.Ref) {
	if x.In == tools.InOAuth2 && x.OAuth2 != nil {
		in.tokens.drop(tokenKey(t, x.OAuth2, ref), ref, in.now())
	}
}

func errValue() error {
	return fault.New(fault.Unavailable, "inject.value",
		"The key of the upstream is missing, or holds what cannot be sent; somebody has to put it again.")
}

func errPlace() error {
	return fault.New(fault.Forbidden, "inject.place", "The call has no place for the key of the upstream.")
}

// isHeaderText reports whether s can be a header's value whole (RFC 9110 §5.5): printable ASCII, which neither begins
// nor ends with what a server strips.
func isHeaderText(s string) bool {
	return s != "" && strings.Trim(s, " ") == s && isPrintable(s)
}

func isPrintable(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' })
}

// isText reports whether s can stand where it is escaped: it is not empty, and has no control characters, which are
// harmless where they are and may not be where they are decoded.
func isText(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f })
}
