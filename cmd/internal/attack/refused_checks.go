package attack

import (
	"context"
	"strings"

	"github.com/bursar-sts/bursar/cmd/internal/attack/findings"
)

// refusals are about subject tokens that are good but for what only the server and the profile know. Each belongs to
// the field of that name under the profile's refused.
var refusals = []findings.Check{
	is("refused.unknown-subject", "D-22", findings.Must, findings.High,
		"a subject whom nobody registered gets no token", "RFC 8693 §2.1, §5",
		"Bind issuer and subject to somebody you know: a good signature alone grants nothing."),
	is("refused.disabled-subject", "D-23 T-09", findings.Must, findings.High,
		"a subject who was switched off gets no token", "RFC 8693 §5",
		"Ask at every exchange whether the subject still may: its token outlives that."),
	is("refused.another-subject", "E9", findings.Must, findings.High,
		"a client is nobody for whom it may not act", "RFC 8693 §1.1, §5",
		"Demand a rule for client and subject; whoever holds a token may have found it."),
	is("refused.unfit-token", "D-33", findings.Must, findings.High,
		"a token that does not meet its issuer's conditions is refused", "RFC 8693 §2.1, RFC 8725 §3",
		"Demand the claims that tell those who are meant from everybody else at that issuer; absent is not met."),
	is("refused.unfit-key", "D-7", findings.Must, findings.Medium,
		"a key that is published for something else signs nothing", "RFC 7517 §4.2, §4.3",
		"Verify with keys whose use and key_ops, if they are there, allow it."),
	is("refused.shared-token", "D-20", findings.Must, findings.Medium,
		"a token that must be for this server alone is for nobody else", "JWT-SVID §3, RFC 9700 §2.3",
		"Where an issuer's tokens have one audience, refuse a list: whoever else is on it could replay the token."),
	is("refused.disabled-issuer", "T-07 T-09 D-23", findings.Must, findings.High,
		"an issuer that was switched off is not believed", "RFC 8693 §5",
		"Ask whether the issuer is still trusted before its keys are looked up, whatever is cached."),
	is("refused.other-tenants-issuer", "T-04 D-17", findings.Must, findings.High,
		"an issuer that another tenant trusts is unknown here", "RFC 7519 §4.1.1, RFC 9700 §2",
		"Look issuers up by the tenant and iss, never by iss alone."),
	is("refused.other-tenants-token", "T-05 D-24", findings.Must, findings.High,
		"a token of another tenant's is not one of ours", "RFC 7519 §4.1.1, RFC 9068 §4",
		"Give each tenant an issuer and keys of its own, and hold a token against both."),
}

// field is where the profile names the token of a check about one.
func field(c findings.Check) string {
	return strings.ReplaceAll(strings.TrimPrefix(c.ID, "refused."), "-", "_")
}

func refusedChecks() (all []check) {
	for _, about := range refusals {
		name := field(about)
		named := offers(func(s *suite) bool { return s.suspects[name] != nil }, "the profile names no refused."+name)
		all = append(all, check{about, plain, []need{named}, func(ctx context.Context, p *probe) {
			token, err := p.suspects[name].get(ctx)
			if err != nil {
				p.stop("%v", err)
				return
			}
			// The subject token may be the client's only credential.
			p.refuse(ctx, "the token that the profile names", invalidRequest.or("invalid_client").orStatus(401),
				set("subject_token", token), set("subject_token_type", p.suspects[name].kind))
		}})
	}
	return all
}
