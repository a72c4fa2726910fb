package audit

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"strconv"
)

// body writes what is recorded of an event: each field of Body under the name in its tag, in the order of the fields.
func (w *writer) body(b *Body) {
	w.text("outcome", string(b.Outcome))
	w.text("reason", slug(b.Reason))
	w.text("decision_id", b.DecisionID)
	w.text("step", b.Step)
	w.text("client_id", b.ClientID)
	w.text("auth_method", b.Method)
	w.object("actor", func() { w.list("chain", b.Actor.Chain) })
	w.text("tool", b.Tool)
	w.list("actions", b.Actions)
	w.list("requested", shorten(b.Requested, w.limits.asked))
	w.list("within", b.Within)
	w.object("limits", func() {
		w.number("policy", b.Limits.Policy)
		w.number("tool", b.Limits.Tool)
		w.number("subject", b.Limits.Subject)
		w.number("actor", b.Limits.Actor)
		w.number("assertion", b.Limits.Assertion)
	})
	w.text("resource", b.Resource)
	w.object("token", func() {
		w.text("jti", b.Token.JTI)
		w.text("th", b.Token.Hash)
		w.number("exp", b.Token.Expiry)
		w.text("typ", b.Token.Type)
	})
	w.list("lineage", b.Lineage)
	w.object("subject_token", func() { w.presented(&b.Subject) })
	w.object("actor_token", func() { w.presented(&b.ActorToken) })
	w.object("policy", func() {
		w.text("rev", b.Policy.Revision)
		w.list("rules", b.Policy.Rules)
		w.list("considered", b.Policy.Considered)
	})
	w.object("change", func() {
		w.text("object", b.Change.Object)
		w.text("id", b.Change.ID)
		w.text("before", b.Change.Before)
		w.text("after", b.Change.After)
		w.list("fields", b.Change.Fields)
	})
	w.object("cutoff", func() {
		w.text("kind", b.Cutoff.Kind)
		w.text("value", b.Cutoff.Value)
		w.text("cause", string(b.Cutoff.Cause))
	})
	w.object("use", func() { w.use(&b.Use) })
	w.housekeeping(b)
	w.object("operator", func() {
		w.text("id", b.Operator.ID)
		w.text("role", b.Operator.Role)
	})
	w.object("request", func() {
		w.address("ip", b.Request.IP)
		if isTraceID(b.Request.Trace) {
			w.text("trace", b.Request.Trace)
		}
		w.text("node", b.Request.Node)
	})
	w.number("count", b.Count)
	w.number("start", b.Start)
	w.number("end", b.End)
}

func (w *writer) use(u *Use) {
	w.text("phase", u.Phase)
	w.text("mode", u.Mode)
	w.list("secrets", u.Secrets)
	w.text("host", u.Host)
	w.text("method", u.Method)
	w.text("rule", u.Rule)
	w.number("status", u.Status)
	w.number("sent", u.Sent)
	w.number("received", u.Received)
	w.number("scrubbed", u.Scrubbed)
	w.number("duration", u.Duration)
}

// housekeeping writes what is recorded of the log and of its servers.
func (w *writer) housekeeping(b *Body) {
	w.object("log_key", func() {
		w.text("use", b.LogKey.Use)
		w.text("action", b.LogKey.Action)
		w.text("kid", b.LogKey.KeyID)
		w.text("thumbprint", b.LogKey.Thumbprint)
		w.text("replaces", b.LogKey.Replaces)
	})
	w.object("secret", func() {
		w.text("name", b.Secret.Name)
		w.number("version", b.Secret.Version)
		w.text("fingerprint", b.Secret.Fingerprint)
		w.text("state", b.Secret.State)
		w.list("kinds", b.Secret.Kinds)
		w.text("host", b.Secret.Host)
	})
	w.object("tree", func() {
		w.number("epoch", b.Tree.Epoch)
		w.number("size", b.Tree.Size)
		w.text("root", b.Tree.Root)
	})
	w.object("range", func() {
		w.number("first", b.Range.First)
		w.number("count", b.Range.Count)
	})
	w.object("archive", func() {
		w.text("name", b.Archive.Name)
		w.text("hash", b.Archive.Hash)
	})
	w.object("server", func() {
		w.text("version", b.Server.Version)
		w.text("durability", b.Server.Durability)
	})
}

func (w *writer) presented(p *Presented) {
	w.text("iss", p.Issuer)
	w.text("jti", p.JTI)
	w.text("th", p.Hash)
	w.text("alg", p.Alg)
	w.text("kid", p.KeyID)
	w.flag("reused", p.Reused)
}

// writer appends the members of JSON objects, as encoding/json would but without reflection, which took a third of an
// event's time. A member whose value is empty is left out. Strings are cut and cleaned on the way.
type writer struct {
	to     []byte
	limits limits
}

func (w *writer) name(name string) {
	if w.to[len(w.to)-1] != '{' {
		w.to = append(w.to, ',')
	}
	w.to = append(w.to, '"')
	w.to = append(w.to, name...)
	w.to = append(w.to, `":`...)
}

// object writes an object with what members writes into it.
func (w *writer) object(name string, members func()) {
	start := len(w.to)
	w.name(name)
	w.to = append(w.to, '{')
	empty := len(w.to)
	members()
	if len(w.to) == empty {
		w.to = w.to[:start]
		return
	}
	w.to = append(w.to, '}')
}

// text writes a string that somebody else chose.
func (w *writer) text(name, value string) { w.exact(name, clean(value, w.limits.text)) }

// exact writes a string as it is.
func (w *writer) exact(name, value string) {
	if value != "" {
		w.name(name)
		w.to = appendString(w.to, value)
	}
}

func (w *writer) list(name string, values []string) {
	if len(values) == 0 {
		return
	}
	w.name(name)
	w.to = append(w.to, '[')
	for i, value := range shorten(values, w.limits.list) {
		if i > 0 {
			w.to = append(w.to, ',')
		}
		w.to = appendString(w.to, clean(value, w.limits.text))
	}
	w.to = append(w.to, ']')
}

func (w *writer) number(name string, n int64) {
	if n != 0 {
		w.name(name)
		w.to = strconv.AppendInt(w.to, n, 10)
	}
}

func (w *writer) flag(name string, set bool) {
	if set {
		w.name(name)
		w.to = append(w.to, "true"...)
	}
}

func (w *writer) address(name string, a netip.Addr) {
	if a.IsValid() {
		w.name(name)
		w.to = append(w.to, '"')
		w.to = a.Unmap().WithZone("").AppendTo(w.to)
		w.to = append(w.to, '"')
	}
}

// appendString appends s as a JSON string. An ampersand stays one byte: nothing here is a page, and six bytes for it
// would spoil the bounds.
func appendString(to []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			var quoted bytes.Buffer
			enc := json.NewEncoder(&quoted)
			enc.SetEscapeHTML(false)
			_ = enc.Encode(s) // a string always encodes
			return append(to, bytes.TrimSuffix(quoted.Bytes(), []byte("\n"))...)
		}
	}
	to = append(to, '"')
	to = append(to, s...)
	return append(to, '"')
}
