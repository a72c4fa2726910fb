package audit

import (
	"cmp"
	"slices"
	"strings"
)

// kind describes one kind of event. The encoder refuses an event of no kind; the JSON schemas and docs/events.md are
// made of these, so that neither can say anything else than the code does.
type kind struct {
	name string
	when string // it is recorded
	// waits says who waits until it is durable; empty if nobody does. Whoever waits and is told that it failed, although
	// it did not, has an event like it follow, with the outcome "error" and a reason of notDone.
	waits    string
	outcomes string // by which it ends
	reasons  string // why, unless it is allowed: codes, and families of them such as "policy.*"
	of       subject
	exempt   bool // from the rules that stop a log; see request.exempt
	// body lists the members that it has, in any order. One that ends in "!" is there whenever the event is allowed, one
	// that ends in "?" may be absent, and every other is always there; the members of an object stand in parentheses.
	body string
}

// subject says whom the claims around the body are about.
type subject int

const (
	ofLog   subject = iota // nobody: the log, the configuration, or whoever is in the body
	ofAgent                // an agent in a run: there is txn, sub_id, and agent in the body
)

// notDone are the reasons that the log itself gives.
const notDone = NotReleased + " " + NotConfirmed

// Lists of members that several kinds have.
const (
	memRequest  = " request?(ip? trace? node?)"
	memOperator = " operator(id role?)"
	memKey      = "iss? jti? th? alg? kid? reused?"
	memTree     = "epoch size root"
	memVersion  = "secret(name version fingerprint state kinds host)"
	memRow      = "change(object id before? after) "
)

