package shim

import (
	"strings"

	"github.com/bursar-sts/bursar/server/fault"
)

// surface is how a refusal looks to an agent.
type surface struct {
	status int
	code   string
	title  string
}

// The codes that a refusal can have. Agents and people branch on them: they are only ever added to.
var (
	invalidToken      = surface{401, "invalid_token", "The access token is not good for this"}
	malformed         = surface{400, "malformed_request", "The request cannot be passed on as it is"}
	ambiguousPath     = surface{400, "ambiguous_path", "The path is not in its one canonical form"}
	ambiguousQuery    = surface{400, "ambiguous_query", "The query is not in its one canonical form"}
	queryNotAllowed   = surface{403, "query_not_allowed", "The tool does not take this query parameter"}
	methodNotAllowed  = surface{405, "method_not_allowed", "The tool does not take this method"}
	pathNotAllowed    = surface{403, "path_not_allowed", "The tool has no rule for this method and path"}
	insufficientScope = surface{403, "insufficient_scope", "The access token does not cover this action"}
	detailsNotAllowed = surface{403, "details_not_allowed", "The access token is narrower than this request"}
	bodyNotAllowed    = surface{400, "body_not_allowed", "The call has no body"}
	bodyConstraint    = surface{403, "body_constraint", "The body does not say what the tool wants it to"}
	ambiguousBody     = surface{400, "ambiguous_body", "The body cannot be read in one way only"}
	bodyTooLarge      = surface{413, "body_too_large", "The body is larger than the tool takes"}
	bodyType          = surface{415, "unsupported_media_type", "The tool does not take this content type"}
	tooMany           = surface{429, "too_many_requests", "There are too many requests"}
	disabledSecret    = surface{403, "credential_disabled", "The key of the upstream is switched off"}
	missingSecret     = surface{503, "credential_missing", "The key of the upstream is not there"}
	hostNotBound      = surface{502, "host_not_bound", "The key must not be sent to where the tool points"}
	destination       = surface{502, "destination_refused", "The upstream is at an address that is not allowed"}
	unreachable       = surface{502, "upstream_unreachable", "The upstream cannot be reached"}
	upstreamTimeout   = surface{504, "upstream_timeout", "The upstream does not answer in time"}
	upstreamAnswer    = surface{502, "upstream_answer", "The upstream's answer cannot be passed on"}
	unscrubbable      = surface{502, "unscrubbable", "The answer cannot be searched for the key"}
	unavailable       = surface{503, "unavailable", "Nothing can be decided or recorded right now"}
	decisionMode      = surface{403, "decision_mode_not_allowed", "The tool is not for proxies that ask"}
	internal          = surface{500, "internal", "Internal error"}
)

// byReason is the table from reasons to the wire. A reason that it does not have is looked up by what stands before its
// dot, and then by its kind.
var byReason = map[string]surface{
	"token": invalidToken, "revoked": invalidToken, "target": invalidToken,
	"request": malformed, "upgrade": malformed,
	"path.ambiguous": ambiguousPath, "path": pathNotAllowed,
	"query.ambiguous": ambiguousQuery, "query": queryNotAllowed,
	"method": methodNotAllowed,
	"scope":  insufficientScope, "details": detailsNotAllowed,
	"body.too_large": bodyTooLarge, "body.type": bodyType, "body.ambiguous": ambiguousBody,
	"body.constraint": bodyConstraint, "body": bodyNotAllowed,
	"limit":           tooMany,
	"secret.disabled": disabledSecret, "secret.host_not_bound": hostNotBound, "secret.kind_not_bound": hostNotBound,
	"secret": missingSecret, "inject": missingSecret,
	"upstream.refused": destination, "upstream.timeout": upstreamTimeout, "upstream": unreachable,
	"answer.unscrubbable": unscrubbable, "answer": upstreamAnswer,
	"decide": decisionMode,
}

// byKind is for reasons that byReason does not have.
func byKind(k fault.Kind) surface {
	switch k {
	case fault.Unauthenticated, fault.NotFound:
		return invalidToken
	case fault.Forbidden:
		return pathNotAllowed
	case fault.InvalidRequest, fault.Invalid, fault.Conflict, fault.Gone:
		return malformed
	case fault.MethodNotAllowed:
		return methodNotAllowed
	case fault.TooLarge:
		return bodyTooLarge
	case fault.TooMany:
		return tooMany
	case fault.Unavailable:
		return unavailable
	}
	return internal
}

func surfaceOf(f *fault.Error) surface {
	if s, ok := byReason[f.Reason]; ok {
		return s
	}
	family, _, _ := strings.Cut(f.Reason, ".")
	if s, ok := byReason[family]; ok {
		return s
	}
	return byKind(f.Kind)
}

// problem is the body of a refusal (RFC 9457 §3).
type problem struct {
	Type       string `json:"type"`
	Title      string `json:"title"`
	Status     int    `json:"status"`
	Detail     string `json:"detail,omitempty"`
	Code       string `json:"code"`
	DecisionID string `json:"decision_id,omitempty"`
}

// ErrorHeader names the code of a refusal, by which it is told from an error of the upstream.
const ErrorHeader = "Bursar-Error"
