package attack

import (
	"context"
	"net/url"
	"slices"
	"strings"

	"github.com/bursar-sts/bursar/cmd/internal/attack/findings"
)

const nowhere = "https://no-such-target-7f3a.example/api"

var wrongTarget = invalidTarget.or("invalid_request")

// aim asks for a target that must not be had.
func (p *probe) aim(ctx context.Context, sent, bad string, edits ...func(*request)) {
	p.aimed(ctx, sent, bad, wrongTarget, p.ask(ctx, edits...))
}

// aimed judges the answer to a request for a target that must not be had. A token for it is worse than a token for
// another one, which is worse than none: whoever asks believes what it asked for.
func (p *probe) aimed(ctx context.Context, sent, bad string, w want, a *answer) {
	if a == nil || !a.issued() {
		if a != nil {
			p.judge(sent, w, a)
		}
		return
	}
	got, severity := "200, the parameter is passed over", findings.Medium
	if claims, err := p.claims(ctx, a.token()); err == nil && slices.Contains(audiences(claims), bad) {
		got, severity = "200, a token for it", findings.High
	}
	p.granted = true
	p.noteAs(min2(severity, p.check.Severity), p.check.Class, false, sent, w.String(), got)
}

func min2(a, b findings.Severity) findings.Severity {
	if a.Rank() < b.Rank() {
		return a
	}
	return b
}

func targetChecks() []check {
	return []check{
		{is("target.unknown", "F4 T-41 T-43", findings.Must, findings.High, "a target that nobody registered gets no token",
			"RFC 8693 §2.2.2, RFC 8707 §2",
			"Refuse resource and audience values that you do not know, each of them; ignore neither."),
			plain, nil, func(ctx context.Context, p *probe) {
				p.aim(ctx, "an unknown resource", nowhere, drop("audience"), set("resource", nowhere))
				p.aim(ctx, "an unknown audience", "no-such-target-7f3a", drop("resource"), set("audience", "no-such-target-7f3a"))
			}},
		{is("target.denied", "F5 F10 F15 T-41", findings.Must, findings.High, "a target that the policy denies gets no token",
			"RFC 8693 §2.2.2", "Decide on the target, for this client and this subject."),
			plain, []need{hasDeniedTarget}, func(ctx context.Context, p *probe) {
				if bad := p.profile.Try.DeniedResource; bad != "" {
					p.aim(ctx, "the denied resource", bad, drop("audience", "scope"), set("resource", bad))
					p.aimed(ctx, "the denied resource, with the good scope", bad, wrongTarget.or("invalid_scope"),
						p.ask(ctx, drop("audience"), set("resource", bad)))
				}
				if bad := p.profile.Try.DeniedAudience; bad != "" {
					p.aim(ctx, "the denied audience", bad, drop("resource", "scope"), set("audience", bad))
				}
			}},
		{is("target.second", "F6 T-41 T-45", findings.Must, findings.High, "a bad target does not slip in beside a good one",
			"RFC 8693 §2.1.1, §2.2.2",
			"Decide on every value of resource and audience; refuse the request if one is refused."),
			plain, []need{hasTarget}, func(ctx context.Context, p *probe) {
				p.aim(ctx, "a second resource, unknown", nowhere, repeat("resource", nowhere))
				p.aim(ctx, "a second audience, unknown", "no-such-target-7f3a", repeat("audience", "no-such-target-7f3a"))
				if bad := p.profile.Try.DeniedResource; bad != "" {
					p.aim(ctx, "the denied resource beside the good one", bad, repeat("resource", bad))
				}
			}},
		{is("target.form", "F1 F2 T-41", findings.Must, findings.Medium, "a resource is an absolute URI without a fragment",
			"RFC 8693 §2.1, RFC 8707 §2", "Refuse what is no absolute URI, and fragments."),
			plain, nil, func(ctx context.Context, p *probe) {
				for sent, bad := range inOrder(map[string]string{"a relative resource": "api/payments",
					"a resource without a host": "https:///x",
					"javascript:":               "javascript:alert(1)", "file:": "file:///etc/passwd"}) {
					p.aim(ctx, sent, bad, drop("audience"), set("resource", bad))
				}
				if good := p.profile.Request.Resource; good != "" {
					p.aim(ctx, "the good resource with a fragment", good, set("resource", good+"#x"))
				}
			}},
		{is("target.lookalike", "F3 F9", findings.Must, findings.High, "what looks like a registered resource is another one",
			"RFC 3986 §6, RFC 8707 §2", "Compare resources whole; never by their beginning."),
			plain, []need{hasResource}, func(ctx context.Context, p *probe) {
				for sent, bad := range inOrder(lookalikes(p.profile.Request.Resource)) {
					p.aim(ctx, "the good resource "+sent, bad, set("resource", bad))
				}
			}},
		{is("target.child", "F9", findings.Profile, findings.Low, "a part of a registered resource is another resource",
			"RFC 8707 §2", "Compare resources whole, or document how a path is mapped."),
			plain, []need{hasResource}, func(ctx context.Context, p *probe) {
				good := strings.TrimSuffix(p.profile.Request.Resource, "/")
				p.aim(ctx, "a path below it", good+"/child", set("resource", good+"/child"))
				slash := good + "/"
				if slash == p.profile.Request.Resource {
					slash = good
				}
				p.aim(ctx, "a slash more or less at its end", slash, set("resource", slash))
			}},
		{is("target.both", "F7", findings.Profile, findings.Low, "one target may be named by resource and audience",
			"RFC 8693 §2.1", "Find the target of each value; refuse the request only if they differ."),
			plain, []need{hasResource, hasSameAudience}, func(ctx context.Context, p *probe) {
				p.accept(ctx, "resource and audience of one target", set("audience", p.profile.Try.SameAudience))
				p.accept(ctx, "its audience alone", drop("resource"), set("audience", p.profile.Try.SameAudience))
			}},
		{is("target.case", "F11", findings.Profile, findings.Info, "scheme and host of a resource have no case",
			"RFC 3986 §6.2.2.1", "Compare them without their case, and issue the resource as it was registered."),
			plain, []need{hasResource}, func(ctx context.Context, p *probe) { p.shout(ctx) }},
		{is("target.none", "F8", findings.Profile, findings.Low, "a token is for a target that was named",
			"RFC 8707 §2, RFC 9700 §2.3", "Refuse a request without resource and audience, or document the default."),
			plain, []need{hasTarget}, func(ctx context.Context, p *probe) {
				p.refuse(ctx, "no resource, no audience", wrongTarget, drop("resource", "audience"))
			}},
		{is("target.alike", "T-61 F5", findings.Profile, findings.Low, "a denied target is answered as an unknown one",
			"RFC 9700", "Answer both with the same status and code: callers must not learn what exists."),
			plain, []need{hasDeniedTarget}, func(ctx context.Context, p *probe) {
				name, bad := "resource", p.profile.Try.DeniedResource
				if bad == "" {
					name, bad = "audience", p.profile.Try.DeniedAudience
				}
				unknown := map[string]string{"resource": nowhere, "audience": "no-such-target-7f3a"}[name]
				one := p.ask(ctx, drop("resource", "audience", "scope"), set(name, unknown))
				two := p.ask(ctx, drop("resource", "audience", "scope"), set(name, bad))
				if one != nil && two != nil && (one.issued() || two.issued()) {
					p.absent = "one of them is granted"
					return
				}
				if one != nil && two != nil {
					p.note(one.got() == two.got(), "a denied and an unknown "+name, "the same status and code",
						one.got()+" and "+two.got())
				}
			}},
	}
}