// kinds are all of them, in the order of docs/events.md.
var kinds = append([]kind{
	{
		name: TokenExchange,
		when: "A client that is known asked for a token: it was issued, refused, or recorded and then withheld. " +
			"Exactly one for each request, and one more if a recorded token was withheld.",
		waits: "the answer", outcomes: "allowed denied error", of: ofAgent,
		reasons: "policy.* revoked.* subject.* actor.* client.* target.* scope.* delegation.* request.* issuer.* " +
			"key.* tenant.* store.* internal",
		body: "decision_id step? client_id auth_method actor(chain) tool! actions! requested? within? " +
			"limits!(policy tool subject? actor? assertion?) resource! token!(jti th exp typ) lineage? " +
			"subject_token?(" + memKey + ") actor_token?(" + memKey + ") policy!(rev rules? considered?)" + memRequest,
	}, {
		name: TokenIntrospect,
		when: "A resource server asked about a token of this tenant that is not for it, is revoked, or is for a tool that " +
			"is gone. Questions about active tokens are not recorded.",
		waits: "the answer", outcomes: "denied", of: ofAgent,
		reasons: "introspect.not_addressed target.unknown revoked.*",
		body:    "client_id actor(chain) tool? resource token(jti exp)" + memRequest,
	}, {
		name:  TokenRevoke,
		when:  "A client, or a resource server, revoked a token (RFC 7009), or tried to revoke somebody else's.",
		waits: "the answer, and the revocation with it", outcomes: "allowed denied", of: ofAgent,
		reasons: "revoke.not_owner",
		body:    "client_id actor(chain) tool? resource token(jti exp) cutoff!(kind value)" + memRequest,
	}, {
		name: KeyUse,
		when: "An agent called an upstream through the shim, or a proxy asked whether it may. An allowed call has two " +
			"events of one decision_id: the intent before anything is sent, and the outcome after its end, which is missing " +
			"if the shim was killed. A call with a good token that was refused has one.",
		waits: "the call to the upstream", outcomes: "allowed denied error", of: ofAgent,
		reasons: "path.* query.* body.* method.* scope.* details.* secret.* limit.* upstream.* answer.* revoked.* " +
			"cut.* token.* target.* tenant.* store.* decide.* inject.* upgrade.* superseded internal",
		body: "decision_id client_id actor(chain) tool actions? resource token(jti exp) lineage? " +
			"use(phase? mode secrets? host? method? rule? status? sent? received? scrubbed? duration?)" + memRequest,
	}, {
		name: DenyFlood,
		when: "Callers whom nobody knows, or who ask too often, were refused: one event for many of one reason, at most " +
			"240 at once and 1,200 an hour of one log and server.",
		outcomes: "denied",
		reasons:  "*",
		body:     "count start end" + memRequest,
	}, {
		name:  CutoffSet,
		when:  "An operator revoked, or a change of the configuration took away what tokens rest on.",
		waits: "the answer, and the revocation with it", outcomes: "allowed",
		body: "cutoff(kind value? cause?) change?(before after) count?" + memOperator + memRequest,
	}, {
		name:  CutoffEnable,
		when:  "An operator let a target be used again that a revocation had disabled.",
		waits: "the answer, and the change with it", outcomes: "allowed",
		body: "cutoff(kind value?)" + memOperator + memRequest,
	}, {
		name: AuthAdmin,
		when: "An operator used a token here from an address for the first time since the server started, and again " +
			"once an hour after that; or tried what the role does not allow. Wrong tokens are in `deny.flood`.",
		waits: "the answer", outcomes: "allowed denied", exempt: true,
		reasons: "operator.role",
		body:    "requested?" + memOperator + memRequest,
	}, {
		name: AuditRead,
		when: "An operator read the log from an address for the first time since the server started, and again once an " +
			"hour after that.",
		waits: "the answer", outcomes: "allowed", exempt: true,
		body: memOperator + memRequest,
	}, {
		name: AuditExport, when: "A part of the log was handed out whole, to be verified elsewhere.",
		waits: "the answer", outcomes: "allowed", exempt: true,
		body: "range(first? count) tree(" + memTree + ")" + memOperator + memRequest,
	}, {
		name: AuditPrune,
		when: "A part of the log was archived and dropped. The tree covers what was dropped, and the log verifies on from " +
			"there.",
		waits: "the dropping", outcomes: "allowed",
		body: "range(first? count) tree(" + memTree + ") archive?(name hash)" + memOperator + memRequest,
	}, {
		name: LogEpoch,
		when: "An operator accepted that the log lost events for good: it goes on under another origin, and this is the " +
			"head that was the last one known.",
		waits: "the new epoch", outcomes: "allowed", exempt: true,
		body: "tree(" + memTree + ")" + memOperator + memRequest,
	}, {
		name: LogKeyEvent, when: "A key that signs the events or the checkpoints of this log was made, rotated or revoked.",
		waits: "the key, and the answer", outcomes: "allowed",
		body: "log_key(use action kid thumbprint replaces?) operator?(id role?)" + memRequest,
	}, {
		name: ServerStart,
		when: "A server begins to serve; in the platform's log. If it cannot be recorded, the server says so in its own " +
			"log and serves all the same, because somebody may have to revoke.",
		waits: "every request to it", outcomes: "allowed", exempt: true,
		body: "server(version durability) request?(node?)",
	}, {
		name: ServerStop,
		when: "A server ended: allowed if it was told to, error if a listener of it failed; in the platform's log. A " +
			"start that no stop precedes tells of a crash.",
		waits: "the end of the process", outcomes: "allowed error", exempt: true,
		reasons: "server.failed",
		body:    "server(version durability) request?(node?)",
	}, {
		name: WriterStart, when: "A server begins to write this log; its first event here.",
		outcomes: "allowed",
		body:     "request?(node?)",
	}, {
		name: WriterStop,
		when: "A server ended in order, and writes no more of this log; its last event here. Without one the server was " +
			"killed, or its last events are missing.",
		outcomes: "allowed",
		body:     "request?(node?)",
	},
}, slices.Concat(secrets(), changes())...)

