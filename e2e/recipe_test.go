package e2e_test

import (
	"encoding/base64"
	"encoding/json"
	"maps"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/bursar-sts/bursar/e2e/harness"
)

// recipe says how a token is made. Strings of claims that begin with @ are dates, in seconds from now: "@-30".
type recipe struct {
	// From is who signs: an issuer process by name; "forge", if empty; "client", for an assertion of the client itself;
	// "text", for Text as it is; or the server itself, of whose access tokens some are ready:
	//
	//	own          issued to ap-bot, for all that it may do at payments
	//	own-narrow   the same for refunds.read alone
	//	own-revoked  revoked since
	//	own-ended    expired
	//	own-faded    allows an action that has another name now
	//	own-deep     of somebody for whom ap-bot acts, and three others did before
	//	own-globex   of another tenant
	From string `yaml:"from"`
	Text string `yaml:"text"`

	Claims map[string]any `yaml:"claims"` // replace the usual ones; null removes one
	Header map[string]any `yaml:"header"` // likewise
	Alg    string         `yaml:"alg"`    // of an issuer process

	// What only the forge does.
	Key        string `yaml:"key"`         // which key signs, and is named by kid; es256 if empty
	Sign       string `yaml:"sign"`        // how it is signed; as the header says if empty
	RawHeader  string `yaml:"raw_header"`  // the header as text, with ${kid}
	RawPayload string `yaml:"raw_payload"` // the claims as text, with ${now}
	Long       int    `yaml:"long"`        // a claim of so many bytes

	Mutate []string `yaml:"mutate"` // what happens to the text afterwards, in order
}

// bake makes the token.
func (x *acceptance) bake(t *testing.T, r recipe) string {
	t.Helper()
	var token string
	switch r.From {
	case "text":
		token = x.fill(t, r.Text)
	case "own", "own-narrow", "own-revoked", "own-ended", "own-faded", "own-deep", "own-globex":
		token = x.own[r.From]
		if r.From == "own-ended" {
			harness.Eventually(t, "the token ends", func() bool { return ended(t, token) })
		}
	case "client":
		token = x.assertion(t, r)
	case "", "forge":
		token = x.forged(t, r)
	default:
		issuer, known := x.issuers[r.From]
		if !known {
			t.Fatalf("there is no issuer %s", r.From)
		}
		token = issuer.Mint(t, harness.Mint{Claims: x.dated(t, r.Claims), Header: x.dated(t, r.Header), Alg: r.Alg})
	}
	for _, m := range r.Mutate {
		change, known := mutations[m]
		if !known {
			t.Fatalf("there is no mutation %s", m)
		}
		token = change(token)
	}
	return token
}

// ended reports whether a token has expired.
func ended(t *testing.T, token string) bool {
	exp, _ := harness.Claims(t, token)["exp"].(float64)
	return float64(time.Now().Unix()) >= exp
}

// forged is a token of the forge: one of ap-bot, but for what the recipe says.
func (x *acceptance) forged(t *testing.T, r recipe) string {
	t.Helper()
	claims := map[string]any{
		"iss": x.vars["forge"], "sub": "ap-bot", "aud": x.vars["issuer"], "iat": "@0", "exp": "@600",
	}
	return x.signed(t, r, "es256", claims)
}

// assertion is a client assertion of ap-bot (RFC 7523 §3), but for what the recipe says.
func (x *acceptance) assertion(t *testing.T, r recipe) string {
	t.Helper()
	claims := map[string]any{
		"iss": "ap-bot", "sub": "ap-bot", "aud": x.vars["issuer"], "iat": "@0", "exp": "@60",
	}
	return x.signed(t, r, "client", claims)
}

