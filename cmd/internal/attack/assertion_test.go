package attack_test

import (
	"encoding/json"
	"net/url"
	"slices"
	"time"

	"github.com/bursar-sts/bursar/cmd/internal/attack/forge"
)

const jwtBearer = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

// asserted authenticates the client whose key is the trusted issuer's, which spares the tests another one.
func (v *victim) asserted(form url.Values) (string, error) {
	if form.Get("client_assertion_type") != jwtBearer && !v.has("any assertion type") {
		return "", badClient
	}
	compact := form.Get("client_assertion")
	t, err := forge.Parse(compact)
	if err != nil || !v.signed(t, compact, v.issuer) {
		return "", badClient
	}
	claims, now := t.Claims(), time.Now().Unix()
	aud, _ := claims["aud"].(string)
	list, _ := claims["aud"].([]any)
	date := func(name string) int64 {
		n, _ := claims[name].(json.Number)
		seconds, _ := n.Int64()
		return seconds
	}
	exp := date("exp")
	switch {
	case aud != v.URL && !(slices.Contains(list, any(v.URL)) && v.has("assertions for others too")) &&
		!v.has("assertions for anybody"):
		if v.has("burns good assertions") {
			v.claim(claims)
		}
		return "", badClient
	case exp <= now && !v.has("assertions for ever"), exp > now+3600 && !v.has("assertions for years"),
		date("nbf") > now+60 && !v.has("assertions from the future"),
		(claims["iss"] != "client" || claims["sub"] != "client") && !v.has("assertions of anybody"),
		form.Has("client_id") && form.Get("client_id") != "client" && !v.has("takes any client_id"),
		!v.claim(claims) && !v.has("assertions again"):
		return "", badClient
	}
	return "client", nil
}