// secrets are the kinds about a tenant's vault. Before and After are digests of the secret's row, which holds all
// versions: so the log says which row is the current one.
func secrets() []kind {
	const change = "the answer, and the change with it"
	all := []kind{{
		name: SecretPut, waits: change, body: memRow + memVersion,
		when: "An operator put a version of a secret; its value is sealed and nowhere else.",
	}, {
		name: SecretActivate, waits: change, body: memRow + memVersion,
		when: "An operator made the calls from now on use a version of a secret.",
	}, {
		name: SecretRollback, waits: change, body: memRow + memVersion,
		when: "An operator made the calls from now on use the version that was active before.",
	}, {
		name: SecretDisable, waits: change, body: memRow + "secret(name version? state)",
		when: "An operator had every call refused that needs a secret; the version is the active one.",
	}, {
		name: SecretEnable, waits: change, body: memRow + "secret(name version? state)",
		when: "An operator let calls use a disabled secret again; the version is the active one.",
	}, {
		name: SecretDestroy, waits: change, body: memRow + "secret(name version? fingerprint? state)",
		when: "An operator destroyed the value of a version, or, where no version is named, of all.",
	}, {
		name: SecretTest, waits: "the call that tries it, and its answer", outcomes: "allowed error",
		reasons: "upstream.* answer.* secret.* target.* inject.* tenant.* store.* internal",
		body:    memVersion + " tool use(phase status?)",
		when: "An operator had the probe of a tool made with a version of a secret. There are two: the intent before " +
			"anything is sent, and the outcome, with the status that the upstream answered.",
	}, {
		name: SecretRewrap, waits: "the change", body: "change(object before? after?) count?",
		when: "The server sealed secrets anew, after a rotation of the vault's data key: one event for many. The digests " +
			"are over the lines \"<name> <digest>\\n\" of all.",
	}, {
		name: SecretShred, waits: change, body: "change(object id) count?",
		when: "An operator destroyed all secrets of the tenant, and the data keys that seal them.",
	}}
	for i := range all {
		all[i].outcomes = cmp.Or(all[i].outcomes, "allowed")
		all[i].body += memOperator + memRequest
	}
	return all
}

// changes are the kinds of "admin.<object>.<verb>". A change that is too large for one commit has one event for all of
// a kind, with their count and without id, whose digests are over the lines "<id> <digest>\n" of all.
func changes() []kind {
	var all []kind
	for _, c := range []struct{ object, verbs string }{
		{"tenant", "create backup restore"},
		{"issuer", "create update delete"},
		{"client", "create update delete"},
		{"client-secret", "create delete"},
		{"tool", "create update delete"},
		{"policy", "create update delete"},
		{"signing-key", "create rotate revoke"},
		{"data-key", "rewrap rotate"},
		{"shim-key", "create delete"},
		{"operator", "create delete"},
	} {
		for verb := range strings.FieldsSeq(c.verbs) {
			k := kind{
				name:  "admin." + c.object + "." + verb,
				when:  "An operator made the change; keys are rotated by the operator `schedule`, too.",
				waits: "the answer, and the change with it", outcomes: "allowed",
				body: map[string]string{
					"create": "change(object id? before? after)", "delete": "change(object id? before after?)",
					"backup": "change(object id)", "restore": "change(object id before? after?)",
				}[verb],
			}
			switch verb {
			case "backup":
				k.when, k.exempt = "An operator copied all that there is of the tenant, or of the platform.", true
			case "rewrap":
				k.when = "An operator had a data key, which seals other keys or secrets, sealed by the present master key."
			case "rotate":
				if c.object == "data-key" {
					k.when = "An operator let a new data key seal the tenant's secrets; what the old one sealed is sealed anew."
				}
			case "restore":
				k.when = "Somebody put the tenant, or the platform, back as a backup has it, with the command on the server's " +
					"machine; in the platform's log."
			}
			if k.body == "" {
				k.body = "change(object id? before after fields?)"
			}
			if c.object == "client-secret" { // one row holds all of a client
				k.body = "client_id " + k.body
			}
			k.body += " count?" + memOperator + memRequest
			all = append(all, k)
		}
	}
	return all
}

var kindOf = func() map[string]*kind {
	all := make(map[string]*kind, len(kinds))
	for i := range kinds {
		all[kinds[i].name] = &kinds[i]
	}
	return all
}()
