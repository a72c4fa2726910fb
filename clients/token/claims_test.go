package token_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/bursar-sts/bursar/clients/token"
)

func full() token.Claims {
	return token.Claims{
		Issuer:     "https://sts.example/t/acme",
		Subject:    "corp-sso:jürgen \"j\" <j@corp.example>",
		Audience:   "https://sts.example/shim/t/acme/payments?a=1&b=2",
		ClientID:   "ap-bot",
		Scope:      "payments:refunds.create payments:refunds.read",
		IssuedAt:   1_800_000_000,
		Expiry:     1_800_000_300,
		ID:         "01hzy3v9k2000000000000000000000000aa",
		Txn:        "run-7",
		SubProfile: "user",
		Act: &token.Actor{
			Issuer: "https://sts.example/t/acme", Subject: "client:ap-bot", SubProfile: "ai_agent",
			Act: &token.Actor{Issuer: "https://sts.example/t/acme", Subject: "client:planner"},
		},
		Confirmation:         json.RawMessage(`{"jkt":"abc"}`),
		AuthorizationDetails: json.RawMessage(`[{"type":"payment","max":{"value":"10.00"}}]`),
		Status:               json.RawMessage(`{"status_list":{"idx":3,"uri":"https://sts.example/status/1"}}`),
		Lineage: &token.Lineage{
			JTI: []string{"parent", "grandparent"}, Clients: []string{"planner"}, Issuers: []string{"corp-sso", "prod"},
			Subjects: []string{"prod:ns/ap-bot"},
		},
	}
}

func minimal() token.Claims {
	return token.Claims{
		Issuer: "https://sts.example/t/acme", Subject: "client:ap-bot", Audience: "https://tool.example/",
		ClientID: "ap-bot", IssuedAt: 1_800_000_000, Expiry: 1_800_000_300, ID: "id",
	}
}

func TestClaimsSurviveTheWire(t *testing.T) {
	for name, want := range map[string]token.Claims{"full": full(), "minimal": minimal()} {
		payload := want.Marshal()
		if !json.Valid(payload) {
			t.Fatalf("%s: Marshal wrote invalid JSON: %s", name, payload)
		}
		got, err := token.Parse(payload)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v, want %+v", name, got, want)
		}
	}
}

func TestMarshalWritesTheClaimsInAFixedOrder(t *testing.T) {
	const want = `{"iss":"https://sts.example/t/acme","sub":"client:ap-bot","aud":"https://tool.example/",` +
		`"client_id":"ap-bot","iat":1800000000,"exp":1800000300,"jti":"id"}`
	if got := string(minimal().Marshal()); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	order := []string{`"iss"`, `"scope"`, `"exp"`, `"txn"`, `"act"`, `"cnf"`, `"authorization_details"`, `"status"`,
		`"urn:`}
	wire, last := string(full().Marshal()), -1
	for _, name := range order {
		at := strings.Index(wire, name)
		if at <= last {
			t.Errorf("%s is out of order in %s", name, wire)
		}
		last = at
	}
}

