package attack_test

import (
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/bursar-sts/bursar/clients/token"
	"github.com/bursar-sts/bursar/cmd/internal/attack/forge"
)

func (v *victim) exchange(r *http.Request, id string, form url.Values) (map[string]any, error) {
	if kind := form.Get("grant_type"); kind != grant && !v.has("takes any grant") {
		if kind == "" {
			return nil, badRequest
		}
		return nil, refusal{400, "unsupported_grant_type"}
	}
	if form.Get("subject_token") == "" && v.has("falls back to the client") {
		return v.issue(map[string]any{"sub": id, "exp": time.Now().Unix() + 300, "scope": "read"}, id, []string{target},
			"read")
	}
	requested := form.Get("requested_token_type")
	unsupported := form.Has("requested_token_type") && requested != types+"access_token" &&
		!v.has("ignores the requested type") ||
		form.Has("authorization_details") && !v.has("ignores details") || r.Header.Get("DPoP") != "" && !v.has("ignores DPoP")
	if unsupported || form.Has("actor_token") != form.Has("actor_token_type") && !v.has("ignores the actor") {
		return nil, badRequest
	}
	subject, err := v.verify(form.Get("subject_token"), form.Get("subject_token_type"), id)
	if err != nil {
		return nil, err
	}
	if subject["iss"] != v.URL && v.stranger(subject) {
		return nil, badRequest
	}
	if v.has("good once") && subject["iss"] == trusted && !v.claim(subject) {
		return nil, badRequest
	}
	act, err := v.actor(form, id, subject)
	if err != nil {
		return nil, err
	}
	aud, err := v.aim(form)
	if err != nil {
		return nil, err
	}
	scope, err := v.scope(form, subject)
	if err != nil {
		return nil, err
	}
	if v.tired(form, subject) {
		return nil, badRequest
	}
	if act != nil {
		subject = maps.Clone(subject)
		subject["act"] = act
	}
	return v.issue(subject, id, aud, scope)
}

// claim reports whether a token is used for the first time.
func (v *victim) claim(subject map[string]any) bool {
	jti, _ := subject["jti"].(string)
	v.mu.Lock()
	defer v.mu.Unlock()
	first := !v.used[jti]
	v.used[jti] = true
	return first || v.has("forgets what it used")
}

// verify checks a token and returns its claims.
func (v *victim) verify(compact, kind, id string) (map[string]any, error) {
	if v.has("strips Bearer") {
		compact = strings.TrimPrefix(compact, "Bearer ")
	}
	if parts := strings.Split(compact, "."); v.has("takes more parts") && len(parts) > 3 {
		compact = strings.Join(parts[:3], ".")
	}
	if v.has("spells loosely") {
		compact = strings.NewReplacer("=", "", "\n", "").Replace(compact)
	}
	key := v.issuer
	if v.has("sniffs types") {
		kind = types + "jwt"
	}
	iss, aud := trusted, v.URL
	if t, err := forge.Parse(compact); err == nil && (kind == types+"access_token" || v.has("sniffs types")) &&
		v.ours(t.Claims()) {
		key, iss, aud = v.own, v.URL, target
	} else if kind != types+"jwt" || compact == "" {
		return nil, badRequest
	}
	t, err := v.parse(compact)
	if err != nil {
		return nil, err
	}
	if !v.signed(t, compact, key) {
		return nil, badRequest
	}
	claims := t.Claims()
	if iss == v.URL {
		if v.gone(claims) && !v.has("exchanges revoked tokens") || claims["client_id"] != id &&
			!v.has("any client exchanges") {
			return nil, badRequest
		}
		return claims, v.dated(claims)
	}
	if (claims["iss"] != iss && !v.trusts(claims["iss"])) || !v.meant(claims, aud) {
		return nil, badRequest
	}
	if sub, _ := claims["sub"].(string); sub == "" && !v.has("any sub") {
		return nil, badRequest
	}
	if claims["cnf"] != nil && !v.has("drops cnf") || claims["act"] != nil && !v.chained(claims["act"]) {
		return nil, badRequest
	}
	return claims, v.dated(claims)
}

