package attack

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"github.com/bursar-sts/bursar/cmd/internal/attack/findings"
)

// scoped expects a refusal, or a token that is no wider than allowed. A token that is narrower than what was asked for
// is what RFC 6749 §3.3 leaves open.
func (p *probe) scoped(ctx context.Context, sent, asked string, allowed []string, a *answer) {
	if a == nil {
		return
	}
	if a.status != http.StatusOK || !a.issued() {
		p.judge(sent, invalidScope.or("invalid_request"), a)
		return
	}
	has := granted(a, asked)
	if claims, err := p.claims(ctx, a.token()); err == nil && claims["scope"] != nil {
		has = append(has, words(claims["scope"])...)
	}
	wanted := "400 invalid_scope, or a token without it that says so"
	if more := beyond(has, allowed); len(more) > 0 {
		p.granted = true
		p.note(false, sent, wanted, "200, granted: "+strings.Join(slices.Compact(more), " "))
		return
	}
	p.noteAs(findings.Low, findings.Profile, false, sent, "400 invalid_scope", "200, granted without it")
}

// wish asks for a scope that must not be granted whole.
func (p *probe) wish(ctx context.Context, sent, scope string) {
	a := p.ask(ctx, set("scope", scope))
	p.scoped(ctx, sent, scope, words(p.profile.Request.Scope), a)
}

func scopeChecks() []check {
	return []check{
		{is("scope.denied", "F15 T-37", findings.Must, findings.High, "a scope that is denied is not granted",
			"RFC 6749 §3.3, RFC 8693 §2.1", "Grant what subject, client, target and policy all allow; never their union."),
			plain, []need{hasDeniedScope}, func(ctx context.Context, p *probe) {
				p.wish(ctx, "the denied scope", p.profile.Try.DeniedScope)
			}},
		{is("scope.widened", "F16 T-37", findings.Must, findings.High,
			"a denied scope does not slip in beside an allowed one",
			"RFC 6749 §3.3", "Decide on every scope; refuse all of them, or say what was granted."),
			plain, []need{hasScope, hasDeniedScope}, func(ctx context.Context, p *probe) {
				p.wish(ctx, "the good scope and the denied one", p.profile.Request.Scope+" "+p.profile.Try.DeniedScope)
			}},
		{is("scope.unknown", "F13", findings.Must, findings.Medium, "a scope that nobody knows is not granted",
			"RFC 6749 §3.3", "Grant only scopes that exist."),
			plain, nil, func(ctx context.Context, p *probe) {
				p.wish(ctx, "an unknown scope", "no-such-scope-7f3a")
				if good := p.profile.Request.Scope; good != "" {
					p.wish(ctx, "the good scope and an unknown one", good+" no-such-scope-7f3a")
				}
			}},
		{is("scope.foreign", "F14 T-45", findings.Must, findings.High,
			"a scope of another target is not granted for this one",
			"RFC 8707 §2.2, RFC 6749 §3.3", "Read a scope as one of the target that was named."),
			plain, []need{hasForeignScope}, func(ctx context.Context, p *probe) {
				p.wish(ctx, "a scope of another target", p.profile.Try.ForeignScope)
			}},
		{is("scope.case", "F17", findings.Must, findings.Medium, "scopes are compared with their case",
			"RFC 6749 §3.3", "Compare scopes exactly."),
			plain, []need{hasScope}, func(ctx context.Context, p *probe) {
				good := p.profile.Request.Scope
				other := strings.ToUpper(good)
				if other == good {
					other = strings.ToLower(good)
				}
				p.wish(ctx, "the good scope in other case", other)
			}},
		{is("scope.syntax", "F12", findings.Must, findings.Low, "a scope is made of the characters that scopes have",
			"RFC 6749 §3.3", "Refuse other characters as invalid_scope."),
			plain, []need{hasScope}, func(ctx context.Context, p *probe) {
				good := p.profile.Request.Scope
				for sent, bad := range inOrder(map[string]string{"a quotation mark": good + ` "x"`, "a backslash": good + ` x\y`,
					"a tab": good + "\tx", "a letter beyond ASCII": good + " sc\u00f6pe"}) {
					p.wish(ctx, "a scope with "+sent, bad)
				}
			}},
		{is("scope.many", "F18", findings.Profile, findings.Low, "very many scopes are refused",
			"bounded work", "Bound the number and length of scopes."),
			plain, nil, func(ctx context.Context, p *probe) {
				p.wish(ctx, "1000 scopes", strings.Repeat("a ", 999)+"a")
			}},
		{is("scope.order", "F12", findings.Must, findings.Low, "the order of scopes does not matter",
			"RFC 6749 §3.3", "Treat scopes as a set."),
			plain, []need{hasScope}, func(ctx context.Context, p *probe) {
				list := words(p.profile.Request.Scope)
				if len(list) < 2 {
					p.absent = "the profile's request has one scope"
					return
				}
				slices.Reverse(list)
				p.accept(ctx, "the scopes in reverse order", set("scope", strings.Join(list, " ")))
			}},
		{is("scope.narrower", "T-37", findings.Must, findings.High, "whoever asks for less gets less",
			"RFC 6749 §3.3, RFC 8693 §2.1", "Grant no more than was asked for."),
			plain, []need{hasNarrower}, func(ctx context.Context, p *probe) {
				less := p.profile.Try.NarrowerScope
				a := p.accept(ctx, "the narrower scope", set("scope", less))
				if a == nil {
					return
				}
				has := granted(a, less)
				if claims, err := p.claims(ctx, a.token()); err == nil {
					has = append(has, words(claims["scope"])...)
				}
				more := beyond(has, words(less))
				p.note(len(more) == 0, "what was granted", "the narrower scope and nothing else",
					yes(len(more) == 0, "nothing else", "also "+strings.Join(slices.Compact(more), " ")))
			}},
		{is("scope.omitted", "A22a A22b T-38", findings.Must, findings.Medium,
			"without a scope there is a default that is stated, or no token",
			"RFC 6749 §3.3, §5.1", "Refuse with invalid_scope, or return scope: the client cannot know the default."),
			plain, []need{hasScope}, func(ctx context.Context, p *probe) {
				p.byDefault("no scope", p.ask(ctx, drop("scope")))
				p.byDefault("an empty scope", p.ask(ctx, set("scope", "")))
			}},
	}
}

// byDefault expects of a request without a scope a default that is stated, or a refusal.
func (p *probe) byDefault(sent string, a *answer) {
	if a == nil || !a.issued() {
		if a != nil {
			p.judge(sent, invalidScope.or("invalid_request"), a)
		}
		return
	}
	said, stated := a.object["scope"].(string)
	p.noteAs(findings.Low, findings.Must, stated, sent, "400 invalid_scope, or scope in the answer",
		yes(stated, "200, with scope", "200, without scope"))
	bad := beyond(words(said), slices.DeleteFunc(words(said), func(w string) bool {
		return slices.Contains(words(p.profile.Try.DeniedScope), w)
	}))
	p.noteAs(findings.High, findings.Must, len(bad) == 0, sent+": the default", "nothing that is denied",
		yes(len(bad) == 0, "nothing that is denied", "granted: "+strings.Join(bad, " ")))
}
