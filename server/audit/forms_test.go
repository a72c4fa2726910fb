package audit

import (
	"strings"
	"time"

	"github.com/bursar-sts/bursar/server/ledger"
)

// object is a JSON object.
type object = map[string]any

// form is what a member can hold, and something that it does hold.
type form struct {
	schema object
	sample any
}

const (
	aThumbprint = "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU"
	aTrace      = "0af7651916cd43dd8448eb211c80319c"
)

var anID = ledger.NewID(time.Unix(1790000000, 0))

func text(about string) form {
	return form{object{"type": "string", "minLength": 1, "maxLength": 257, "description": about}, "some text"}
}

func pattern(about, expr, sample string) form {
	return form{object{"type": "string", "pattern": expr, "description": about}, sample}
}

func id(about string) form { return pattern(about, "^[0-9a-v]{36}$", anID) }

func hash(about string) form { return pattern(about, "^[A-Za-z0-9_-]{43}$", aThumbprint) }

func digest(about string) form {
	return pattern(about, "^sha256:[A-Za-z0-9_-]{43}$", "sha256:"+aThumbprint)
}

func number(about string) form {
	return form{object{"type": "integer", "minimum": 1, "description": about}, int64(1790000000)}
}

func list(of form, about string) form {
	delete(of.schema, "description")
	return form{object{"type": "array", "items": of.schema, "minItems": 1, "maxItems": 64, "description": about},
		[]string{of.sample.(string)}}
}

func enum[T ~string](about string, values ...T) form {
	all := make([]any, len(values))
	for i, v := range values {
		all[i] = string(v)
	}
	return form{object{"type": "string", "enum": all, "description": about}, string(values[0])}
}

