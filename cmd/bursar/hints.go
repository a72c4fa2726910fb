package main

import (
	"strings"

	"github.com/bursar-sts/bursar/clients/auditor"
)

// hintFor tells what an operator can do about the reason of a refusal; empty for a reason of a newer server. What is
// wrong with a token is the same whether it was presented as subject, actor or assertion.
func hintFor(reason string) string {
	if hint, ok := hints[reason]; ok {
		return hint
	}
	for _, role := range []string{"subject.", "actor."} {
		if rest, ok := strings.CutPrefix(reason, role); ok {
			return hints["token."+rest]
		}
	}
	return ""
}

// Hints that several reasons share.
const (
	fixRequest  = "The request is malformed; mend the agent's code."
	fixLibrary  = "The agent's code or library made the assertion wrongly; docs/http.md has what it must hold."
	fixPlatform = "The platform's token is not what it should be; look at it with: bursar token inspect FILE"
	newToken    = "The agent must get a new token from its platform, and use it before it expires."
	tryAgain    = "Nothing was decided and nothing issued; the agent may ask again. If it stays so, look at the store."
	isBug       = "This should not happen; the server's own log has the cause. Report it."
	ourToken    = "The agent must get a new token of ours, from the start of its task."
	seeShimLog  = "No connection, or a certificate that is not the right one (network.ca); the log of the shim says which."
	fixIdentity = "Add the identity in the token to the identities of one client of the tenant file, if it is right."
)

