package oauth

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/bursar-sts/bursar/clients"
	"github.com/bursar-sts/bursar/server/exchange"
	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/peer"
	"github.com/ory/fosite"
)

// The grant types that are served.
const (
	grantTokenExchange     = "urn:ietf:params:oauth:grant-type:token-exchange" // RFC 8693 §2.1
	grantClientCredentials = "client_credentials"                              // RFC 6749 §4.4
)

// Grants returns the grant types that are served.
func Grants() []string { return []string{grantTokenExchange, grantClientCredentials} }

// Token serves POST /token.
//
//	200 {"access_token","issued_token_type","token_type","expires_in","scope"} (RFC 8693 §2.2.1);
//	    of client_credentials without issued_token_type (RFC 6749 §5.1)
//	4xx, 5xx {"error","error_description","decision_id"} (RFC 8693 §2.2.2)
func (e *Endpoints) Token(w http.ResponseWriter, r *http.Request) {
	if err := e.admit(r); err != nil {
		e.refuse(w, r, "token", err)
		return
	}
	form, err := readForm(w, r)
	if err != nil {
		e.reject(w, r, "token", err)
		return
	}
	// Fosite takes spaces for nothing, and would say so in its own words.
	if strings.Trim(form.Get("grant_type"), " ") == "" {
		e.reject(w, r, "token", fault.New(fault.InvalidRequest, "request.grant_type", "grant_type is missing."))
		return
	}
	credentials, err := readCredentials(r, form)
	if err != nil {
		e.reject(w, r, "token", err)
		return
	}
	r, cancel := hurry(r)
	defer cancel()
	p := &pending{exchanger: e.cfg.Exchanger, slug: e.cfg.Slug(r), request: e.readRequest(r, form, credentials)}
	if err := e.exchange(w, r, form, p); err != nil {
		e.refuse(w, r, "token", err)
		return
	}
	e.cfg.Observe(r, "token", "ok")
}

func (e *Endpoints) readRequest(r *http.Request, form url.Values, credentials clients.Credentials) exchange.Request {
	return exchange.Request{
		Credentials: credentials, AsItself: form.Get("grant_type") == grantClientCredentials,
		SubjectToken: form.Get("subject_token"), SubjectTokenType: form.Get("subject_token_type"),
		ActorToken: form.Get("actor_token"), ActorTokenType: form.Get("actor_token_type"),
		RequestedTokenType: form.Get("requested_token_type"),
		Resources:          form["resource"], Audiences: form["audience"],
		Scope:                form.Get("scope"),
		AuthorizationDetails: form.Has("authorization_details"), Proof: len(r.Header.Values("DPoP")) > 0,
		IP: peer.Of(r), Trace: e.cfg.Trace(r),
	}
}

// exchange runs the request through fosite's pipeline: client authentication and the handler's two phases.
func (e *Endpoints) exchange(w http.ResponseWriter, r *http.Request, form url.Values, p *pending) error {
	r.PostForm, r.Form = form, form // what was read strictly is what fosite sees
	ctx := context.WithValue(r.Context(), pendingKey{}, p)
	request, err := e.provider.NewAccessRequest(ctx, r, p)
	if err != nil {
		return err
	}
	if _, err := e.provider.NewAccessResponse(ctx, request); err != nil {
		return err
	}
	w.Header().Set("Bursar-Txn", p.result.Txn)
	answer := issued{Token: p.result.Token, TokenType: "Bearer", ExpiresIn: int64(p.result.ExpiresIn / time.Second),
		Scope: p.result.Scope}
	if !p.request.AsItself {
		answer.Type = exchange.TypeAccessToken
	}
	writeJSON(w, http.StatusOK, answer)
	return nil
}

// issued is the answer to a request that was granted (RFC 6749 §5.1, RFC 8693 §2.2.1). fosite would make a map of
// it first, and sort that, which costs more than all else that it does.
type issued struct {
	Token     string `json:"access_token"`
	Type      string `json:"issued_token_type,omitempty"` // of an exchange
	TokenType string `json:"token_type"`
	ExpiresIn int64  `json:"expires_in"`
	Scope     string `json:"scope"`
}

