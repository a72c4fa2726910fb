package identity

import "github.com/bursar-sts/bursar/server/fault"

// Reasons for which a presented token is refused, as the log has them.
const (
	reasonTypeID       = "token.type_identifier"
	reasonNotCanonical = "token.not_canonical"
	reasonMalformed    = "token.malformed"
	reasonCritical     = "token.critical"
	reasonType         = "token.type"
	reasonHeader       = "token.header"
	reasonAlgorithm    = "token.algorithm"
	reasonKeyUnknown   = "token.key_unknown"
	reasonKeyUnfit     = "token.key_unfit"
	reasonSignature    = "token.signature"
	reasonNoIssuer     = "token.issuer_missing"
	reasonIssuer       = "token.issuer_unknown"
	reasonAudience     = "token.audience"
	reasonExpired      = "token.expired"
	reasonNotYet       = "token.not_yet_valid"
	reasonDate         = "token.date"
	reasonLifetime     = "token.lifetime"
	reasonSubject      = "token.subject"
	reasonJTI          = "token.jti"
	reasonEvent        = "token.event"
	reasonBound        = "token.bound"
	reasonAct          = "token.act"
	reasonActForm      = "token.act_form"
	reasonMayAct       = "token.may_act"
	reasonKubernetes   = "token.kubernetes"
	reasonGitHub       = "token.github"
	reasonSPIFFE       = "token.spiffe"
	reasonCondition    = "token.condition"
)

// sentences are what the presenter reads. They tell what is wrong with the token, never what would be trusted.
var sentences = map[string]string{
	reasonTypeID:       "This token type is not accepted here; use that of jwt or id_token (RFC 8693 section 3).",
	reasonNotCanonical: "The token is not one compact JWS of at most 16 KiB: canonical base64url, strict JSON inside.",
	reasonMalformed:    "The token's header or claims are not those of a JWT.",
	reasonCritical:     "The token's header demands an extension (crit or b64) that is not supported.",
	reasonType:         "The token's typ is not what the token type says, or one that is not accepted here.",
	reasonHeader:       "The header of a JWT-SVID may hold only alg, kid and typ.",
	reasonAlgorithm:    "The token is signed with an algorithm that its issuer may not use.",
	reasonKeyUnknown:   "The token's kid names no current key of its issuer; get a new token.",
	reasonKeyUnfit:     "The key that the token's kid names is not meant for such a signature.",
	reasonSignature:    "The token's signature does not verify.",
	reasonNoIssuer:     "The token has no iss claim.",
	reasonIssuer:       "The token's issuer is not trusted here; iss is compared character by character.",
	reasonAudience:     "The token is meant for somebody else (aud); request one for this service.",
	reasonExpired:      "The token has expired; get a new one.",
	reasonNotYet:       "The token is dated in the future (iat or nbf); check the clock of its issuer.",
	reasonDate:         "The token needs iat and exp, and its dates must be plausible numbers of seconds since 1970.",
	reasonLifetime:     "The token lives longer than is accepted from its issuer; request one with a shorter lifetime.",
	reasonSubject:      "The token needs a sub of 1 to 2048 bytes without control characters.",
	reasonJTI:          "The token needs a jti that is a string of 1 to 1024 bytes.",
	reasonEvent:        "The token reports an event and does not stand for anybody.",
	reasonBound:        "The token is bound to a key (cnf), and a proof of that key cannot be checked here.",
	reasonAct:          "The token already has an actor (act), which is not accepted from its issuer.",
	reasonActForm:      "The token's act must be an object of a string sub and perhaps iss, nested at most 4 deep.",
	reasonMayAct:       "The token's may_act must be an object of a string sub and perhaps a string iss.",
	reasonKubernetes: "The token lacks the bound claims of a Kubernetes service account, or they contradict its sub; " +
		"use a projected token.",
	reasonGitHub:    "The token lacks the claims of a GitHub Actions job, or its repository is not its owner's.",
	reasonSPIFFE:    "The token's sub is not the SPIFFE ID of a workload, or its aud has more than one value.",
	reasonCondition: "The token's claims do not meet the conditions that are set for its issuer.",
}

// refuse returns the refusal of a presented token. err is the detail for the operator's log; it may be nil.
func refuse(reason string, err error) *fault.Error {
	return fault.Wrap(fault.InvalidRequest, reason, sentences[reason], err)
}