// hints has every reason that a decision can end with.
var hints = map[string]string{
	"policy.no_rule":      "No policy is about this client at this tool; add one, if it is to be allowed.",
	"policy.presenter":    "Name it in delegates of a policy of the token's client, if it may trade this token in.",
	"policy.from":         "No policy leads here from the traded token's tool and scope; add them to from, if one may.",
	"policy.on_behalf_of": "No policy lets the client act so; see on_behalf_of of the rules above.",
	"policy.action":       "No policy lists all of these actions for the client; add what is missing, or ask for less.",
	"policy.no_default":   "No scope was asked for, and no policy has default_actions; ask by name, or add some.",
	"policy.condition":    "The conditions of the rules above do not hold; bursar policy show TENANT/RULE prints them.",
	"policy.narrower":     isBug,

	"revoked.jti":     "The token was revoked, for good; " + lower(ourToken),
	"revoked.lineage": "The tree of tokens that it descends from was revoked, for good; " + lower(ourToken),
	"revoked.run":     "The run was revoked, for good; the agent must begin another.",
	"revoked.client":  "The client was revoked; when its cause is mended: bursar enable TENANT --client ID",
	"revoked.tool":    "The tool was revoked, or lost its resource; if it is disabled: bursar enable TENANT --tool NAME",
	"revoked.tenant":  "The tenant was revoked; when its cause is mended: bursar enable TENANT --all",
	"revoked.issuer":  "The trusted issuer was revoked; when its cause is mended: bursar enable TENANT --issuer NAME",
	"revoked.subject": "The subject was revoked; when its cause is mended: bursar enable TENANT --subject ISSUER:SUB",

	"target.missing": "The request names no tool; the agent must send resource or audience.",
	"target.several": "The request names several tools; the agent must ask for a token for each.",
	"target.unknown": "The tenant has no such tool, or it is disabled; compare with: bursar tool list TENANT",

	"scope.malformed":      fixRequest,
	"scope.unknown":        "The tool has no such action; compare with: bursar tool show TENANT/TOOL",
	"scope.parent":         "The traded token allows less than this; the agent must ask for a part of what it has.",
	"scope.parent_unknown": "The tool has none of the actions of the traded token any more; " + lower(ourToken),

	"delegation.depth": "Four actors are the most; let an earlier agent call the tool, or begin a new run.",
	"delegation.hops":  "Eight exchanges are the most; begin a new run from the platform's token.",
	"delegation.size":  "Its subject and chain of actors make the token too long; shorten the chain.",

	"subject.alone":      "The client must prove itself beside the token that it trades in.",
	"subject.own":        "It is no valid token of this tenant; " + lower(ourToken),
	"subject.target":     "The tool of the traded token is gone or disabled; compare with: bursar tool list TENANT",
	"subject.expired":    newToken,
	"subject.run":        "The tokens of the request are of different runs; the agent must not mix its tasks.",
	"subject.is_actor":   "The agent sent its own token twice; to act as itself it must leave actor_token out.",
	"subject.use":        "Add subject to use of the trusted issuer, if agents may act for its subjects.",
	"subject.may_act":    "The subject's token lets somebody else act (may_act); its issuer must name this agent.",
	"subject.act_ours":   "The issuer names an actor of ours, which it may not; look whether it forges them.",
	"subject.replayed":   "The token was used before, and replay of its issuer is once; get a new one for each exchange.",
	"subject.unbound":    fixIdentity,
	"actor.unbound":      fixIdentity,
	"subject.ambiguous":  "Several clients have this identity; remove it from all but one.",
	"actor.ambiguous":    "Several clients have this identity; remove it from all but one.",
	"subject.act":        "The token already has an actor; set accept_act on its issuer, if it is to be believed.",
	"actor.act":          "The agent's own token has an actor; it must prove itself by a token that has none.",
	"issuer.unreachable": "The issuer's keys could not be fetched; look whether its jwks_uri answers this server.",

	"token.type_identifier": "The agent must send jwt or id_token as the type of its platform's token.",
	"token.not_canonical":   fixPlatform,
	"token.malformed":       fixPlatform,
	"token.critical":        fixPlatform,
	"token.type":            fixPlatform,
	"token.header":          fixPlatform,
	"token.algorithm":       "Add the token's alg to algorithms of the trusted issuer, if its platform is to sign so.",
	"token.key_unknown":     "The issuer does not publish the key; the token is old, or jwks_uri is another issuer's.",
	"token.key_unfit":       "The issuer publishes the key for another use or alg; mend its JWKS.",
	"token.signature":       "Somebody else made the token, or it was changed on its way; find out who.",
	"token.issuer_missing":  fixPlatform,
	"token.issuer_unknown":  "Compare iss of the token with issuer of the trusted issuers, character by character.",
	"token.audience":        "The platform must make the token for one of audiences of the trusted issuer.",
	"token.expired":         newToken,
	"token.not_yet_valid":   "The clock of the issuer is ahead by more than a minute, or this server's is behind.",
	"token.date":            fixPlatform,
	"token.lifetime":        "Ask the platform for a shorter token, or raise max_lifetime of the trusted issuer.",
	"token.subject":         fixPlatform,
	"token.jti":             "The issuer's tokens need a jti where replay is once.",
	"token.event":           fixPlatform,
	"token.bound":           "Tokens bound to a key (cnf) are not accepted; ask the platform for another.",
	"token.act":             "The token already has an actor; set accept_act on its issuer, if it is to be believed.",
	"token.act_form":        fixPlatform,
	"token.may_act":         fixPlatform,
	"token.kubernetes":      "Use a projected service-account token.",
	"token.github":          fixPlatform,
	"token.spiffe":          "The token is not a JWT-SVID of a workload with one audience; look at the SPIRE entry.",
	"token.condition":       "The issuer's condition does not hold; bursar issuer show TENANT/ISSUER prints it.",

	"client.grant":         "A resource server may only trade in tokens of ours; register an agent for the rest.",
	"client.contradiction": "The agent mixes credentials of two clients; it must use its own alone.",
	"client.none":          "The request has no credentials; the client must authenticate as it is registered.",
	"client.methods":       "The client must authenticate by one method alone.",
	"client.unknown":       "There is no such client; compare with: bursar client list TENANT",
	"client.secret":        "The secret is wrong; make another: bursar client secret TENANT/CLIENT",
	"client.method":        "The client must use auth.method of its entry; see: bursar client show TENANT/CLIENT",
	"client.id":            "client_id contradicts the credentials; the client must leave it out or correct it.",
	"client.disabled":      "The client was revoked; when its cause is mended: bursar enable TENANT --client ID",
	"client.unbound":       fixIdentity,
	"client.ambiguous":     "Several clients have this identity; remove it from all but one.",

	"client.assertion.type":      fixLibrary,
	"client.assertion.malformed": fixLibrary,
	"client.assertion.header":    fixLibrary,
	"client.assertion.audience":  "aud of the assertion must be the tenant's issuer URL and nothing else.",
	"client.assertion.expired":   "The client must sign a new assertion for each request.",
	"client.assertion.lifetime":  fixLibrary,
	"client.assertion.future":    "The client's clock is ahead; set it right.",
	"client.assertion.jti":       fixLibrary,
	"client.assertion.signature": "The client's key is not the one in its entry; register the key that it signs with.",
	"client.assertion.replayed":  "The client must make a new assertion for each request.",
	"client.assertion.workload":  fixPlatform,
	"client.assertion.issuer":    "Add workload to use of the trusted issuer, and use the assertion type of its kind.",
	"client.assertion.act":       "The agent's own token has an actor; it must prove itself by a token that has none.",

	"request.subject_token":         fixRequest,
	"request.subject_token_type":    fixRequest,
	"request.actor_token":           fixRequest,
	"request.actor_token_type":      fixRequest,
	"request.grant_type":            fixRequest,
	"request.as_itself":             fixRequest,
	"request.token":                 fixRequest,
	"request.dpop":                  "DPoP is not available in this version; the agent must leave it out.",
	"request.requested_token_type":  "Only access tokens are issued; the agent must ask for that type, or none.",
	"request.authorization_details": "It is not available in this version; the agent must ask by scope.",

	"method.not_allowed":    "No rule has this method for the path; see: bursar tool show TENANT/TOOL",
	"path.not_allowed":      "No rule has this path; add one to allow of the tool's upstream, if it is to be called.",
	"path.ambiguous":        "The agent must write the path in its one form; docs/shim.md says which that is.",
	"query.not_allowed":     "The rule does not list this parameter; add it to query, if agents may send it.",
	"query.ambiguous":       "The agent must send each parameter once; a name with ... behind it in query may come again.",
	"body.not_allowed":      "The call has no body; give its rule a max_body, if a DELETE or OPTIONS may have one.",
	"body.too_large":        "The rule's max_body is less; raise it, if bodies may be longer.",
	"body.type":             "The rule's content_types do not list this type; add it, if bodies may be of it.",
	"body.ambiguous":        "The agent must send a body that all readers read alike; docs/shim.md says what that means.",
	"body.constraint":       "The body has not what the rule's json asks for; see: bursar tool show TENANT/TOOL",
	"details.unknown":       "This version does not know a restriction that is in the token; update the shim.",
	"details.not_allowed":   "The token is restricted to other calls; the agent must ask for one that allows this.",
	"target.disabled":       "The tenant file disables the tool; apply it without disabled.",
	"limit.guesses":         "Answers ended with the beginning of the key: the agent may be guessing it.",
	"secret.unknown":        "There is no such secret; compare with: bursar secret list TENANT",
	"secret.version":        "It has no such version, or its value was destroyed: bursar secret list TENANT/NAME",
	"secret.none":           "The tenant has no secret yet, or they were shredded; bursar secret put makes the first one.",
	"secret.none_active":    "Calls have no version to use; see bursar secret list TENANT/NAME, and activate one.",
	"secret.none_staged":    "Put a new version first, or name the one to activate: bursar secret list TENANT/NAME",
	"secret.none_before":    "Name the version to go back to: bursar secret activate TENANT/NAME VERSION",
	"secret.moved":          "Somebody activated another version meanwhile; look again: bursar secret list TENANT/NAME",
	"secret.active":         "Activate another version first: bursar secret activate TENANT/NAME VERSION",
	"secret.in_use":         "Take it from the tool's inject and apply that, or add --force: its calls are refused then.",
	"secret.too_many":       "Destroy what nobody needs: bursar secret destroy TENANT/NAME VERSION",
	"secret.disabled":       "Somebody disabled the secret; when the cause is mended: bursar secret enable TENANT/NAME",
	"secret.sealed":         "Its row was changed or put back; bursar secret destroy TENANT/NAME --all, then put it anew.",
	"secret.host_not_bound": "The tool's upstream.url is not where the secret may go; put a version with that --host.",
	"secret.kind_not_bound": "It may not be put on a call like this; put a version with that --inject.",
	"secret.backend":        "The backend that keeps the value did not give it; look whether this server reaches it.",
	"secret.no_shim":        "Set shim.url and shim.listen of this server, or test with a call through your own shim.",
	"secret.no_probe":       "Give the tool an upstream.probe, which says what to call and what to expect.",
	"secret.several_tools":  "Say with which tool: bursar secret test TENANT/NAME --tool TOOL",
	"secret.mistakes":       "Mend what is listed; nothing was stored.",
	"secret.confirm":        "Name the tenant once more, as it is.",

	"upstream.refused": "The API is at a private address. Set network.allow_private of the tool's upstream, and have " +
		"private_cidrs of the tenant in bursar.yaml (or shim.yaml) name its range; the log of the shim has the address.",
	"upstream.unreachable":       seeShimLog,
	"upstream.token_unreachable": seeShimLog,
	"upstream.token_refused":     "The token endpoint refused the client credentials; put the right ones.",
	"upstream.token":             "The API refused the token that oauth2 got for it; look there what the client may do.",
	"upstream.timeout":           "The API did not answer in the time that timeouts of the upstream gives it.",
	"upstream.broken":            "The API ended its answer before it was whole; look there.",
	"upstream.unusable":          isBug,
	"answer.status":              "The API answered with a status that means nothing here, such as 101; look there.",
	"answer.too_large":           "The answer is longer than response.max_body of the upstream; raise it, if it may.",
	"answer.unscrubbable":        "The API sent what cannot be searched for the key; docs/shim.md says what comes back.",
	"answer.websocket":           "The API did not agree to the WebSocket; look there.",
	"cut.caller":                 "The agent, or what is between it and the shim, ended the call.",
	"cut.expired":                "The token expired; the agent must get another. stream.on_expiry says when streams end.",
	"cut.revoked":                "It was revoked while the call was under way; bursar audit tail TENANT has by whom.",
	"cut.target":                 "The tool was changed or disabled while the call was under way.",
	"cut.secret":                 "The secret was disabled or destroyed while the call was under way.",
	"cut.stale":                  "The shim could not learn what is revoked, and ended the call; look at the store.",
	"cut.idle":                   "Nothing came for too long; timeouts of the upstream says how long that is.",
	"cut.total":                  "The call took too long altogether; timeouts of the upstream says how long that is.",
	"cut.stopped":                "The shim was stopped; the agent may call again.",
	"upgrade.not_allowed":        "The tool takes no WebSocket; set websocket of its upstream, if it may.",
	"decide.not_allowed":         "Set allow_decision_mode of the tool's upstream, and put the secret --decision-mode.",
	"limit.concurrent":           "Raise limits.concurrent of the tool's upstream, if so many calls are right.",
	"inject.value":               "The secret's fields are not those for its place; put a version that has them.",
	"inject.place":               "The call lacks the place that inject names; see: bursar tool show TENANT/TOOL",
	"scope.insufficient":         "The token's scope does not cover the action; the agent must ask for it.",
	"token.none":                 "The agent sent no token; it goes into Authorization: Bearer.",
	"token.unverifiable":         tryAgain,
	"request.target":             fixRequest,
	"request.authorization":      fixRequest,
	"request.header":             fixRequest,
	"request.headers":            fixRequest,
	"target.probe":               "Give the tool an upstream.probe, which says what to call and what to expect.",
	"target.secret":              "The tool's inject does not name this secret; see: bursar tool show TENANT/TOOL",

	"key.unavailable":   "The tenant has no key of the tool's signing_alg yet; look at: bursar keys list TENANT",
	"tenant.changing":   tryAgain,
	"tenant.behind":     tryAgain,
	"tenant.read":       tryAgain,
	"tenant.unreadable": "This server cannot read the tenant; its own log says why.",
	"tenant.unknown":    "The tenant was deleted meanwhile.",
	"store.unavailable": tryAgain,
	"store.conflict":    tryAgain,
	"not_released":      "The token never left the server, and nobody has it; the agent may ask again.",
	"internal":          isBug,
}

