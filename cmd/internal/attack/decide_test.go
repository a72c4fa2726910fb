package attack_test

import (
	"crypto/rand"
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/bursar-sts/bursar/cmd/internal/attack/forge"
)

// actor returns the act of the token to come; nil for the subject's own.
func (v *victim) actor(form url.Values, id string, subject map[string]any) (map[string]any, error) {
	compact := form.Get("actor_token")
	if compact == "" || v.has("ignores the actor") {
		return nil, nil
	}
	actor, err := v.verify(compact, form.Get("actor_token_type"), id)
	if err != nil {
		return nil, err
	}
	sub, _ := actor["sub"].(string)
	if actor["act"] != nil && !v.has("actors bring actors") || sub != actorSub && !v.lent(sub, subject) ||
		!v.oneRun(subject, actor) || sub == subject["sub"] && !v.has("acts for itself") || !v.mayAct(subject, actor) {
		return nil, badRequest
	}
	act := map[string]any{"iss": v.URL, "sub": "client:" + id}
	if subject["act"] != nil && !v.has("forgets prior actors") {
		act["act"] = subject["act"]
	}
	if v.has("leaves act out") {
		return nil, nil
	}
	return act, nil
}

// oneRun reports whether two tokens may be of one run.
func (v *victim) oneRun(subject, actor map[string]any) bool {
	return subject["txn"] == nil || actor["txn"] == nil || subject["txn"] == actor["txn"] || v.has("joins runs") ||
		v.has("joins its own runs") && subject["iss"] == v.URL
}

// lent reports whether somebody else acts as the actor.
func (v *victim) lent(sub string, subject map[string]any) bool {
	prior, _ := subject["act"].(map[string]any)
	return v.has("any actor") || v.has("actors by their beginning") && strings.HasPrefix(sub, actorSub) ||
		v.has("prior actors count") && prior["sub"] == actorSub
}

func (v *victim) mayAct(subject, actor map[string]any) bool {
	if subject["may_act"] == nil || v.has("ignores may_act") {
		return true
	}
	may, _ := subject["may_act"].(map[string]any)
	if len(may) == 0 && v.has("empty may_act is anyone") {
		return true
	}
	return may["sub"] == actor["sub"] && (may["iss"] == nil || may["iss"] == actor["iss"] || v.has("may_act without iss"))
}

// aim finds the target.
func (v *victim) aim(form url.Values) ([]string, error) {
	names := append(slices.Clone(form["resource"]), form["audience"]...)
	if v.has("ignores audience") {
		names = form["resource"]
	}
	if v.has("one way to name it") && form.Has("resource") && form.Has("audience") {
		return nil, badTarget
	}
	for i, name := range names {
		if !v.has("hosts have a case") && strings.HasPrefix(name, "HTTPS://TOOLS.EXAMPLE/") {
			names[i] = "https://tools.example/" + strings.TrimPrefix(name, "HTTPS://TOOLS.EXAMPLE/")
		}
	}
	if v.has("any target") && len(names) > 0 {
		return names[len(names)-1:], nil
	}
	if !v.has("counts repetitions") {
		names = slices.Compact(names)
	} else if len(names) > 1 {
		return nil, badTarget
	}
	if len(names) == 0 {
		if v.has("default target") {
			return []string{target}, nil
		}
		return nil, badTarget
	}
	for _, name := range names {
		ok := name == target || v.has("targets by their beginning") && strings.HasPrefix(name, target) ||
			v.has("second target is ignored") && name != names[0]
		if !ok && v.has("tells denied targets") && name == "https://tools.example/vault" {
			return nil, refusal{400, "access_denied"}
		}
		if !ok {
			return nil, badTarget
		}
	}
	if v.has("targets by their beginning") {
		return names[:1], nil
	}
	return []string{target}, nil
}

// scope finds what is granted.
func (v *victim) scope(form url.Values, subject map[string]any) (string, error) {
	asked := form.Get("scope")
	if asked == "" {
		return "read", nil
	}
	if asked == "write read" && v.has("knows one order") {
		return "", badScope
	}
	ceiling := []string{"read", "write"}
	if own, ok := subject["scope"].(string); ok && !v.has("widens its own tokens") {
		ceiling = strings.Fields(own)
	}
	var granted []string
	for _, one := range strings.Split(asked, " ") {
		switch {
		case slices.Contains(ceiling, one), v.has("grants what is asked"),
			v.has("one list of scopes") && one == "vault.read", v.has("scopes in any case") &&
				slices.Contains(ceiling, strings.ToLower(one)):
			granted = append(granted, one)
		case !v.has("narrows silently"):
			return "", badScope
		}
	}
	if v.has("grants all it can") {
		granted = ceiling
	}
	return strings.Join(granted, " "), nil
}

// issue signs a token.
func (v *victim) issue(subject map[string]any, id string, aud []string, scope string) (map[string]any, error) {
	now := time.Now().Unix()
	exp := now + 300
	if until, ok := subject["exp"].(json.Number); ok && !v.has("buys time") {
		parent, _ := until.Int64()
		exp = min(exp, parent)
	}
	if v.has("buys time") {
		exp += int64(len(v.used)) // every token later than the one before
		v.used[rand.Text()] = true
	}
	claims := map[string]any{"iss": v.URL, "sub": subject["sub"], "aud": aud[0], "client_id": id, "scope": scope,
		"iat": now,
		"exp": exp, "jti": rand.Text(), "parents": append(parents(subject), subject["jti"])}
	if claims["txn"] = subject["txn"]; claims["txn"] == nil {
		claims["txn"] = rand.Text()
	}
	if v.has("hides the target") {
		delete(claims, "aud")
	}
	if v.has("copies claims") && subject["client_id"] != nil {
		claims["client_id"], claims["jti"] = subject["client_id"], subject["jti"]
	}
	if v.has("keeps another scope") {
		claims["scope"] = "read"
	}
	if subject["act"] != nil && !v.has("strips act") && !(v.has("strips its own act") && subject["iss"] == v.URL) {
		claims["act"] = subject["act"]
	}
	if subject["may_act"] != nil && v.has("hands may_act on") {
		claims["may_act"] = subject["may_act"]
	}
	key := v.own
	if v.has("signs with another key") {
		key = forge.NewKey("own")
	}
	head := forge.With(key.Head(), map[string]any{"typ": "at+jwt"})
	body := map[string]any{"access_token": key.Sign(forge.Text(head), forge.Text(claims)), "token_type": "Bearer",
		"issued_token_type": types + "access_token", "expires_in": exp - now, "scope": scope}
	if v.has("says no time") {
		delete(body, "expires_in")
	}
	if v.has("says less") {
		delete(body, "issued_token_type")
	}
	if v.has("keeps the scope to itself") || v.has("keeps another scope") {
		delete(body, "scope")
	}
	if v.has("issues refresh tokens") {
		body["refresh_token"] = "r"
	}
	return body, nil
}

func parents(claims map[string]any) []any { list, _ := claims["parents"].([]any); return list }

// gone reports whether a token was revoked, or what it was made of.
func (v *victim) gone(claims map[string]any) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	ids := []any{claims["jti"]}
	if !v.has("children live on") {
		ids = append(ids, parents(claims)...)
	}
	return slices.ContainsFunc(ids, func(id any) bool { s, _ := id.(string); return v.revoked[s] })
}