// pending is one request on its way through fosite. fosite hands its session from phase to phase and never stores it.
type pending struct {
	fosite.DefaultSession
	exchanger *exchange.Exchanger
	slug      string
	request   exchange.Request
	attempt   *exchange.Attempt
	result    *exchange.Result
}

// Format hides the tokens from every verb of package fmt.
func (*pending) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("[redacted]")) }

type pendingKey struct{}

// Clone returns the session itself: there is one per request.
func (p *pending) Clone() fosite.Session { return p }

// authenticate is fosite's client authentication: it finds out who asks, by credentials or by the identity token.
func authenticate(ctx context.Context, _ *http.Request, _ url.Values) (fosite.Client, error) {
	p, ok := ctx.Value(pendingKey{}).(*pending)
	if !ok {
		return nil, errors.New("authenticate client: no pending request")
	}
	attempt, err := p.exchanger.Begin(ctx, p.slug, p.request)
	if err != nil {
		return nil, err
	}
	p.attempt = attempt
	return &fosite.DefaultClient{ID: attempt.ClientID(), GrantTypes: Grants()}, nil
}

// exchangeHandler is the token exchange as fosite's TokenEndpointHandler.
type exchangeHandler struct{}

var _ fosite.TokenEndpointHandler = exchangeHandler{}

// CanSkipClientAuth is never true: skipping would let wrong credentials pass as none.
func (exchangeHandler) CanSkipClientAuth(context.Context, fosite.AccessRequester) bool { return false }

// CanHandleTokenEndpointRequest is true for every grant type, so that an unknown one is refused in our words and after
// the client's authentication.
func (exchangeHandler) CanHandleTokenEndpointRequest(context.Context, fosite.AccessRequester) bool {
	return true
}

// HandleTokenEndpointRequest decides.
func (exchangeHandler) HandleTokenEndpointRequest(ctx context.Context, r fosite.AccessRequester) error {
	p, err := pendingOf(r)
	if err != nil {
		return err
	}
	if !slices.Contains(Grants(), r.GetRequestForm().Get("grant_type")) {
		return p.attempt.Refuse(ctx, fault.New(fault.UnsupportedGrant, "request.grant_type",
			"Only the grants token-exchange (RFC 8693) and client_credentials (RFC 6749 section 4.4) are served here."))
	}
	return p.attempt.Decide(ctx)
}

// PopulateTokenEndpointResponse mints and records; only then there is a result.
func (exchangeHandler) PopulateTokenEndpointResponse(
	ctx context.Context, r fosite.AccessRequester, w fosite.AccessResponder) error {
	p, err := pendingOf(r)
	if err != nil {
		return err
	}
	if p.result, err = p.attempt.Issue(ctx); err != nil {
		return err
	}
	w.SetAccessToken(p.result.Token) // fosite refuses a response without
	w.SetTokenType("Bearer")
	return nil
}

func pendingOf(r fosite.AccessRequester) (*pending, error) {
	p, ok := r.GetSession().(*pending)
	if !ok || p.attempt == nil {
		return nil, errors.New("token endpoint: the request was not authenticated")
	}
	return p, nil
}

// newProvider returns fosite with nothing but our own parts.
func newProvider() fosite.OAuth2Provider {
	return fosite.NewOAuth2Provider(noClients{}, &fosite.Config{
		AccessTokenLifespan:          time.Minute, // never used: the handler says how long
		ClientAuthenticationStrategy: authenticate,
		TokenEndpointHandlers:        fosite.TokenEndpointHandlers{exchangeHandler{}},
		ScopeStrategy:                fosite.ExactScopeStrategy,
	})
}

// noClients is the storage that fosite insists on. Nothing asks it, and it knows nobody.
type noClients struct{}

func (noClients) GetClient(context.Context, string) (fosite.Client, error) {
	return nil, fosite.ErrNotFound
}

func (noClients) ClientAssertionJWTValid(context.Context, string) error { return fosite.ErrJTIKnown }

func (noClients) SetClientAssertionJWT(context.Context, string, time.Time) error {
	return fosite.ErrJTIKnown
}