// lower makes a sentence the end of another.
func lower(sentence string) string { return strings.ToLower(sentence[:1]) + sentence[1:] }

// Hints that several findings about a log share.
const (
	changedCopy = "Keep the file as evidence, and export the log again: if that passes, only the file was changed."
	changedLog  = "Somebody has the keys of the log. Keep both checkpoints: they prove that two histories were signed."
	shorterLog  = "Somebody restored an older store, or has the keys; keep both checkpoints as evidence. If an operator " +
		"accepted the loss, begin a new file for --state."
	otherKey = "Compare the key, character by character, with the one that the operator gave."
)

// logHints has every code that a finding about a log can have.
var logHints = map[auditor.Code]string{
	auditor.NoCheckpoint:     "An export begins with the file checkpoint; bursar audit export makes one.",
	auditor.BadCheckpointSig: otherKey,
	auditor.BadOldCheckpoint: "An older checkpoint must be of this log, and signed by a key that was given with --key.",
	auditor.BadKeys:          changedCopy,
	auditor.Fork:             changedLog,
	auditor.Rollback:         shorterLog,
	auditor.Rewritten:        changedLog,
	auditor.RootMismatch:     changedCopy,
	auditor.MissingEntries:   changedCopy,
	auditor.ExtraBytes:       changedCopy,
	auditor.BadEvent:         changedCopy,
	auditor.MisusedKey:       "A key that may sign some events only signed another one; revoke the shim whose key it is.",
	auditor.ForgedEvent:      changedCopy,
	auditor.RevokedKey:       "Events by a key that was revoked do not count from then on; find out who still has it.",
	auditor.ForeignEvent:     changedCopy,
	auditor.SecretInLog:      "Revoke the token, and restrict who reads the log: it cannot be taken out.",
	auditor.MissingEvent:     changedCopy,
	auditor.ReplayedEvent:    changedCopy,
	auditor.FewWitnesses:     "Ask the witnesses what they saw; lower --quorum only if one is gone for good.",
	auditor.TokenNotOnRecord: "Treat the token as forged: revoke the signing key that it names (bursar keys revoke).",
	auditor.ClockBack:        "A server's clock was wrong; nothing else follows from it.",
}
