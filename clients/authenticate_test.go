package clients_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/bursar-sts/bursar/clients"
	"github.com/bursar-sts/bursar/server/fault"
)

// TestSecretsAndMethods (T-46): no client is public, and each has one method.
func TestSecretsAndMethods(t *testing.T) {
	w := newWorld(t)
	secret := func(id string) *clients.IDSecret { return &clients.IDSecret{ID: id, Secret: w.secrets[id]} }
	strange, _ := clients.NewSecret(now)
	assertion := func() string { return keys()["es256"].sign(nil, claimsOf("own", nil)) }
	rows := []struct {
		name string
		give clients.Credentials
		want string
	}{
		{"Basic by a client that is registered for it", clients.Credentials{Basic: secret("basic")}, "basic"},
		{"post by a client that is registered for it", clients.Credentials{Post: secret("post"), ClientID: "post"}, "post"},
		{"client_id beside Basic", clients.Credentials{Basic: secret("basic"), ClientID: "basic"}, "basic"},
		{"client_id beside an assertion", clients.Credentials{ClientID: "own", AssertionType: bearer, Assertion: assertion()},
			"own"},
		{"client_id beside a workload's token", clients.Credentials{ClientID: "worker", AssertionType: bearer,
			Assertion: workloadToken("cluster", nil)}, "worker"},

		{"B1 nothing", clients.Credentials{}, "invalid_client client.none"},
		{"B1 only client_id", clients.Credentials{ClientID: "basic"}, "invalid_client client.none"},
		{"B2 unknown client", clients.Credentials{Basic: &clients.IDSecret{ID: "nobody", Secret: strange}},
			"invalid_client client.unknown"},
		{"B3 wrong secret", clients.Credentials{Basic: &clients.IDSecret{ID: "basic", Secret: strange}},
			"invalid_client client.secret"},
		{"B3 empty secret", clients.Credentials{Basic: &clients.IDSecret{ID: "basic"}}, "invalid_client client.secret"},
		{"B3 another client's secret", clients.Credentials{Basic: &clients.IDSecret{ID: "basic", Secret: w.secrets["post"]}},
			"invalid_client client.secret"},
		{"B3 secret with a space behind", clients.Credentials{Basic: &clients.IDSecret{ID: "basic",
			Secret: w.secrets["basic"] + " "}}, "invalid_client client.secret"},
		{"T-46 a client without secrets", clients.Credentials{Basic: &clients.IDSecret{ID: "own"}},
			"invalid_client client.secret"},
		{"no id", clients.Credentials{Post: &clients.IDSecret{Secret: strange}}, "invalid_client client.unknown"},
		{"B5 Basic and post", clients.Credentials{Basic: secret("basic"), Post: secret("basic")},
			"invalid_request client.methods"},
		{"B6 Basic and assertion", clients.Credentials{Basic: secret("basic"), AssertionType: bearer, Assertion: assertion()},
			"invalid_client client.methods"},
		{"B6 post and assertion", clients.Credentials{Post: secret("post"), AssertionType: bearer, Assertion: assertion()},
			"invalid_client client.methods"},
		{"B6 all three", clients.Credentials{Basic: secret("basic"), Post: secret("post"), AssertionType: bearer,
			Assertion: assertion()}, "invalid_client client.methods"},
		{"B6 Basic and an assertion type alone", clients.Credentials{Basic: secret("basic"), AssertionType: bearer},
			"invalid_client client.methods"},
		{"B7 Basic by a client registered for post", clients.Credentials{Basic: secret("post")},
			"invalid_client client.method"},
		{"B7 post by a client registered for Basic", clients.Credentials{Post: secret("basic")},
			"invalid_client client.method"},
		{"B7 a secret left from before the client was a workload", clients.Credentials{Basic: secret("worker")},
			"invalid_client client.method"},
		{"B16 client_id is not Basic's", clients.Credentials{Basic: secret("basic"), ClientID: "post"},
			"invalid_client client.id"},
		{"B16 client_id is not the assertion's", clients.Credentials{ClientID: "other", AssertionType: bearer,
			Assertion: assertion()}, "invalid_client client.id"},
		{"B16 client_id is not the workload's", clients.Credentials{ClientID: "own", AssertionType: bearer,
			Assertion: workloadToken("cluster", nil)}, "invalid_client client.id"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			if got := w.outcome(t.Context(), row.give); got != row.want {
				t.Errorf("got %s, want %s", got, row.want)
			}
		})
	}
	if _, _, err := w.Authenticate(t.Context(), clients.Credentials{}); !errors.Is(err, clients.ErrNone) {
		t.Errorf("without credentials the error is %v", err)
	}
	w.disabled["basic"] = true
	got := w.outcome(t.Context(), clients.Credentials{Basic: secret("basic")})
	if got != "invalid_client client.disabled" {
		t.Errorf("B26: got %s", got)
	}
}

// T-51: nobody learns from the answer which clients exist.
func TestUnknownClientAndWrongSecretGetOneAnswer(t *testing.T) {
	w := newWorld(t)
	strange, _ := clients.NewSecret(now)
	answers := map[string]bool{}
	for _, id := range []string{"nobody", "basic", "post", "own", "worker", "off"} {
		for _, secret := range []string{strange, "short", ""} {
			for _, c := range []clients.Credentials{
				{Basic: &clients.IDSecret{ID: id, Secret: secret}},
				{Post: &clients.IDSecret{ID: id, Secret: secret}},
				{Basic: &clients.IDSecret{ID: id, Secret: secret}, ClientID: "other"},
			} {
				_, _, err := w.Authenticate(t.Context(), c)
				f := fault.As(err)
				answers[f.Kind.String()+f.Public] = true
			}
		}
	}
	if len(answers) != 1 {
		t.Errorf("the answers differ: %v", answers)
	}
}

func TestZeroRegistryKnowsNobody(t *testing.T) {
	w := newWorld(t)
	w.Registry = new(clients.Registry)
	for _, c := range []clients.Credentials{
		own("es256", nil, nil), asserts(bearer, workloadToken("cluster", nil)),
		{Basic: &clients.IDSecret{}}, {Post: &clients.IDSecret{}},
	} {
		if got := w.outcome(t.Context(), c); !strings.HasPrefix(got, "invalid_client") {
			t.Errorf("got %s", got)
		}
	}
}

func TestCredentialsDoNotPrint(t *testing.T) {
	secret := clients.IDSecret{ID: "basic", Secret: "hunter2"}
	c := clients.Credentials{Basic: &secret, Assertion: "hunter2"}
	var out bytes.Buffer
	slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "c", c, "s", secret, "p", &secret)
	slog.New(slog.NewTextHandler(&out, nil)).Info("x", "c", c, "s", secret, "p", &secret)
	fmt.Fprintf(&out, "%v %+v %#v %s %q %x %v %+v", c, c, c, c, c, c, secret, &secret)
	if strings.Contains(out.String(), "hunter2") {
		t.Errorf("printed: %s", out.String())
	}
}