// parse reads a token strictly.
func (v *victim) parse(compact string) (*forge.Token, error) {
	if v.has("spells loosely") {
		t, err := forge.Parse(compact)
		if err != nil {
			return nil, badRequest
		}
		return t, nil
	}
	parts := strings.Split(compact, ".")
	for _, part := range parts {
		if _, err := base64.RawURLEncoding.Strict().DecodeString(part); err != nil {
			return nil, badRequest
		}
	}
	t, err := forge.Parse(compact)
	if err != nil || len(compact) > tokenLimit && !v.has("takes large tokens") || strings.ContainsAny(compact, "\n\r") {
		return nil, badRequest
	}
	if strings.Count(compact, ".") != 2 {
		return nil, badRequest
	}
	strict := token.CheckJSON([]byte(t.Payload)) == nil && token.CheckJSON([]byte(t.Header)) == nil
	if !strict && !v.has("parses loosely") {
		return nil, badRequest
	}
	return t, nil
}

// signed reports whether a key's owner signed a token.
func (v *victim) signed(t *forge.Token, compact string, key *forge.Key) bool {
	head := t.Head()
	alg, _ := head["alg"].(string)
	if strings.EqualFold(alg, "none") && v.has("takes alg none") {
		return true
	}
	if alg == "HS256" && v.has("takes HS256") {
		for _, secret := range key.Public().Secrets() {
			if forge.HS256(t.Header, t.Payload, secret) == compact {
				return true
			}
		}
	}
	if jwk := head["jwk"]; jwk != nil && v.has("believes jwk") {
		text, _ := json.Marshal(map[string]any{"keys": []any{jwk}})
		keys, err := forge.KeySet(text)
		return err == nil && len(keys) == 1 && keys[0].Verify(compact)
	}
	if jku, _ := head["jku"].(string); jku != "" && v.has("follows jku") {
		if resp, err := http.Get(jku); err == nil {
			_ = resp.Body.Close()
		}
		return false
	}
	if head["b64"] != nil && v.has("takes b64") {
		return true
	}
	typ, _ := head["typ"].(string)
	if head["crit"] != nil && !v.has("ignores crit") || head["b64"] != nil ||
		head["kid"] != key.ID && !v.has("tries all keys") &&
			(head["kid"] != "encryption" || !v.has("any use of a key")) || typ != "JWT" && (typ != "at+jwt" || key != v.own) &&
		!v.has("any typ") {
		return false
	}
	if v.has("any algorithm") && alg != key.Alg && alg != "none" {
		return sameHash(compact, key)
	}
	return alg == key.Alg && (v.has("verifies nothing") || key.Public().Verify(compact))
}

func (v *victim) meant(claims map[string]any, aud string) bool {
	switch said := claims["aud"].(type) {
	case nil:
		return v.has("no aud is fine")
	case string:
		return said == aud || v.has("any aud") || v.has("aud by its beginning") && strings.HasPrefix(said, aud)
	case []any:
		alone := claims["iss"] != mesh || len(said) == 1 || v.has("lets meshes share")
		return v.has("any aud") || slices.Contains(said, any(aud)) && alone
	}
	return v.has("any aud")
}

// dated checks the dates of a token.
func (v *victim) dated(claims map[string]any) error {
	now := time.Now().Unix()
	odd := false
	date := func(name string) (int64, bool) {
		n, isNumber := claims[name].(json.Number)
		f, err := n.Float64()
		if claims[name] != nil && (!isNumber || err != nil || f < 0 || f > 1e15) {
			odd = true
			return 0, false
		}
		return int64(f), claims[name] != nil
	}
	exp, hasExp := date("exp")
	nbf, hasNbf := date("nbf")
	iat, hasIat := date("iat")
	leeway := int64(0)
	if v.has("has leeway") {
		leeway = 60
	}
	switch {
	case odd && !v.has("odd dates are none"),
		!hasExp && !v.has("no exp is fine") && !(odd && v.has("odd dates are none")),
		hasExp && exp <= now-leeway && !v.has("takes expired tokens"),
		hasExp && exp > now+86400 && !v.has("any lifetime"),
		hasNbf && nbf > now+60 && !v.has("ignores nbf"),
		!hasIat, iat > now+60 && !v.has("takes later tokens"):
		return badRequest
	}
	return nil
}

// chained reports whether a trusted issuer's act may be taken over.
func (v *victim) chained(act any) bool {
	depth := 0
	for object, ok := act.(map[string]any); act != nil; object, ok = act.(map[string]any) {
		sub, _ := object["sub"].(string)
		if !ok || sub == "" {
			return v.has("any act")
		}
		if object["iss"] == v.URL && !v.has("believes act in its name") {
			return false
		}
		act, depth = object["act"], depth+1
	}
	return depth <= 8 || v.has("any depth")
}