// forms are those of the members of a body, but for outcome and reason, which depend on the kind. In the document they
// stand in this order.
var forms = []struct {
	path string
	form
}{
	{"agent", text("The agent, as the sub of our tokens has it: `client:` and its id.")},
	{"decision_id", id("The id of the decision, which a refused caller was told.")},
	{"step", enum("Of an exchange that was not allowed: the step that refused.", "client", "subject", "target", "scope",
		"policy", "lifetime", "mint", "record")},
	{"client_id", text("The client that asked; of a client secret, the client whose it is.")},
	{"auth_method", text("By which the client authenticated.")},
	{"actor.chain", list(text(""), "From the agent that calls to the subject that it acts for.")},
	{"tool", text("The tool's name.")},
	{"actions", list(text(""), "What was granted, by the names of the actions.")},
	{"requested", list(text(""), "What was asked for: actions of the tool; of an operator, the action that the role "+
		"does not allow.")},
	{"within", list(text(""), "The scope of the token of ours that was traded in.")},
	{"limits.policy", number("Seconds that the rules allowed.")},
	{"limits.tool", number("Seconds that the tool allowed.")},
	{"limits.subject", number("When the subject token expires, Unix seconds.")},
	{"limits.actor", number("When the actor token expires, Unix seconds.")},
	{"limits.assertion", number("When the client assertion expires, Unix seconds.")},
	{"resource", text("The tool's URI (RFC 8707), which is the token's audience.")},
	{"token.jti", id("The id of the token that was issued, asked about or revoked.")},
	{"token.th", hash("SHA-256 of the token, base64url.")},
	{"token.exp", number("When it expires, Unix seconds.")},
	{"token.typ", text("Its type.")},
	{"lineage", list(id(""), "The tokens of ours that the token descends from, nearest first.")},
	{"subject_token.iss", text("The issuer of the presented subject token.")},
	{"subject_token.jti", text("Its id, if it has one.")},
	{"subject_token.th", hash("SHA-256 of its exact bytes, base64url. Of a token that was not accepted this is all that " +
		"is recorded.")},
	{"subject_token.alg", text("The algorithm of its signature.")},
	{"subject_token.kid", text("The key of its signature.")},
	{"subject_token.reused", form{object{"const": true, "description": "It was presented before."}, true}},
	{"actor_token.iss", text("The issuer of the presented actor token.")},
	{"actor_token.jti", text("Its id, if it has one.")},
	{"actor_token.th", hash("SHA-256 of its exact bytes, base64url.")},
	{"actor_token.alg", text("The algorithm of its signature.")},
	{"actor_token.kid", text("The key of its signature.")},
	{"actor_token.reused", form{object{"const": true, "description": "It was presented before."}, true}},
	{"policy.rev", text("Hash of the tenant's policies as they stood.")},
	{"policy.rules", list(text(""), "The rules that decided, by id.")},
	{"policy.considered", list(text(""), "The rules about this client at this tool that did not decide, each with the "+
		"check that it did not pass, as `id:check`.")},
	{"change.object", text("The kind of object that was changed.")},
	{"change.id", text("Its id.")},
	{"change.before", digest("SHA-256 of its row before.")},
	{"change.after", digest("SHA-256 of its row after.")},
	{"change.fields", list(text(""), "The names of the fields that changed, never their values.")},
	{"cutoff.kind", enum("What was revoked.", "jti", "lineage", "run", "client", "tool", "tenant", "issuer", "subject")},
	{"cutoff.value", text("Which one; a tenant has none.")},
	{"cutoff.cause", enum("Why, if it was said; `change` where a change of the configuration revoked.",
		append(Causes(), CauseChange)...)},
	{"use.phase", enum("`intent` before anything is sent, `outcome` after the end; absent where nothing was sent.",
		UseIntent, UseOutcome)},
	{"use.mode", enum("Through the shim, or for a proxy that asked.", UseProxy, UseDecision)},
	{"use.secrets", list(text(""), "The secrets that the call carries, each as `name:version`.")},
	{"use.host", text("The host of the upstream, with its port.")},
	{"use.method", text("The method of the call.")},
	{"use.rule", text("The path of the rule that allows it.")},
	{"use.status", number("The status that the upstream answered with.")},
	{"use.sent", number("Bytes of the body, or of messages, that were sent.")},
	{"use.received", number("Bytes of the body, or of messages, that came.")},
	{"use.scrubbed", number("How often a secret stood in the answer, and was masked.")},
	{"use.duration", number("Milliseconds from the intent to the end.")},
	{"log_key.use", enum("What the key signs.", KeyEvent, KeyCheckpoint, KeyShim)},
	{"log_key.action", enum("What became of it.", KeyCreated, KeyRotated, KeyRevoked)},
	{"log_key.kid", text("The key's id.")},
	{"log_key.thumbprint", hash("The public key's thumbprint (RFC 7638).")},
	{"log_key.replaces", text("The id of the key that signed until then.")},
	{"secret.name", text("The name of the secret.")},
	{"secret.version", number("The number of its version.")},
	{"secret.fingerprint", pattern("Names the value and tells nothing of it: the same value has the same one in this "+
		"tenant, and another in every other.", "^[0-9a-f]{16}$", "9f86d081884c7d65")},
	{"secret.state", enum("Where the version is in its life, or, where none is named or all are disabled, the secret.",
		"staged", "active", "retired", "disabled", "destroyed")},
	{"secret.kinds", list(text(""), "How it may be put on a request.")},
	{"secret.host", text("The origin that it may go to.")},
	{"range.first", number("The index of the first event; absent for 0.")},
	{"range.count", number("How many events.")},
	{"tree.epoch", number("The epoch of the log, from 1.")},
	{"tree.size", number("How many events the tree has.")},
	{"tree.root", pattern("Its root hash, base64, as in a checkpoint.", "^[A-Za-z0-9+/]{43}=$",
		"47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=")},
	{"archive.name", text("The checkpoint of the archive that holds what was dropped, below the folder of archives.")},
	{"archive.hash", digest("SHA-256 of that checkpoint, whose tree covers what was dropped.")},
	{"server.version", text("The version of the server.")},
	{"server.durability", text("What an acknowledged write to its store survives.")},
	{"operator.id", text("The operator: the id of the token, `admin.token` for the one in the server's file, or " +
		"`schedule` where the server acts by itself, or `restore` for the command of that name.")},
	{"operator.role", enum("The operator's role.", "admin", "editor", "keeper", "responder", "auditor")},
	{"count", number("How many alike this one event stands for.")},
	{"start", number("When the first of them was, Unix seconds.")},
	{"end", number("When the last of them was, Unix seconds.")},
	{"request.ip", form{object{"type": "string", "anyOf": []any{object{"format": "ipv4"}, object{"format": "ipv6"}},
		"description": "The caller's address; of a flood, the first one's."}, "192.0.2.1"}},
	{"request.trace", pattern("The W3C trace id of the request.", "^[0-9a-f]{32}$", aTrace)},
	{"request.node", text("The server.")},
}

// formOf returns the form of a path; its zero value if there is none.
func formOf(path string) form {
	for _, f := range forms {
		if f.path == path {
			return f.form
		}
	}
	return form{}
}

// spec is one member of a kind's body.
type spec struct {
	name  string
	mark  byte // '!', '?' or 0
	parts []spec
}

// specs reads kind.body.
func specs(s string) []spec {
	all, rest := readSpecs(strings.TrimSpace(s))
	if rest != "" {
		panic("unbalanced parentheses: " + s)
	}
	return all
}

func readSpecs(s string) (all []spec, rest string) {
	for s != "" && s[0] != ')' {
		end := strings.IndexAny(s+" ", " ()")
		one := spec{name: s[:end]}
		if last := one.name[len(one.name)-1]; last == '!' || last == '?' {
			one.name, one.mark = one.name[:len(one.name)-1], last
		}
		if s = s[end:]; strings.HasPrefix(s, "(") {
			one.parts, s = readSpecs(s[1:])
			s = strings.TrimPrefix(s, ")")
		}
		all, s = append(all, one), strings.TrimLeft(s, " ")
	}
	return all, s
}