func (x *acceptance) signed(t *testing.T, r recipe, usual string, claims map[string]any) string {
	t.Helper()
	key := usual
	if r.Key != "" {
		key = r.Key
	}
	x.serial++
	header := map[string]any{"alg": "ES256", "kid": x.forge.keys[key].id, "typ": "JWT"}
	claims["jti"] = "jti-" + strconv.Itoa(x.serial)
	if r.Long > 0 {
		claims["long"] = strings.Repeat("a", r.Long)
	}
	change(header, x.dated(t, r.Header))
	change(claims, r.Claims)
	head, payload := encode(t, header), encode(t, x.dated(t, claims))
	if r.RawHeader != "" {
		head = x.fill(t, strings.ReplaceAll(r.RawHeader, "${kid}", x.forge.keys[key].id))
	}
	if r.RawPayload != "" {
		payload = x.fill(t, r.RawPayload)
	}
	alg, _ := header["alg"].(string)
	if r.Sign != "" {
		alg = r.Sign
	}
	return x.forge.sign(t, key, alg, head, payload)
}

// change puts changes into members; nil removes.
func change(members, changes map[string]any) {
	for name, value := range changes {
		members[name] = value
		if value == nil {
			delete(members, name)
		}
	}
}

func encode(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// dated fills in the dates and words of values.
func (x *acceptance) dated(t *testing.T, members map[string]any) map[string]any {
	t.Helper()
	filled := maps.Clone(members)
	for name, value := range filled {
		filled[name] = x.value(t, value)
	}
	return filled
}

func (x *acceptance) value(t *testing.T, value any) any {
	t.Helper()
	switch v := value.(type) {
	case string:
		if after, ok := strings.CutPrefix(v, "@"); ok {
			seconds, err := strconv.ParseInt(after, 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return time.Now().Unix() + seconds
		}
		return x.fill(t, v)
	case []any:
		filled := make([]any, len(v))
		for i := range v {
			filled[i] = x.value(t, v[i])
		}
		return filled
	case map[string]any:
		return x.dated(t, v)
	}
	return value
}

// fill fills in a text of the table.
func (x *acceptance) fill(t *testing.T, text string) string {
	t.Helper()
	return fill(t, strings.ReplaceAll(text, "${now}", strconv.FormatInt(time.Now().Unix(), 10)), x.vars)
}

const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

// mutations change the text of a finished token.
var mutations = map[string]func(string) string{
	"flip a bit of the signature": func(s string) string {
		cut := strings.LastIndex(s, ".") + 1
		signature, _ := base64.RawURLEncoding.DecodeString(s[cut:])
		signature[len(signature)/2] ^= 1
		return s[:cut] + base64.RawURLEncoding.EncodeToString(signature)
	},
	"empty the signature": func(s string) string { return s[:strings.LastIndex(s, ".")+1] },
	"add a signature":     func(s string) string { return s + "AAAA" },
	// The last character of a signature of 64 bytes carries two bits of it, and four that mean nothing.
	"set unused bits": func(s string) string {
		last := strings.IndexByte(alphabet, s[len(s)-1])
		return s[:len(s)-1] + string(alphabet[last^1])
	},
	"pad the signature": func(s string) string { return s + "==" },
	"break a line":      func(s string) string { return s[:len(s)-10] + "\n" + s[len(s)-10:] },
	"put a space in":    func(s string) string { return s[:len(s)-10] + " " + s[len(s)-10:] },
	"put a space behind": func(s string) string {
		return s + " "
	},
	"leave two parts": func(s string) string { return s[:strings.LastIndex(s, ".")] },
	"make five parts": func(s string) string { return s + ".AAAA.AAAA" },
	"write it as JSON": func(s string) string {
		p := strings.Split(s, ".")
		return `{"payload":"` + p[1] + `","protected":"` + p[0] + `","signature":"` + p[2] + `"}`
	},
	"write it as general JSON": func(s string) string {
		p := strings.Split(s, ".")
		return `{"payload":"` + p[1] + `","signatures":[{"protected":"` + p[0] + `","signature":"` + p[2] + `"}]}`
	},
	"claim to be somebody else": func(s string) string {
		p := strings.Split(s, ".")
		payload, _ := base64.RawURLEncoding.DecodeString(p[1])
		p[1] = base64.RawURLEncoding.EncodeToString([]byte(strings.Replace(string(payload), `"ap-bot"`, `"spare-bot"`, 1)))
		return strings.Join(p, ".")
	},
	"put a byte order mark in front": func(s string) string { return "\ufeff" + s },
	"put Bearer in front":            func(s string) string { return "Bearer " + s },
}