// shout asks for the good resource with its scheme and host in upper case.
func (p *probe) shout(ctx context.Context) {
	good := p.profile.Request.Resource
	u, err := url.Parse(good)
	if err != nil || u.Host == "" {
		p.absent = "the profile's resource has no host"
		return
	}
	loud := strings.ToUpper(u.Scheme+"://"+u.Host) + strings.TrimPrefix(good, u.Scheme+"://"+u.Host)
	p.seen(ctx, p.accept(ctx, "scheme and host in upper case", set("resource", loud)), func(claims map[string]any) {
		as := !slices.Contains(audiences(claims), loud)
		p.noteAs(findings.Low, findings.Profile, as, "aud of the issued token", "the resource as it was registered",
			yes(as, "as it was registered", "as it was asked for"))
	})
}

// lookalikes are URIs that a careless comparison takes for a resource, each by what was done to it.
func lookalikes(resource string) map[string]string {
	u, err := url.Parse(resource)
	if err != nil || u.Host == "" {
		return nil
	}
	path := strings.TrimSuffix(u.EscapedPath(), "/")
	return map[string]string{
		"with more host behind":     u.Scheme + "://" + u.Host + ".evil.example" + path,
		"as user info":              u.Scheme + "://" + u.Host + "@evil.example" + path,
		"with user info":            u.Scheme + "://evil@" + u.Host + path,
		"with a backslash":          u.Scheme + "://evil.example\\@" + u.Host + path,
		"with dots behind":          u.Scheme + "://" + u.Host + path + "/../../evil",
		"with an encoded slash":     u.Scheme + "://" + u.Host + path + "%2fevil",
		"with more behind its name": u.Scheme + "://" + u.Host + path + "-evil",
	}
}
