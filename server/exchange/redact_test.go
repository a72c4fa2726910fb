package exchange_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/bursar-sts/bursar/clients"
	"github.com/bursar-sts/bursar/server/exchange"
	"github.com/bursar-sts/bursar/server/servertest"
)

// TestNoTokenIsPrinted: neither by mistake nor at the most detailed level of a log, alone or inside something else.
func TestNoTokenIsPrinted(t *testing.T) {
	const canary = "canary-4711"
	w := servertest.New(t, servertest.Options{})
	w.Create(servertest.Acme())
	request := exchange.Request{SubjectToken: canary, ActorToken: canary, Scope: canary,
		Credentials: clients.Credentials{Assertion: canary, Post: &clients.IDSecret{Secret: canary}}}
	attempt, _ := w.Exchanger.Begin(t.Context(), "acme", request)
	for name, holder := range map[string]any{
		"a request":  request,
		"a question": exchange.Question{Token: canary, Credentials: request.Credentials},
		"a result":   exchange.Result{Token: canary},
		"an attempt": attempt,
	} {
		var out bytes.Buffer
		inside := struct{ Inside any }{holder}
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			fmt.Fprintf(&out, verb+verb, holder, inside)
		}
		for _, logger := range []*slog.Logger{
			slog.New(slog.NewJSONHandler(&out, nil)), slog.New(slog.NewTextHandler(&out, nil)),
		} {
			logger.Info("x", "holder", holder, "inside", inside)
		}
		text, _ := json.Marshal(inside)
		out.Write(text)
		if strings.Contains(out.String(), canary) || strings.Contains(out.String(), fmt.Sprintf("%x", canary)) {
			t.Errorf("%s prints a token: %s", name, out.String())
		}
	}
}