func TestParseRefuses(t *testing.T) {
	good := string(full().Marshal())
	replace := func(old, new string) string {
		if !strings.Contains(good, old) {
			t.Fatalf("the good payload does not hold %q", old)
		}
		return strings.Replace(good, old, new, 1)
	}
	with := func(member string) string { return good[:len(good)-1] + "," + member + "}" }
	deep := strings.Repeat(`{"iss":"i","sub":"s","act":`, 40) + `{"iss":"i","sub":"s"}` + strings.Repeat("}", 40)
	iss, aud := `"iss":"https://sts.example/t/acme",`, `"aud":"https://sts.example/shim/t/acme/payments?a=1&b=2"`
	tests := []struct{ name, payload, reason string }{
		{"an empty payload", "", token.ReasonMalformed},
		{"an array", "[]", token.ReasonMalformed},
		{"an empty object", "{}", token.ReasonClaims},
		{"bytes after the object", good + "{}", token.ReasonMalformed},
		{"an absent iss", replace(iss, ""), token.ReasonClaims},
		{"an absent jti", replace(`"jti":"01hzy3v9k2000000000000000000000000aa",`, ""), token.ReasonClaims},
		{"an absent exp", replace(`"exp":1800000300,`, ""), token.ReasonClaims},
		{"an empty client_id", replace(`"ap-bot"`, `""`), token.ReasonClaims},
		{"a number as client_id", replace(`"ap-bot"`, `7`), token.ReasonClaims},
		{"a null client_id", replace(`"ap-bot"`, `null`), token.ReasonClaims},
		{"upper-case names alone", replace(`"client_id"`, `"CLIENT_ID"`), token.ReasonClaims},
		{"an aud that is an array", replace(aud, `"aud":["https://tool.example/"]`), token.ReasonClaims},
		{"an exp that is a string", replace("1800000300", `"1800000300"`), token.ReasonClaims},
		{"an exp with a fraction", replace("1800000300", "1800000300.5"), token.ReasonClaims},
		{"an exp with an exponent", replace("1800000300", "1e300"), token.ReasonClaims},
		{"an exp after the year 9999", replace("1800000300", "253402300800"), token.ReasonClaims},
		{"an exp of null", replace("1800000300", "null"), token.ReasonClaims},
		{"a negative iat", replace("1800000000", "-1"), token.ReasonClaims},
		{"an exp that is the iat", replace("1800000300", "1800000000"), token.ReasonClaims},
		{"an nbf", with(`"nbf":1`), token.ReasonClaims},
		{"a sub named twice", with(`"sub":"client:other"`), token.ReasonMalformed},
		{"a sub named twice, once escaped", with(`"s\u0075b":"client:other"`), token.ReasonMalformed},
		{"an act without sub", replace(`"sub":"client:planner"`, `"x":1`), token.ReasonClaims},
		{"an act that is a string", replace(`"act":{`, `"act":"x","y":{`), token.ReasonClaims},
		{"an act that names sub twice", replace(`"sub":"client:planner"`, `"sub":"a","sub":"b"`), token.ReasonMalformed},
		{"a chain that is too deep", with(`"act2":` + deep), token.ReasonMalformed},
		{"a cnf that is an array", replace(`"cnf":{"jkt":"abc"}`, `"cnf":["jkt"]`), token.ReasonClaims},
		{"a lineage that is an array", replace(`:lineage":{`, `:lineage":[],"x":{`), token.ReasonClaims},
		{"a lineage with a number", replace(`["planner"]`, `["planner",1]`), token.ReasonClaims},
		{"a lineage with an empty id", replace(`["planner"]`, `[""]`), token.ReasonClaims},
		{"a lineage with a null", replace(`["planner"]`, `null`), token.ReasonClaims},
		{"a lineage of nine", replace(`["parent",`, `["1","2","3","4","5","6","7","8",`), token.ReasonClaims},
		{"bytes that are not UTF-8", replace("run-7", "run-\xff"), token.ReasonMalformed},
		{"an unpaired surrogate", replace("run-7", `run-\ud800`), token.ReasonMalformed},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c, err := token.Parse([]byte(test.payload))
			e, ok := errors.AsType[*token.Error](err)
			if !ok || e.Reason != test.reason || e.Code != token.CodeInvalidToken {
				t.Fatalf("got %v, want %s", err, test.reason)
			}
			if !reflect.DeepEqual(c, token.Claims{}) {
				t.Errorf("a refused payload left claims: %+v", c)
			}
		})
	}
}

func TestParseIgnoresWhatItDoesNotKnow(t *testing.T) {
	payload := minimal().Marshal()
	payload = append(payload[:len(payload)-1], `,"groups":[{"a":[1,2.5e3,true,null]}],"SUB":"client:other"}`...)
	got, err := token.Parse(payload)
	if err != nil || !reflect.DeepEqual(got, minimal()) {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestChainBeginsWithTheCurrentActor(t *testing.T) {
	var none *token.Actor
	for range none.Chain() {
		t.Error("nobody is an actor")
	}
	var chain []string
	for a := range full().Act.Chain() {
		chain = append(chain, a.Subject)
	}
	if !slices.Equal(chain, []string{"client:ap-bot", "client:planner"}) {
		t.Errorf("got %q", chain)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(full().Marshal())
	f.Add(minimal().Marshal())
	f.Add([]byte(`{"iss":"\ud83d\ude00","sub":"\u0000","exp":1}`))
	f.Add([]byte(`{"act":{"act":{"act":{}}},"urn:bursar:lineage":{"jti":[]}}`))
	f.Fuzz(func(t *testing.T, payload []byte) {
		c, err := token.Parse(payload)
		if err != nil {
			return
		}
		again, err := token.Parse(c.Marshal())
		if err != nil || !reflect.DeepEqual(again, c) {
			t.Errorf("accepted claims changed on the wire: %+v, then %+v (%v)", c, again, err)
		}
	})
}
