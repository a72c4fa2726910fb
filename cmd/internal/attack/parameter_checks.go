package attack

import (
	"context"

	"github.com/bursar-sts/bursar/cmd/internal/attack/findings"
)

func parameterChecks() []check {
	return []check{
		{is("subject.missing", "C1 T-30", findings.Must, findings.High, "without a subject token there is no token",
			"RFC 8693 §2.1", "Refuse; never fall back to a token for the client itself."),
			plain, nil, func(ctx context.Context, p *probe) {
				w := invalidRequest.or("invalid_client").orStatus(401) // a client may have no other credential
				p.refuse(ctx, "no subject_token", w, drop("subject_token"))
				p.refuse(ctx, "an empty subject_token", w, set("subject_token", ""))
				p.refuse(ctx, "neither subject_token nor its type", w, drop("subject_token", "subject_token_type"))
			}},
		{is("subject.type-missing", "C2", findings.Must, findings.Low, "the subject token comes with its type",
			"RFC 8693 §2.1", "Demand subject_token_type; do not guess."),
			plain, nil, func(ctx context.Context, p *probe) {
				p.refuse(ctx, "no subject_token_type", invalidRequest, drop("subject_token_type"))
				p.refuse(ctx, "an empty subject_token_type", invalidRequest, set("subject_token_type", ""))
			}},
		{is("subject.type-unknown", "C3 T-10", findings.Must, findings.Medium, "a token is what its type says",
			"RFC 8693 §2.1, §2.2.2", "Validate a token by the rules of its declared type, and refuse types you do not know."),
			plain, nil, func(ctx context.Context, p *probe) {
				for _, kind := range []string{"urn:example:nonsense", "nonsense", typePrefix + "saml2"} {
					p.refuse(ctx, "subject_token_type="+kind, invalidRequest, set("subject_token_type", kind))
				}
			}},
		{is("subject.type-confusion", "C8 T-10", findings.Must, findings.Medium,
			"somebody else's token is no access token of the server's",
			"RFC 8693 §3", "Under the type access_token accept tokens that you issued, and no others."),
			plain, []need{forged(func(s *suite) *source { return s.subject })}, func(ctx context.Context, p *probe) {
				for _, kind := range []string{"access_token", "refresh_token"} {
					if p.subject.kind == typePrefix+kind {
						continue
					}
					// The subject token may be the client's only credential.
					w := invalidRequest.or("invalid_client").orStatus(401)
					p.refuse(ctx, "the issuer's token as "+kind, w, set("subject_token_type", typePrefix+kind))
				}
			}},
		{is("actor.type-missing", "C4 T-21", findings.Must, findings.Low, "an actor token comes with its type",
			"RFC 8693 §2.1", "Demand actor_token_type beside actor_token."),
			delegated, []need{delegates}, func(ctx context.Context, p *probe) {
				p.refuse(ctx, "no actor_token_type", invalidRequest, drop("actor_token_type"))
			}},
		{is("actor.missing", "C5 T-21", findings.Must, findings.Low, "the type of an actor token comes with the token",
			"RFC 8693 §2.1", "Refuse actor_token_type without actor_token: the caller meant to name an actor."),
			plain, nil, func(ctx context.Context, p *probe) {
				p.refuse(ctx, "actor_token_type alone", invalidRequest, set("actor_token_type", typePrefix+"jwt"))
			}},
		{is("actor.type-unknown", "C6 T-21", findings.Must, findings.Medium, "an actor token is what its type says",
			"RFC 8693 §2.1, §2.2.2", "Refuse types you do not know."),
			delegated, []need{delegates}, func(ctx context.Context, p *probe) {
				for _, kind := range []string{"urn:example:nonsense", typePrefix + "saml2"} {
					p.refuse(ctx, "actor_token_type="+kind, invalidRequest, set("actor_token_type", kind))
				}
			}},
		{is("actor.garbage", "T-21 T-43", findings.Must, findings.High,
			"an actor token that proves nothing is not passed over",
			"RFC 8693 §2.1, §2.2.2", "Validate actor_token or refuse it; ignoring it turns delegation into impersonation."),
			plain, nil, func(ctx context.Context, p *probe) {
				p.refuse(ctx, "an actor_token that is garbage", invalidRequest,
					set("actor_token", "x.y.z"), set("actor_token_type", typePrefix+"jwt"))
				p.refuse(ctx, "the same as access_token", invalidRequest,
					set("actor_token", "x.y.z"), set("actor_token_type", typePrefix+"access_token"))
			}},
		{is("request.token-type", "C7 T-43", findings.Must, findings.Medium, "a requested type that is not issued is refused",
			"RFC 8693 §2.1, §2.2.2", "Refuse requested_token_type values that you do not issue; never issue another type."),
			plain, nil, func(ctx context.Context, p *probe) {
				for _, kind := range []string{typePrefix + "saml2", typePrefix + "id_token", "urn:example:nonsense"} {
					a := p.ask(ctx, set("requested_token_type", kind))
					if a != nil && a.issued() && a.text("issued_token_type") == kind {
						p.note(true, "requested_token_type="+kind, invalidRequest.String(), "200, a token of that type")
					} else if a != nil {
						p.judge("requested_token_type="+kind, invalidRequest, a)
					}
				}
			}},
		{is("request.details", "F19 F20 T-43", findings.Profile, findings.Medium, "authorization_details are not passed over",
			"RFC 9396 §5", "Refuse authorization_details that you do not understand: they ask for less than you grant."),
			plain, nil, func(ctx context.Context, p *probe) {
				for sent, bad := range inOrder(map[string]string{"of an unknown type": `[{"type":"urn:example:nonsense"}]`,
					"without a type": `[{"actions":["read"]}]`, "that are no list": `"all"`, "that are no JSON": `[{`}) {
					p.refuse(ctx, "authorization_details "+sent, invalidRequest.or("invalid_authorization_details"),
						set("authorization_details", bad))
				}
			}},
		{is("request.dpop", "G2 T-49", findings.Profile, findings.Medium, "a DPoP proof is not passed over",
			"RFC 9449 §5", "Check the proof, or refuse it: the caller expects a bound token."),
			plain, nil, func(ctx context.Context, p *probe) {
				p.refuse(ctx, "a DPoP header that is garbage", invalidRequest.or("invalid_dpop_proof"), header("DPoP", "x.y.z"))
			}},
	}
}
