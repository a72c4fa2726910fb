package attack

import (
	"context"
	"fmt"
	"slices"

	"github.com/bursar-sts/bursar/cmd/internal/attack/findings"
)

// errorChecks sum up what was seen in the answers to all other checks.
func errorChecks() []check {
	refused := offers(func(s *suite) bool { return s.watched.refusals > 0 }, "no check that ran was refused anything")
	sum := func(d findings.Check, needed need, of func(*watched) []string, wanted string) check {
		return check{d, nothing, []need{needed}, func(_ context.Context, p *probe) {
			all := of(&p.watched)
			slices.Sort(all)
			all = slices.Compact(all)
			if len(all) == 0 {
				p.note(true, fmt.Sprintf("%d refusals, %d grants", p.watched.refusals, p.watched.grants), wanted, "all of them")
			}
			for _, one := range all {
				p.note(false, one, wanted, "not so")
			}
		}}
	}
	return []check{
		sum(is("errors.failing", "T-59 T-61", findings.Must, findings.Medium, "no request breaks the server",
			"RFC 6749 §5.2", "Refuse what is malformed; a 5xx or a lost connection is a bug that somebody can aim at."),
			refused, func(w *watched) []string { return w.failing }, "a refusal"),
		sum(is("errors.codes", "D1 D2", findings.Must, findings.Low, "refusals have the status and code that clients expect",
			"RFC 8693 §2.2.2, RFC 6749 §5.2",
			"Map each refusal to its code: a bad subject or actor token is invalid_request."),
			refused, func(w *watched) []string { return w.codes }, "the code of the specification"),
		sum(is("errors.shape", "", findings.Must, findings.Low, "refusals are JSON with an error code",
			"RFC 6749 §5.2", "Answer every refusal as application/json with error."),
			refused, func(w *watched) []string { return w.shape }, "application/json with error"),
		sum(is("errors.characters", "", findings.Must, findings.Low, "error texts have the characters that they may have",
			"RFC 6749 §5.2",
			"Keep quotation marks, backslashes, control characters and what is beyond ASCII out of error_description."),
			refused, func(w *watched) []string { return w.illegal }, "printable ASCII without \" and \\"),
		sum(is("errors.echo", "T-61", findings.Must, findings.Medium, "refusals repeat no token and no secret",
			"RFC 9700 §4, RFC 6819 §5.1.1", "Say what was wrong, not what was sent."),
			refused, func(w *watched) []string { return w.echo }, "nothing that was sent"),
		sum(is("errors.stored", "", findings.Profile, findings.Low, "refusals are not stored",
			"RFC 6749 §5.2 by example", "Send Cache-Control: no-store with refusals too."),
			refused, func(w *watched) []string { return w.kept }, "Cache-Control: no-store"),
		sum(is("response.stored", "", findings.Must, findings.Medium, "answers with tokens are not stored",
			"RFC 6749 §5.1", "Send Cache-Control: no-store with every token."),
			offers(func(s *suite) bool { return s.watched.grants > 0 }, "no check that ran was granted anything"),
			func(w *watched) []string { return w.stored }, "Cache-Control: no-store"),
		{is("response.pragma", "", findings.Profile, findings.Info, "caches of old are told as well",
			"RFC 6749 §5.1 (OAuth 2.1 drops it)", "Send Pragma: no-cache with every token."),
			nothing, nil, func(_ context.Context, p *probe) {
				p.note(p.watched.pragma == 0, "answers with tokens", "Pragma: no-cache", fmt.Sprintf("%d without",
					p.watched.pragma))
			}},
	}
}
